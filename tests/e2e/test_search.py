"""The promise: every budget kept, or a certificate that holds when it is followed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from budgetc.baseline import make_session
from budgetc.model import load_model
from budgetc.report.page import render
from budgetc_specs.units import parse_bytes, parse_points
from onnx import TensorProto, helper, numpy_helper

pytestmark = pytest.mark.slow

CLASSES, FEATURES, HIDDEN, SAMPLES = 10, 8, 24, 400
KEYS = {"size": "budgets.size", "quality": "budgets.quality.drop"}
PLUGIN = Path(__file__).parents[1] / "plugin_example"


def network() -> onnx.ModelProto:
    """A convolution and two dense layers, 100 KiB in float, with weights that were never trained."""
    random = np.random.default_rng(0)

    def weights(name, *shape):
        scale = np.sqrt(2 / np.prod(shape[1:]))
        return numpy_helper.from_array((random.normal(size=shape) * scale).astype("f4"), name)

    flat = 16 * FEATURES * FEATURES
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Flatten", ["r"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "w1"], ["g"], "wide", transB=1),
        helper.make_node("Relu", ["g"], ["h"], "relu_1"),
        helper.make_node("Gemm", ["h", "w2"], ["y"], "last", transB=1),
    ]
    shape = [1, 1, FEATURES, FEATURES]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CLASSES])],
        [
            weights("w0", 16, 1, 3, 3),
            weights("w1", HIDDEN, flat),
            weights("w2", CLASSES, HIDDEN),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The spec of a network whose own answers are the labels, so that codes lose a little and pruning much."""
    folder = tmp_path_factory.mktemp("net")
    onnx.save(network(), folder / "net.onnx")
    session = make_session(load_model(folder / "net.onnx").data, threads=1)
    for seed, part in enumerate(("calibration", "validation", "evaluation")):
        x = np.random.default_rng(seed).normal(size=(SAMPLES, 1, FEATURES, FEATURES)).astype("f4")
        label = [int(next(iter(session.run({"x": each[None]}).values())).argmax()) for each in x]
        np.savez(folder / f"{part}.npz", x=x, label=np.array(label))
    document = {
        "budgetc": 1,
        "model": "net.onnx",
        "data": {p: f"{p}.npz" for p in ("calibration", "validation", "evaluation")},
        "quality": {"metric": "top1"},
        "search": {"candidates": 10},
        "output": {"name": "net"},
    }
    (folder / "spec.json").write_text(json.dumps(document))
    return folder / "spec.json"


@pytest.fixture
def search(net, tmp_path, zig_cache):
    """Runs a search: its exit code and what it wrote about the only target."""
    environment = {**os.environ, "BUDGETC_CACHE": str(zig_cache), "NO_COLOR": "1"}

    def run(also: Path | None = None, **values: str):
        given = [f"--set={key.replace('__', '.')}={value}" for key, value in values.items()]
        command = [sys.executable, "-m", "budgetc.cli.main", "compile", str(net), *given]
        done = subprocess.run(
            [*command, "-o", str(tmp_path / "out")],
            env={**environment, "PYTHONPATH": str(also or "")},
            capture_output=True,
            text=True,
            check=False,
        )
        file = tmp_path / "out" / "result.json"
        assert file.exists(), done.stderr
        result = json.loads(file.read_text())
        assert result["exit_code"] == done.returncode
        assert "<html" in render(result)
        return done.returncode, result["targets"][0]

    return run


def figures(target):
    return target["chosen"]["measurement"]


