"""Checking an artefact without its spec, and what a user sees of a library that is wrong."""

import json
import shutil
from pathlib import Path

import budgetc
import numpy as np
import onnx
import pytest
from budgetc_specs.errors import ModelError
from onnx import numpy_helper

FAULTY = Path(__file__).parents[1] / "faulty_plugin"


def test_an_artefact_agrees_with_the_model_it_came_from(compiled, zig_cache, monkeypatch) -> None:
    monkeypatch.setenv("BUDGETC_CACHE", str(zig_cache))
    folder, _ = compiled
    data = folder.parent / "evaluation.npz"
    for model in (None, folder.parent / "tiny.onnx"):
        report = budgetc.verify(folder / "host", model, data)
        assert report.agrees, str(report)
        assert {c.name for c in report.cases} >= {"real inputs", "zeros", "the largest numbers"}
    assert budgetc.verify(folder / "host").agrees


def test_the_manifest_says_what_was_compared(compiled) -> None:
    manifest = json.loads((compiled[0] / "host/manifest.json").read_text())
    assert manifest["agreement"]["reference"] == "onnxruntime"
    assert manifest["agreement"]["cases"][0]["outputs"][0]["agrees"]


def test_another_model_is_another_function(compiled, tmp_path, zig_cache, monkeypatch) -> None:
    monkeypatch.setenv("BUDGETC_CACHE", str(zig_cache))
    folder, _ = compiled
    other = onnx.load(folder.parent / "tiny.onnx")
    weights = numpy_helper.to_array(other.graph.initializer[0]) * np.float32(1.001)
    other.graph.initializer[0].CopyFrom(numpy_helper.from_array(weights, "w"))
    onnx.save(other, tmp_path / "other.onnx")
    report = budgetc.verify(folder / "host", tmp_path / "other.onnx")
    assert not report.agrees
    assert report.wrong.name == "real inputs"


def test_a_model_with_other_ports_is_refused(compiled, tmp_path) -> None:
    other = onnx.load(compiled[0].parent / "tiny.onnx")
    other.graph.output[0].name = other.graph.node[0].output[0] = "result"
    onnx.save(other, tmp_path / "other.onnx")
    with pytest.raises(ModelError, match="its outputs are not those of the artefact"):
        budgetc.verify(compiled[0] / "host", tmp_path / "other.onnx")


def test_a_wrong_library_is_exit_6_and_names_the_layer(
    tiny, compiled, budgetc_cli, tmp_path
) -> None:
    """The artefact that was there before stays, and a model that shows the fault lies in a folder of its own."""
    out = tmp_path / "out"
    shutil.copytree(compiled[0] / "host", out / "target")
    before = {p.name: p.read_bytes() for p in (out / "target").iterdir()}
    target = "targets={target: {kind: faulty}}"
    fault = {"PYTHONPATH": str(FAULTY), "BUDGETC_FAULT": "convolution last"}
    done = budgetc_cli("compile", tiny, "--out", out, "--set", target, env=fault)
    assert done.returncode == 6, done.stderr
    assert "the first layer that differs: Gemm 'gemm'" in done.stdout
    assert {p.name: p.read_bytes() for p in (out / "target").iterdir()} == before
    folder = Path(done.stdout.partition("for a report:")[2].split("\n")[0].strip())
    assert (folder / "report.txt").read_text().startswith("the first layer that differs: Gemm")
    model = onnx.load(folder / "model.onnx")
    assert [n.op_type for n in model.graph.node] == ["Gemm"]
    with np.load(folder / "inputs.npz") as fed, np.load(folder / "expected.npz") as expected:
        weights = numpy_helper.to_array(model.graph.initializer[0])
        wanted = expected["y"].reshape(1, -1)
        np.testing.assert_allclose(fed["x"] @ weights, wanted, rtol=1e-5, atol=1e-6)
    with np.load(folder / "got.npz") as got:
        assert not np.allclose(got["y"].reshape(1, -1), wanted)
