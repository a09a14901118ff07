"""The digits example from end to end: compiled, judged, missed, killed, called from Python."""

import hashlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import budgetc
import numpy as np
import pytest
from budgetc.baseline import make_session
from budgetc.stamp import MISSED, STAMP
from budgetc_specs.document import load_spec

pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "specs" / "examples" / "mnist"
SPEC = EXAMPLE / "spec.yaml"
FLOAT = "clean | fuse | clean"
KILLS = 6
REPORTS = {"report.html", "result.json"}

LOADER = """
import sys
import numpy as np
import budgetc
model = budgetc.load(sys.argv[1])
with np.load(sys.argv[2]) as data:
    images = data["input"]
np.save(sys.argv[3], np.concatenate([model({"input": image[None]})["logits"] for image in images]))
loaded = {"tvm", "onnx", "onnxruntime"} & set(sys.modules)
assert not loaded, loaded
"""


def start(*arguments, **options):
    command = [sys.executable, "-m", "budgetc.cli.main", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def run(*arguments):
    process = start(*arguments)
    out, err = process.communicate()
    return process.returncode, out, err


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


def manifest_of(folder):
    """The manifest of an artefact that is whole: every file is there, is the one it names, and no other is."""
    manifest = json.loads((folder / "manifest.json").read_text())
    found = digests(folder)
    del found["manifest.json"]
    assert found == manifest["files"]
    return manifest


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """The output folder of the README's command, and its result."""
    out = tmp_path_factory.mktemp("mnist") / "out"
    code, said, progress = run("compile", SPEC, "--out", out, "--json")
    assert code == 0, progress
    return out, json.loads(said)


@pytest.mark.timed
def test_every_budget_is_green(compiled):
    out, result = compiled
    assert {p.name for p in out.iterdir()} == {"host", STAMP, *REPORTS}
    manifest = manifest_of(out / "host")
    assert set(manifest["files"]) == {"libmnist.so", "mnist.h", "optimised.onnx"}
    assert "quantize" in manifest["recipe"]
    verdicts = {v["budget"]: v for v in manifest["verdicts"]}
    assert {name: v["status"] for name, v in verdicts.items()} == dict.fromkeys(
        ("size", "memory", "latency", "quality"), "PASS"
    )
    size = (out / "host" / "libmnist.so").stat().st_size
    assert verdicts["size"]["measured"] == size <= 64 * 1024
    assert verdicts["memory"]["measured"] <= 64 * 1024
    assert verdicts["memory"]["measured"] >= manifest["workspace_bytes"]
    assert verdicts["latency"]["unit"] == "x onnxruntime-int8"
    assert verdicts["latency"]["interval"][1] <= 1.0
    assert verdicts["quality"]["measured"] <= 0.005
    assert manifest["measurement"]["quality"]["samples"] == 1000
    assert result["targets"][0]["chosen"]["recipe"] == manifest["recipe"]


@pytest.mark.timed
def test_a_size_that_nothing_keeps(tmp_path):
    out = tmp_path / "out"
    tight = ("--set", "budgets.size=8 KiB", "--set", "search.candidates=16")
    code, said, progress = run("compile", SPEC, "--out", out, *tight)
    assert code in {1, 3}, progress
    assert "no artefact was written" in said
    assert "nearest point" in said
    assert {p.name for p in out.iterdir()} == {MISSED, *REPORTS}
    (target,) = json.loads((out / "result.json").read_text())["targets"]
    assert target["proof"]["binding"] == ["size"]
    (point,) = target["proof"]["points"]
    nearest = target["trials"][point["trial"]]
    assert nearest["measurement"]["size"]["bytes"] == point["reached"] > 8192
    assert all(v["status"] == "PASS" for v in nearest["verdicts"] if v["budget"] != "size")


def shape(value):
    """The keys and types of a JSON value, and the values that repeat from run to run."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return type(value).__name__ if isinstance(value, float) else value


@pytest.mark.timed
def test_python_returns_what_the_command_prints(compiled, tmp_path):
    recipe = f"passes={compiled[1]['targets'][0]['chosen']['recipe']}"  # noise decides nothing then
    result = budgetc.compile(load_spec(SPEC, [recipe]), out=tmp_path / "out")
    out = tmp_path / "printed"
    printed = json.loads(run("compile", SPEC, "--set", recipe, "--out", out, "--json")[1])
    ours = json.loads(json.dumps(result.to_json()).replace(str(tmp_path / "out"), str(out)))
    for each in (ours, printed):
        for target in each["targets"]:
            for trial in (target["chosen"], *target["trials"]):
                for verdict in trial["verdicts"]:
                    del verdict["text"]  # it holds times
                if trial["measurement"]:
                    del trial["measurement"]["latency"]["runs"], trial["measurement"]["memory"]
    assert shape(ours) == shape(printed)
    again = digests(tmp_path / "out" / "host")
    first = digests(out / "host")
    searched = digests(compiled[0] / "host")
    del again["manifest.json"], first["manifest.json"], searched["manifest.json"]
    assert again == first == searched, "the same inputs make the same bytes"


@pytest.mark.timed
def test_the_loader_says_what_onnxruntime_says(compiled, tmp_path):
    folder, archive = compiled[0] / "host", EXAMPLE / "evaluation.npz"
    subprocess.run(
        [sys.executable, "-c", LOADER, folder, archive, tmp_path / "logits.npy"], check=True
    )
    session = make_session((folder / "optimised.onnx").read_bytes(), exact_integers=True)
    with np.load(archive) as data:
        images, labels = data["input"], data["label"]
    expected = np.concatenate([session.run({"input": image[None]})["logits"] for image in images])
    logits = np.load(tmp_path / "logits.npy")
    np.testing.assert_array_equal(logits, expected)
    assert (logits.argmax(axis=1) == labels).mean() >= 0.976


def alive(mark):
    """Whether any process has the mark in its environment."""
    for process in Path("/proc").iterdir():
        try:
            if mark.encode() in (process / "environ").read_bytes():
                return True
        except OSError:  # no process, or one that has just ended
            continue
    return False


def test_killed_at_any_moment(tmp_path):
    """Half of the moments are spread over a whole run, half lie within the writing of the artefact."""
    out, mark = tmp_path / "out", f"BUDGETC_TEST={tmp_path}"
    arguments = ("compile", SPEC, "--out", out, "--set", "budgets={}")
    old = "clean"
    assert run(*arguments, "--set", f"passes={old}")[0] == 0
    assert manifest_of(out / "host")["recipe"] == old
    # --force: also where a run was quicker than its end.
    arguments = (*arguments, "--set", f"passes={FLOAT}", "--force")
    environment = {**os.environ, "BUDGETC_TEST": str(tmp_path)}
    begin = time.monotonic()
    assert run(*arguments[:3], tmp_path / "timed", *arguments[4:])[0] == 0
    whole = time.monotonic() - begin
    chance = random.Random(0)
    seen = set()
    for kill in range(KILLS):
        process = start(*arguments, env=environment)
        if kill % 2:
            while "feasible" not in process.stderr.readline():
                assert process.poll() is None
            time.sleep(chance.uniform(0, 0.03))
        else:
            time.sleep(chance.uniform(0, whole))
        process.kill()
        process.communicate()
        seen.add(manifest_of(out / "host")["recipe"])
        for _ in range(200):
            if not alive(mark):
                break
            time.sleep(0.1)
        assert not alive(mark), "children outlive the process"
    assert seen <= {old, FLOAT}
    assert run(*arguments)[0] == 0
    assert manifest_of(out / "host")["recipe"] == FLOAT
    assert {p.name for p in out.iterdir()} == {"host", STAMP, *REPORTS}, (
        "what killed runs left is gone"
    )