@pytest.mark.large
def test_a_budget_is_kept_and_the_report_shows_what_was_looked_at(search, tmp_path):
    code, target = search(budgets__size="48 KiB")
    assert code == 0
    assert figures(target)["size"]["bytes"] <= 48 * 1024
    simulated = [t for t in target["trials"] if t["stage"] == "simulated"]
    assert simulated
    assert all(t["predicted"]["size"] for t in simulated if t["outcome"] != "refused")
    assert {p["pass"].partition("{")[0] for p in target["pays"]} >= {"fuse", "quantize"}
    for payment in target["pays"]:
        gone = payment["pass"] not in target["chosen"]["recipe"]
        assert gone == (not payment["kept"])
        assert payment["text"].startswith("dropped, it does not pay") == gone
    assert target["layers"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(layer["name"] in page for layer in target["layers"] if "name" in layer)
    assert all(payment["text"][:24] in page for payment in target["pays"])


def test_what_is_out_of_reach_is_proven_and_the_nearest_point_named(search):
    code, target = search(budgets__size="1 KiB")
    assert code == 3
    (bound,) = target["proof"]["bounds"]
    assert bound["budget"] == "size"
    assert bound["bound"] > 1024
    assert target["proof"]["binding"] == ["size"]
    (point,) = target["proof"]["points"]
    assert point["reached"] >= bound["bound"]
    again, relaxed = search(budgets__size=point["allow"])
    assert again == 0
    assert figures(relaxed)["size"]["bytes"] <= parse_bytes(point["allow"])


def test_budgets_that_conflict_are_named_and_relaxing_either_as_said_is_enough(search, tmp_path):
    strict = {"budgets__size": "20 KiB", "budgets__quality__drop": "0 pp"}
    code, target = search(**strict)
    assert code == 1
    proof = target["proof"]
    assert proof["binding"] == ["size", "quality"]
    assert [point["budget"] for point in proof["points"]] == ["size", "quality"]
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(point["allow"] in page for point in proof["points"])
    for point in proof["points"]:
        key = KEYS[point["budget"]].replace(".", "__")
        again, relaxed = search(**{**strict, key: point["allow"]})
        assert again == 0, (point, relaxed["certificate"])
        quality = figures(relaxed)["quality"]["drop"]
        if point["budget"] == "size":
            assert quality <= 0
            assert figures(relaxed)["size"]["bytes"] <= parse_bytes(point["allow"])
        else:
            assert quality <= parse_points(point["allow"])
            assert figures(relaxed)["size"]["bytes"] <= 20 * 1024


@pytest.mark.large
def test_objectives_choose_accordingly(search):
    """Without a budget for it, quality is free to go."""
    _, good = search(objective="quality")
    _, small = search(objective="size")
    _, quick = search(objective="latency")
    assert figures(good)["quality"]["drop"] <= 0
    sizes = [t["predicted"]["size"] for t in small["trials"] if t["predicted"]]
    assert figures(small)["size"]["bytes"] <= min(sizes)
    assert figures(small)["size"]["bytes"] < figures(good)["size"]["bytes"]
    seconds = [
        t["measurement"]["latency"]["seconds"]["ours"]
        for t in quick["trials"]
        if t["outcome"] == "feasible"
    ]
    assert figures(quick)["latency"]["seconds"]["ours"] <= min(seconds) * 1.03


@pytest.mark.large
def test_a_foreign_pass_that_is_no_use_is_looked_at_and_not_taken(search, tmp_path):
    folder = tmp_path / "plugin"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    here = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(folder)]
    subprocess.run([*pip, *here, str(PLUGIN)], check=True)
    code, target = search(also=folder, budgets__size="48 KiB", budgets__quality__drop="20 pp")
    assert code == 0
    assert any("scale-weights" in trial["recipe"] for trial in target["trials"])
    assert "scale-weights" not in target["chosen"]["recipe"]


def test_a_least_metric_is_kept_by_the_library(search):
    code, target = search(budgets__size="48 KiB", budgets__quality__min="0.9")
    assert code == 0
    assert figures(target)["size"]["bytes"] <= 48 * 1024
    (verdict,) = [v for v in target["chosen"]["verdicts"] if v["budget"] == "quality"]
    assert (verdict["status"], verdict["unit"]) == ("PASS", "metric")
    assert verdict["measured"] >= 0.9


@pytest.mark.large
def test_a_least_metric_beside_a_size_has_a_certificate_that_holds(search):
    strict = {"budgets__size": "20 KiB", "budgets__quality__min": "1.0"}
    code, target = search(**strict)
    assert code == 1
    assert target["proof"]["binding"] == ["size", "quality"]
    points = {point["budget"]: point for point in target["proof"]["points"]}
    again, relaxed = search(**{**strict, "budgets__quality__min": points["quality"]["allow"]})
    assert again == 0, relaxed["certificate"]
    assert figures(relaxed)["size"]["bytes"] <= 20 * 1024


def test_what_the_worst_slice_loses_is_a_budget(search):
    """Its figures are known of libraries only: what was built and missed it gives way to what keeps it."""
    given = {"quality__slices": "label", "budgets__size": "48 KiB"}
    code, target = search(**given, budgets__quality__worst_slice="30 pp")
    assert code == 0
    (verdict,) = [v for v in target["chosen"]["verdicts"] if v["budget"] == "worst_slice"]
    assert verdict["status"] in {"PASS", "WARN"}
    assert verdict["measured"] <= 0.3
    slices = figures(target)["quality"]["slices"]
    assert verdict["measured"] == max(each["drop"] for each in slices if each["judged"])


def test_a_budget_that_only_warns_stops_nothing(search, tmp_path):
    given = {"budgets__size__max": "1 KiB", "budgets__size__level": "warning"}
    code, target = search(**given, budgets__quality__drop="0 pp")
    assert code == 0
    statuses = {v["budget"]: v["status"] for v in target["chosen"]["verdicts"]}
    assert statuses == {"size": "WARN", "quality": "PASS"}
    assert figures(target)["size"]["bytes"] > 1024
    assert figures(target)["quality"]["drop"] <= 0
    assert "warning" in (tmp_path / "out" / "report.html").read_text()
