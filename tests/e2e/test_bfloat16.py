"""Products of bfloat16 numbers in one library with those of integers, every number against onnxruntime."""

import json
from pathlib import Path

import budgetc
import pytest
from budgetc.registry import find_target
from budgetc_specs.spec import Spec

EXAMPLE = Path(__file__).parents[2] / "specs" / "examples" / "mnist"
KEPT = ("/3/Conv", "/14/Conv", "/19/Gemm")
"""Layers that int8 leaves, a first one of those that follow each other among them."""


@pytest.mark.slow
def test_what_int8_leaves_in_float_is_in_shorter_floats(tmp_path: Path) -> None:
    if find_target("host").capability(None, 1).bfloat16_dot is None:
        pytest.skip("this CPU has no dot product of bfloat16 numbers")
    spec = Spec.model_validate(
        {
            "model": EXAMPLE / "mnist5k_cnn.onnx",
            "inputs": {"input": {"shape": [1, 1, 28, 28]}},
            "data": {
                "calibration": EXAMPLE / "calibration.npz",
                "evaluation": EXAMPLE / "evaluation.npz",
            },
            "quality": {"metric": "top1"},
            "budgets": {"quality": {"drop": "0.5 pp"}},
            "passes": "clean | fuse | clean"
            f' | quantize{{output=float, skip="{";".join(KEPT)}"}} | bf16',
            "output": {"name": "model"},
        }
    )
    result = budgetc.compile(spec, out=tmp_path / "out")
    assert result.exit_code == 0
    (target,) = result.targets
    assert target.chosen
    assert target.chosen.agreement
    assert target.chosen.agreement.agrees
    manifest = json.loads((tmp_path / "out" / "host" / "manifest.json").read_text())
    did = [note["node"] for note in manifest["ledger"][-1]["notes"] if note["kind"] == "did"]
    assert did == list(KEPT)
    found = budgetc.verify(tmp_path / "out" / "host", seconds=2.0)
    assert found.agrees
