"""Budgets against a baseline, as they are written: short and long, per target, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
from budgetc_specs.document import load_spec
from budgetc_specs.errors import SpecError
from budgetc_specs.regression import Growth, Loss, RegressionBudget

SPEC = """model: m.onnx
data: {evaluation: e.npz}
budgets:
  max_regression: {baseline: model.lock, size: 2 %, quality: 0.2 pp}
targets:
  host: {}
  pi:
    kind: aarch64
    budgets: {max_regression: {baseline: model.lock, latency: {max: 10 %, level: warning}}}
"""


@pytest.fixture
def load(tmp_path: Path) -> Any:
    for name in ("m.onnx", "e.npz", "model.lock"):
        (tmp_path / name).touch()
    (tmp_path / "spec.yaml").write_text(SPEC)
    return lambda *overrides: load_spec(tmp_path / "spec.yaml", overrides)


def test_a_target_replaces_it_as_a_whole(load: Any, tmp_path: Path) -> None:
    spec = load()
    assert spec.budgets_for("host").max_regression == RegressionBudget(
        baseline=tmp_path / "model.lock",
        size=Growth(max=0.02),
        quality=Loss(max=0.002),
    )
    pi = spec.budgets_for("pi").max_regression
    assert (pi.size, pi.latency) == (None, Growth(max=0.1, level="warning"))


def test_an_override_takes_it_away(load: Any) -> None:
    assert load("budgets.max_regression=null").budgets.max_regression is None


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("baseline=other.lock", 'did you mean "model.lock"?'),
        ("baseline=other.lock", "budgetc lock SPEC --set budgets.max_regression=null"),
        ("size=2", '"2" has no unit'),
        ("size=1 KiB", '"KiB" is not a unit of growth'),
        ("quality=2 %", '"%" is not a unit of quality'),
        ("power=2 %", '"power" is not a field here'),
    ],
)
def test_refusals(load: Any, override: str, words: str) -> None:
    with pytest.raises(SpecError) as refused:
        load(f"budgets.max_regression.{override}")
    assert words in str(refused.value)


def test_something_must_be_bounded_and_judged(load: Any) -> None:
    with pytest.raises(SpecError, match="nothing that is held against it"):
        load("budgets.max_regression={baseline: model.lock}")
    with pytest.raises(SpecError, match="a quality budget needs evaluation data"):
        load("data.evaluation=null")
