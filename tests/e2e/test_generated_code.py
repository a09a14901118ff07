"""Nodes without kernels run as generated C in every library, also in one for another architecture."""

from pathlib import Path

import budgetc
import numpy as np
import onnx
import pytest
from budgetc_specs.spec import Spec
from onnx import parser

TEXT = """<ir_version: 9, opset_import: ["": 17]>
    g (float[1,6,8] x) => (float[1,6,8] y) <int64 axis = {2}>
    { a = Relu(x)  b = CumSum(a, axis)  y = Mul(b, a) }"""


@pytest.mark.slow
def test_generated_code_runs_here_and_under_emulation(tmp_path: Path) -> None:
    onnx.save(parser.parse_model(TEXT), tmp_path / "model.onnx")
    samples = np.random.default_rng(0).standard_normal((8, 6, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=samples)
    spec = Spec.model_validate(
        {
            "model": tmp_path / "model.onnx",
            "data": {"evaluation": tmp_path / "data.npz"},
            "quality": {"metric": "agreement"},
            "targets": {"host": {}, "pi": {"kind": "aarch64", "cpu": "cortex-a72"}},
            "passes": "clean | fuse | clean",
            "output": {"name": "model"},
        }
    )
    result = budgetc.compile(spec, out=tmp_path / "out")
    assert result.exit_code == 0
    for target in result.targets:
        assert target.chosen, target.certificate
        if target.chosen.measurement and target.chosen.measurement.executed:
            assert target.chosen.agreement
            assert target.chosen.agreement.agrees
