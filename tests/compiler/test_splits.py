"""Splits: what the search judges quality on, what a report says of it, and where slices come from."""

from pathlib import Path

import numpy as np
import pytest
from budgetc.lower.lowered import Port
from budgetc.measure.classification import agreement, top1
from budgetc.model import Model
from budgetc.splits import load_splits
from budgetc_specs.errors import SpecError
from budgetc_specs.spec import Spec

MODEL = Model(
    Path("m.onnx"),
    b"",
    "",
    (Port("x", "float32", (1, 2)),),
    (Port("y", "float32", (1, 3)),),
    17,
    0,
    0,
)


@pytest.fixture
def save(tmp_path):
    def saved(name, count=30, **arrays):
        values = np.full((count, 2), sum(map(ord, name)), np.float32)
        np.savez(tmp_path / f"{name}.npz", x=values, **arrays)
        return str(tmp_path / f"{name}.npz")

    return saved


def splits(metric=top1, quality=None, **data):
    return load_splits(Spec(model="m.onnx", data=data, quality=quality or {}), MODEL, metric)


LABELS = np.arange(30) % 3


def test_validation_data_come_first(save):
    data = {n: save(n, label=LABELS) for n in ("calibration", "validation", "evaluation")}
    found = splits(**data)
    assert found.validation.path.name == "validation.npz"
    assert found.evaluation.path.name == "evaluation.npz"
    assert not found.saw_evaluation
    assert found.sentence == (
        "the search judges quality on the validation data, 30 samples of validation.npz"
    )


def test_calibration_data_come_next_if_they_have_what_the_metric_needs(save):
    calibration, evaluation = save("calibration"), save("evaluation", label=LABELS)
    found = splits(agreement, calibration=calibration, evaluation=evaluation)
    assert found.validation is found.calibration or found.validation == found.calibration
    assert found.sentence == (
        "the search judges quality on the calibration data, 30 samples of calibration.npz"
    )
    found = splits(top1, calibration=calibration, evaluation=evaluation)
    assert found.validation is found.evaluation
    assert found.saw_evaluation
    assert found.sentence == (
        "the search sees the evaluation data: there are neither validation data nor labels in the "
        "calibration data"
    )


def test_evaluation_data_are_the_last_resort(save):
    found = splits(evaluation=save("evaluation", label=LABELS))
    assert found.validation is found.evaluation
    assert found.saw_evaluation
    assert found.sentence.endswith("neither validation data nor calibration data")


def test_the_same_file_twice_is_seen(save):
    evaluation = save("evaluation", label=LABELS)
    found = splits(validation=evaluation, evaluation=evaluation)
    assert found.saw_evaluation
    assert found.sentence == (
        "the search sees the evaluation data: the validation data are the same file"
    )


def test_no_data_at_all(save):
    for found in (splits(), splits(calibration=save("calibration"))):
        assert (found.validation, found.evaluation, found.saw_evaluation) == (None, None, False)
        assert found.sentence == (
            "the search does not judge quality: there are no data to judge it on"
        )


def test_validation_data_need_labels_as_evaluation_data_do(save):
    with pytest.raises(SpecError, match=r'validation\.npz: there is no array "label"'):
        splits(validation=save("validation"), evaluation=save("evaluation", label=LABELS))


def test_slices_are_classes(save):
    data = {n: save(n, label=LABELS) for n in ("calibration", "evaluation")}
    found = splits(quality={"slices": "label"}, **data)
    assert found.evaluation.slices.tolist() == LABELS.tolist()
    assert found.validation.slices.tolist() == LABELS.tolist()
    assert splits(**data).evaluation.slices is None


def test_slices_are_an_array_of_the_archive(save):
    groups = np.array(["day", "night", "fog"])[LABELS]
    evaluation = save("evaluation", label=LABELS, slice=groups)
    found = splits(quality={"slices": "slice"}, evaluation=evaluation)
    assert found.evaluation.slices.tolist() == groups.tolist()
    assert splits(evaluation=evaluation).evaluation.slices is None
    found = splits(
        agreement,
        quality={"slices": "slice"},
        evaluation=evaluation,
        calibration=save("calibration"),
    )
    assert found.validation.slices is None  # only evaluation data must have them


def test_slices_are_an_archive(save, tmp_path):
    np.savez(tmp_path / "groups.npz", slice=LABELS)
    quality = {"slices": str(tmp_path / "groups.npz")}
    found = splits(
        quality=quality,
        evaluation=save("evaluation", label=LABELS),
        validation=save("validation", label=LABELS),
    )
    assert found.evaluation.slices.tolist() == LABELS.tolist()
    assert found.validation.slices is None


@pytest.mark.parametrize(
    ("slices", "arrays", "text"),
    [
        ("slice", {}, 'evaluation.npz: quality.slices: there is no array "slice"'),
        ("label", {"label": np.zeros((30, 2))}, r"here are labels of float64 \[30, 2\]"),
        ("slice", {"slice": LABELS[:7]}, "there are slices of 7 samples, and 30 samples"),
        ("slice", {"slice": np.zeros(30)}, r'the array "slice" is float64 \[30\]'),
    ],
)
def test_slices_that_are_not_there(save, slices, arrays, text):
    evaluation = save("evaluation", **{"label": LABELS, **arrays})
    with pytest.raises(SpecError, match=text):
        splits(quality={"slices": slices}, evaluation=evaluation)


@pytest.mark.parametrize(
    ("arrays", "text"),
    [
        ({"slices": LABELS}, r'there is no array "slice"\n.*holds "slices"\. did you mean'),
        ({"slice": LABELS[:7]}, "there are slices of 7 samples, and 30 samples in evaluation.npz"),
        ({"slice": LABELS.reshape(30, 1)}, r'the array "slice" is int64 \[30, 1\]'),
    ],
)
def test_archives_of_slices_that_do_not_fit(save, tmp_path, arrays, text):
    np.savez(tmp_path / "groups.npz", **arrays)
    with pytest.raises(SpecError, match=text):
        splits(
            quality={"slices": str(tmp_path / "groups.npz")},
            evaluation=save("evaluation", label=LABELS),
        )


def test_too_many_slices(save):
    numbers = np.arange(1001)
    evaluation = save("evaluation", 1001, label=numbers, slice=numbers)
    with pytest.raises(SpecError) as caught:
        splits(quality={"slices": "slice"}, evaluation=evaluation)
    assert "there are 1,001 slices of 1,001 samples\n  a slice is a group of samples" in str(
        caught.value
    )
