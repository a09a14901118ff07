"""Augmentations by their texts: plugins' with options, and functions from beside the model."""

import sys
from pathlib import Path

import numpy as np
import pytest
from budgetc.augmentations import augmentation_code, module_file, resolve_augmentations
from budgetc_passes.contract import Augmentation, Batch
from budgetc_specs.errors import SpecError

BATCH = Batch({"x": np.ones((4, 1, 8), "f4")})

SOURCE = """
def halved(inputs, random):
    inputs["x"] *= 0.5
    return inputs

def flat(inputs, random):
    return {"x": inputs["x"].reshape(4, 8)}

def broken(inputs, random):
    raise RuntimeError("no")

number = 3
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_changes.py").write_text(SOURCE)
    monkeypatch.delitem(sys.modules, "my_changes", raising=False)
    return tmp_path


def test_those_of_plugins_have_options(folder: Path) -> None:
    shift, noise = resolve_augmentations(["shift{by=0.2}", "noise"], folder)
    assert (shift.name, noise.name) == ("shift", "noise")
    assert vars(shift) == {"by": 0.2}
    assert isinstance(shift, Augmentation)
    assert augmentation_code("shift{by=0.2}", folder).startswith("budgetc ")


def test_a_function_lies_beside_the_model(folder: Path) -> None:
    (own,) = resolve_augmentations(["my_changes:halved"], folder)
    made = own.apply(BATCH, np.random.default_rng(0))
    np.testing.assert_array_equal(made.inputs["x"], 0.5 * BATCH.inputs["x"])
    np.testing.assert_array_equal(BATCH.inputs["x"], 1)
    before = augmentation_code("my_changes:halved", folder)
    module_file("my_changes:halved", folder).write_text(SOURCE + "# changed")
    assert augmentation_code("my_changes:halved", folder) != before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("shfit", 'no augmentation is called "shfit"'),
        ("shift{far=1}", 'learning.augment: shift has no option "far"'),
        ("shift{by=7.0}", "shift: by is 7.0"),
        ("my_changes:absent", "can not be imported"),
        ("my_changes:number", "is not a function"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, text: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        resolve_augmentations([text], folder)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "words"), [("flat", "does not return arrays"), ("broken", "failed: RuntimeError: no")]
)
def test_what_a_function_does_wrong_is_named(folder: Path, name: str, words: str) -> None:
    (own,) = resolve_augmentations([f"my_changes:{name}"], folder)
    with pytest.raises(SpecError, match=words):
        own.apply(BATCH, np.random.default_rng(0))
