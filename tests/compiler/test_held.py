"""Samples held back: exactly those that no training learns from, in the same file each time."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from budgetc.compile import judged_splits, lesson_of
from budgetc.data import load_data
from budgetc.held import hold_back
from budgetc.measure.metrics import resolve_metric
from budgetc.model import Model, parse_model
from budgetc.splits import Splits, load_splits
from budgetc.strategy.strategist import Lesson
from budgetc_passes.contract import held_back
from budgetc_specs.spec import Spec
from hypothesis import given
from hypothesis import strategies as st


@pytest.fixture
def model() -> Model:
    text = """
        <ir_version: 8, opset_import: ["" : 17]>
        net (float[2,3] x) => (float[2,3] y) { y = Relu(x) }
    """
    return parse_model(onnx.parser.parse_model(text).SerializeToString(), "net.onnx")


@given(st.integers(2, 30_000), st.integers(0, 2**32 - 1))
def test_every_sample_is_learned_from_or_held_back(count: int, seed: int) -> None:
    known, held = held_back(count, seed)
    assert sorted([*known, *held]) == list(range(count))
    assert 1 <= len(held) <= 2000
    assert (np.diff(known) > 0).all()


def test_the_archive_has_what_is_held_back_and_its_labels(model: Model, tmp_path: Path) -> None:
    x = np.arange(120, dtype="f4").reshape(40, 3)
    np.savez(tmp_path / "train.npz", x=x, label=np.arange(40))
    data = load_data(tmp_path / "train.npz", model)
    held = hold_back(data, model, 3, tmp_path)
    _, rows = held_back(20, 3)
    assert (held.steps, held.count) == (2, 4)
    wanted = [row for each in rows for row in (2 * each, 2 * each + 1)]
    assert held.labels is not None
    assert held.labels.tolist() == wanted
    found = np.concatenate([sample["x"] for sample in held.samples()])
    assert np.array_equal(found, x[wanted])
    held.path.unlink()
    assert hold_back(data, model, 3, tmp_path).digest == held.digest
    assert hold_back(data, model, 4, tmp_path).digest != held.digest


def test_a_strategy_judges_what_it_trains_on_them(
    model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUDGETC_CACHE", str(tmp_path / "cache"))
    np.savez(tmp_path / "train.npz", x=np.zeros((40, 3), "f4"), label=np.arange(40) % 3)
    np.savez(tmp_path / "valid.npz", x=np.ones((8, 3), "f4"), label=np.arange(8) % 3)
    metric = resolve_metric("top1")

    def judged(strategy: str, **data: Path) -> tuple[Splits, Lesson]:
        spec = Spec(
            model=tmp_path / "net.onnx",
            data={"train": tmp_path / "train.npz", **data},
            strategy=strategy,
        )
        splits = judged_splits(spec, model, load_splits(spec, model, metric))
        return splits, lesson_of(spec, splits)

    splits, lesson = judged("shrink-improve")
    assert splits.validation is not None
    assert splits.validation.count == 4
    assert lesson.judged_on == "4 samples that are held back of train.npz"
    assert not lesson.foreseen
    splits, lesson = judged("shrink-improve", validation=tmp_path / "valid.npz")
    assert lesson.judged_on == "8 samples of valid.npz"
    assert lesson.foreseen
    assert judged("shrink")[0].validation is None
