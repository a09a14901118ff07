"""A model compiled for a board that ssh reaches is tuned, run, judged and timed there: on this machine, for a test."""

import os
import platform
from pathlib import Path

import budgetc
import numpy as np
import pytest
from budgetc.probe import probe
from budgetc_specs.errors import SpecError, TargetUnreachableError
from budgetc_specs.spec import Spec

from tests.targets.ssh_server import WHY_NOT, ssh_server

EXAMPLE = Path(__file__).parents[2] / "specs" / "examples" / "mnist"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(WHY_NOT) or os.getuid() != 0, reason=WHY_NOT or "not root"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="not an x86-64 machine"),
]


def _spec(folder: Path, address: str, latency: str = "50 ms") -> Spec:
    with np.load(EXAMPLE / "evaluation.npz") as labelled:
        np.savez(folder / "few.npz", **{key: labelled[key][:100] for key in labelled.files})
    return Spec.model_validate(
        {
            "model": EXAMPLE / "mnist5k_cnn.onnx",
            "inputs": {"input": {"shape": [1, 1, 28, 28]}},
            "data": {
                "calibration": EXAMPLE / "calibration.npz",
                "evaluation": folder / "few.npz",
            },
            "budgets": {"latency": latency, "quality": {"drop": "2 pp"}},
            "targets": {"board": {"kind": "x86-64", "cpu": probe().cpu, "runner": address}},
            "passes": "clean | fuse | clean | quantize",
            "search": {"trials": 2},
            "output": {"name": "model"},
        }
    )


def test_a_board_judges_the_library(tmp_path: Path) -> None:
    (tmp_path / "sshd").mkdir()
    with ssh_server(tmp_path / "sshd") as address:
        result = budgetc.compile(_spec(tmp_path, address), out=tmp_path / "out")
    assert result.exit_code == 0
    (target,) = result.targets
    assert target.chosen
    measurement = target.chosen.measurement
    assert measurement
    assert measurement.executed
    assert not measurement.emulated
    assert measurement.device == "board"
    assert measurement.latency
    assert not measurement.latency.peers
    assert {v.budget: v.status for v in target.chosen.verdicts}["latency"] == "PASS"
    assert target.chosen.agreement
    assert target.chosen.agreement.agrees
    assert target.chosen.parts["tuned"]["how"] == "measured on board"


def test_a_board_that_is_not_there(tmp_path: Path) -> None:
    spec = _spec(tmp_path, "ssh://127.0.0.1:9")
    with pytest.raises(TargetUnreachableError, match="the device was not reached") as caught:
        budgetc.compile(spec, out=tmp_path / "out")
    assert caught.value.exit_code == 8
    assert not (tmp_path / "out" / "board").exists()


def test_no_peer_runs_on_a_board(tmp_path: Path) -> None:
    spec = _spec(tmp_path, "ssh://127.0.0.1:9", "1.0 x onnxruntime")
    with pytest.raises(SpecError, match="cannot be measured on a device"):
        budgetc.compile(spec, out=tmp_path / "out")
