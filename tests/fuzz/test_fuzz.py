"""Random graphs are compiled right, and those that once were not still are."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from budgetc.model import parse_model
from hypothesis import given, settings
from onnx import helper, numpy_helper

from tests.fuzz.run import BATCH, CORPUS, fuzz, graphs, grown, read_text, write_text
from tests.fuzz.trial import Outcome, examine, small

GRAPHS = 300
QUICK = 25
"""So many are compiled in CI, the rest by `make large`."""
SEED = 4
BATCHES = [
    pytest.param(n, marks=() if n < QUICK // BATCH else (pytest.mark.slow, pytest.mark.large))
    for n in range(GRAPHS // BATCH)
]


@pytest.fixture(autouse=True)
def own_cache(zig_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDGETC_CACHE", str(zig_cache))


@pytest.mark.parametrize("batch", BATCHES)
def test_grown_graphs_agree_with_the_references(batch: int) -> None:
    """One seed for each batch, so that they can run side by side."""
    (outcomes,) = fuzz(BATCH, SEED * 1000 + batch)
    assert [f"{o.model.path}: {o.text}" for o in outcomes if o.fails] == []
    assert sum(o.verdict == "right" for o in outcomes) >= BATCH * 0.8


@pytest.mark.parametrize("path", sorted(CORPUS.glob("*.txt")), ids=lambda p: p.stem)
def test_what_was_once_wrong_is_right(path: Path) -> None:
    (outcome,) = examine([read_text(path)])
    assert outcome.verdict == "right", outcome.text


@settings(max_examples=50, deadline=None)
@given(graphs())
def test_every_grown_graph_is_valid(proto: onnx.ModelProto) -> None:
    model = parse_model(proto.SerializeToString(), "grown.onnx")
    assert model.inputs
    assert model.outputs


def test_a_graph_is_the_same_again_and_survives_as_text(tmp_path: Path) -> None:
    model = grown(3, 14, 17)
    assert grown(3, 14, 17).data == model.data
    write_text(model, tmp_path / "graph.txt", "why it is kept\nin two lines")
    again = read_text(tmp_path / "graph.txt")
    assert (again.inputs, again.outputs) == (model.inputs, model.outputs)
    for one, other in zip(
        *(onnx.load_model_from_string(m.data).graph.initializer for m in (model, again)),
        strict=True,
    ):
        np.testing.assert_array_equal(numpy_helper.to_array(one), numpy_helper.to_array(other))


def test_a_refusal_and_a_fault_do_not_touch_the_other_graphs(monkeypatch) -> None:
    models = [grown(3, n, 17) for n in (1, 2)]
    graph = helper.make_graph(
        [helper.make_node("RandomNormalLike", ["g9_x"], ["g9_y"], "g9_n")],
        "refused",
        [helper.make_tensor_value_info("g9_x", 1, [3, 3])],
        [helper.make_tensor_value_info("g9_y", 1, [3, 3])],
    )
    opset = [helper.make_opsetid("", 17)]
    proto = helper.make_model(graph, opset_imports=opset, ir_version=8)
    refused = parse_model(proto.SerializeToString(), "g9.onnx")
    found = examine([models[0], refused, models[1]])
    assert [o.verdict for o in found] == ["right", "refused", "right"]
    assert "g9_n" in found[1].text


def test_a_fault_in_a_kernel_is_found_among_many_graphs(monkeypatch) -> None:
    text = "g (float[1,3,9,9] g{0}_x) => (float[1,3,9,9] g{0}_y) {{ g{0}_a = {1}(g{0}_x) g{0}_y = {2}(g{0}_a) }}"
    models = []
    for number, pair in enumerate((("Relu", "Tanh"), ("Abs", "Softmax<axis=1>"), ("Neg", "Exp"))):
        header = '<ir_version: 9, opset_import: ["": 17]>'
        proto = onnx.parser.parse_model(f"{header} {text.format(number, *pair)}")
        models.append(parse_model(proto.SerializeToString(), f"g{number}.onnx"))
    monkeypatch.setattr("tests.fuzz.trial.KIND", "faulty")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1] / "faulty_plugin"))
    monkeypatch.setenv("BUDGETC_FAULT", "softmax last")
    found = examine(models)
    assert [o.verdict for o in found] == ["right", "wrong", "right"]
    kinds = [n.op_type for n in onnx.load_model_from_string(small(found[1]).model.data).graph.node]
    assert kinds == ["Softmax"]


def test_a_fault_is_made_small(monkeypatch) -> None:
    """Here a node is taken to be wrong wherever it stands."""

    def fake(models):
        kinds = {n.op_type for n in onnx.load_model_from_string(models[0].data).graph.node}
        return [Outcome(models[0], "wrong" if "Tanh" in kinds else "right")]

    text = "g (float[2,3] x) => (float[2,3] y) { a = Relu(x) b = Tanh(a) c = Neg(b) y = Add(c, a) }"
    proto = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["": 17]> {text}')
    model = parse_model(proto.SerializeToString(), "g.onnx")
    monkeypatch.setattr("tests.fuzz.trial.examine", fake)
    found = small(Outcome(model, "wrong"))
    kinds = [n.op_type for n in onnx.load_model_from_string(found.model.data).graph.node]
    assert kinds == ["Tanh"]
