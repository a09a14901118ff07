"""Strategies that train, from one spec to a verified library; killed on the way, and taken up."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = [pytest.mark.slow, pytest.mark.large, pytest.mark.timeout(1800)]

EXAMPLE = Path(__file__).parents[2] / "specs" / "examples" / "animals"
SPEC = f"""
model: {EXAMPLE / "animalmnist_dscnn.onnx"}
inputs: {{input: {{shape: [1, 1, 28, 28]}}}}
data: {{calibration: {EXAMPLE / "calibration.npz"}, evaluation: {EXAMPLE / "evaluation.npz"}}}
learning: {{augment: [shift], time: 20 s}}
budgets: {{size: 18 KiB}}
output: {{name: animals}}
"""


def begin(folder: Path, strategy: str, out: str) -> subprocess.Popen[str]:
    (folder / "spec.yaml").write_text(f"{SPEC}strategy: {strategy}\n")
    command = [sys.executable, "-m", "budgetc.cli.main", "compile", folder / "spec.yaml"]
    return subprocess.Popen(
        [*map(str, command), "--out", str(folder / out)],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "BUDGETC_CACHE": str(folder / "cache")},
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> list[str]:
    _, told = process.communicate()
    assert process.returncode == 0, told
    return told.splitlines()


def target(folder: Path, out: str) -> dict:
    return json.loads((folder / out / "result.json").read_text())["targets"][0]


@pytest.mark.parametrize("strategy", ["shrink-improve", "grow-improve-shrink"])
def test_a_run_that_is_killed_is_taken_up_and_trains_nothing_twice(
    strategy: str, tmp_path: Path
) -> None:
    process = begin(tmp_path, strategy, "killed")
    assert process.stderr is not None
    for line in process.stderr:
        if "rung 1" in line:
            break
    for line in process.stderr:
        if "distill: epoch" in line:
            break
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    told = finish(begin(tmp_path, strategy, "out"))
    assert any("going on with a search that was cut short" in line for line in told)
    found = target(tmp_path, "out")
    chosen, info = found["chosen"], found["strategy"]
    assert chosen["measurement"]["size"]["bytes"] <= 18 * 1024
    assert chosen["outcome"] == "feasible"
    assert info["name"] == strategy
    assert info["steps"][-1]["recipe"] == chosen["recipe"]
    assert "distill" in chosen["recipe"]
    last = info["steps"][-1]["reached"]["loss"]
    assert last < next(s for s in info["steps"] if s["kind"] == "shrunk")["reached"]["loss"]
    again = finish(begin(tmp_path, strategy, "again"))
    assert not any(": epoch " in line for line in again)
    assert target(tmp_path, "again")["chosen"]["recipe"] == chosen["recipe"]
