"""One spec, five kinds of hardware: an artefact for each, one table of verdicts, the worst exit code."""

from pathlib import Path

import numpy as np
import pytest
from budgetc.cli.main import app
from typer.testing import CliRunner

EXAMPLE = Path(__file__).parents[2] / "specs" / "examples" / "mnist"

SPEC = """
model: {model}
inputs: {{input: {{shape: [1, 1, 28, 28]}}}}
data: {{calibration: {calibration}, evaluation: few.npz}}
budgets: {{size: 96 KiB, memory: 96 KiB, quality: {{drop: 4 pp}}}}
targets:
  host: {{}}
  pi: {{board: raspberry-pi-4}}
  micro: {{board: nucleo-f767zi}}
  riscv: {{kind: riscv64}}
  web: {{kind: wasm32}}
passes: clean | fuse | clean | quantize
output: {{name: digits}}
"""
LIBRARIES = {
    "host": "libdigits.so",
    "pi": "libdigits.so",
    "micro": "libdigits.a",
    "riscv": "libdigits.so",
    "web": "digits.wasm",
}


@pytest.fixture
def spec(tmp_path):
    with np.load(EXAMPLE / "evaluation.npz") as labelled:
        np.savez(tmp_path / "few.npz", **{key: labelled[key][:50] for key in labelled.files})
    text = SPEC.format(model=EXAMPLE / "mnist5k_cnn.onnx", calibration=EXAMPLE / "calibration.npz")
    path = tmp_path / "spec.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def compiled(spec, *more):
    out = spec.parent / "out"
    done = CliRunner().invoke(app, ["compile", str(spec), "--out", str(out), *more])
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    at = lines.index("target hardware size memory quality artefact")
    return done.exit_code, out, {line.partition(" ")[0]: line for line in lines[at + 1 : at + 6]}


@pytest.mark.slow
def test_five_targets_and_one_that_misses(spec):
    code, out, matrix = compiled(spec)
    assert code == 0, matrix
    for target, library in LIBRARIES.items():
        assert (out / target / library).is_file()
        assert matrix[target].endswith("written")
        assert matrix[target].count("PASS") == 3

    before = (out / "micro" / "libdigits.a").read_bytes()
    tight = ("--set", "targets.micro.budgets.memory=20 KiB")
    code, out, matrix = compiled(spec, "--target", "host", "--target", "micro", *tight)
    assert code == 1, "the worst verdict is the exit code"
    assert "FAIL" in matrix["micro"]
    assert matrix["micro"].endswith("none")
    assert matrix["host"].endswith("written")
    assert (out / "micro" / "libdigits.a").read_bytes() == before, "the old artefact stays"
