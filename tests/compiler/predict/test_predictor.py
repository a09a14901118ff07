"""What is predicted is what is built: to the byte, for every output, sheet and number of threads."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from budgetc.measure.memory import memory_of
from budgetc.measure.size import size_of
from budgetc.predict.predictor import predict, run_prediction
from budgetc.registry import find_target
from budgetc_specs.capability import Capability
from budgetc_specs.errors import ModelError
from onnx import TensorProto, helper


def silent(stage: str) -> None:
    del stage


@pytest.mark.parametrize("library", ["shared", "static"])
@pytest.mark.parametrize("threads", [1, 2])
def test_size_and_memory_are_those_of_the_library(
    small: Callable[..., Any], library: str, threads: int
) -> None:
    sheet = find_target("host").capability(None, threads)
    made = small(64, library, capability=sheet)
    expected = run_prediction(made.job, made.optimised, made.folder, silent)
    built = made.build()
    assert expected.size == size_of(built.library, sheet).deployed
    assert expected.first.arena == built.interface.workspace_bytes
    assert expected.static == memory_of(built.library, 0).static
    assert expected.grown == built.grown
    assert [e.layer for e in expected.first.layers] == list(built.lowered.layers)


def test_firmware_is_predicted_by_what_it_adds_to_an_image(small: Callable[..., Any]) -> None:
    sheet = find_target("cortex-m").capability("cortex-m4", 1)
    made = small(64, "static", kind="cortex-m", capability=sheet)
    expected = run_prediction(made.job, made.optimised, made.folder, silent)
    built = made.build()
    assert expected.size == size_of(built.library, sheet).deployed
    assert expected.static == memory_of(built.library, 0).static


def test_code_for_another_machine_has_no_measurements(small: Callable[..., Any]) -> None:
    sheet = find_target("aarch64").capability("cortex-a76", 1)
    made = small(kind="aarch64", capability=sheet)
    expected = run_prediction(made.job, made.optimised, made.folder, silent)
    built = made.build()
    assert expected.size == size_of(built.library, sheet).deployed
    assert {each.basis for each in expected.first.layers} == {"roofline"}
    assert expected.interval[0] < expected.latency < expected.interval[1]


def test_kernels_are_compiled_once(small: Callable[..., Any]) -> None:
    made = small()
    first = run_prediction(made.job, made.optimised, made.folder, silent)
    again = run_prediction(made.job, made.optimised, made.folder, silent)
    other = small(32)
    different = run_prediction(other.job, other.optimised, other.folder, silent)
    assert first.compiled > 0
    assert again.compiled == 0
    assert again.size == first.size
    assert different.compiled < first.compiled  # what does not depend on the channels is shared


def test_a_model_that_cannot_be_compiled_is_refused(host: Capability, tmp_path: Path) -> None:
    ports = [helper.make_tensor_value_info(n, TensorProto.STRING, [2]) for n in ("x", "y")]
    node = helper.make_node("StringNormalizer", ["x"], ["y"])
    graph = helper.make_graph([node], "words", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    with pytest.raises(ModelError, match='"x" is of type'):
        predict([model.SerializeToString()], "host", host, kernels=tmp_path, timings=tmp_path)
