"""Samples held back: exactly those that no training learns from, in the same file each time."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from budgetc.data import load_data
from budgetc.held import hold_back
from budgetc.model import Model, parse_model
from budgetc_passes.contract import held_back
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
