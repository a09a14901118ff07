"""Recipes that train, from end to end: verified libraries, killed and taken up, and nothing trained twice."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytestmark = pytest.mark.slow

EXAMPLE = Path(__file__).parents[2] / "specs" / "examples" / "mnist"
RECIPE = (
    "clean | prune{align=1,ratio=0.75} | distill{epochs=6,rate=0.01} | fuse | clean | quantize"
    " | qat{epochs=2,scales=learned}"
)

SPEC = f"""
budgetc: 1
model: {EXAMPLE}/mnist5k_cnn.onnx
inputs: {{input: {{shape: [1, 1, 28, 28]}}}}
data: {{train: {EXAMPLE}/calibration.npz, calibration: {EXAMPLE}/calibration.npz}}
learning: {{augment: [shift]}}
passes: {RECIPE}
"""


def start(spec: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "budgetc.cli.main", "compile", str(spec), *arguments]
    environment = {**os.environ, "BUDGETC_CACHE": str(spec.parent / "cache")}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def compiled(spec: Path, folder: str) -> str:
    """What a run said of its work."""
    process = start(spec, "--out", str(spec.parent / folder))
    out, err = process.communicate()
    assert process.returncode == 0, out + err
    return err


def test_a_run_that_was_killed_comes_to_the_same_library(tmp_path: Path) -> None:
    """The library agrees with onnxruntime on the trained graph, or the run would have ended with exit code 9."""
    spec, cache = tmp_path / "spec.yaml", tmp_path / "cache"
    spec.write_text(SPEC, encoding="utf-8")
    process = start(spec, "--out", str(tmp_path / "cut"))
    deadline = time.monotonic() + 300
    while not any((cache / "checkpoints").glob("[0-9a-f]*")) and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert "going on after epoch" in compiled(spec, "cut")
    assert ": epoch " not in compiled(spec, "again"), "nothing is trained twice"
    for room in ("learned", "learned-models"):
        shutil.rmtree(cache / room)
    said = compiled(spec, "whole")
    assert "epoch 1/6" in said
    assert "going on after epoch" not in said
    made = [(tmp_path / name / "host" / "optimised.onnx").read_bytes() for name in ("cut", "whole")]
    assert made[0] == made[1]
    manifest = json.loads((tmp_path / "cut" / "host" / "manifest.json").read_text())
    (trained,) = (entry for entry in manifest["ledger"] if entry["pass"].startswith("qat"))
    assert trained["modified"]
    assert set(manifest["sources"]) >= {"training", "augmentations"}
