"""A library that is too large because its kernels trade size for speed is built again without them."""

from pathlib import Path

import budgetc
import pytest
from budgetc.verdict import Measurement
from budgetc_specs.spec import Spec

EXAMPLE = Path(__file__).parents[2] / "specs" / "examples" / "mnist"
SIZE = 200 * 1024


def _compile(folder: Path, **budgets: str) -> Measurement:
    spec = Spec.model_validate(
        {
            "model": EXAMPLE / "mnist5k_cnn.onnx",
            "inputs": {"input": {"shape": [1, 1, 28, 28]}},
            "budgets": budgets,
            "targets": {"any": {"kind": "x86-64", "cpu": "x86-64-v3"}},
            "passes": "clean | fuse | clean",
            "output": {"name": "digits"},
        }
    )
    (target,) = budgetc.compile(spec, out=folder).targets
    assert target.chosen, target.certificate
    assert target.chosen.measurement
    assert len(target.trials) == 1
    return target.chosen.measurement


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    return _compile(tmp_path_factory.mktemp("free") / "out")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Measurement:
    return _compile(tmp_path_factory.mktemp("small") / "out", size=f"{SIZE} B")


def test_a_tight_size_gives_up_speed(free: Measurement, small: Measurement) -> None:
    assert free.size.deployed > SIZE >= small.size.deployed


def test_so_does_a_tight_memory(free: Measurement, small: Measurement, tmp_path: Path) -> None:
    assert free.memory.total > small.memory.total
    limit = (free.memory.total + small.memory.total) // 2
    found = _compile(tmp_path / "out", memory=f"{limit} B")
    assert found.memory.total <= limit
