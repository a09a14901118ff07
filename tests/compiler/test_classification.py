"""Metrics of classes: known scores, ties, NaN, labels that do not fit; F1 and mean IoU against their definitions."""

from functools import partial

import numpy as np
import pytest
from budgetc.measure.classification import agreement, f1, mean_iou, top, top1, top5
from budgetc_specs.errors import SpecError
from hypothesis import given
from hypothesis import strategies as st

LOGITS = {"y": np.array([[1, 3, 2, 0, 0, 0], [9, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2]], np.float32)}


def test_top1_takes_the_first_of_equals():
    assert top1(LOGITS, np.array([1, 1, 0]), LOGITS).tolist() == [1, 0, 1]
    assert top1(LOGITS, np.array([[1], [0], [5]]), LOGITS).tolist() == [1, 1, 0]


def test_top5():
    assert top5(LOGITS, np.array([5, 5, 4]), LOGITS).tolist() == [0, 0, 1]
    assert top5(LOGITS, np.array([4, 1, 5]), LOGITS).tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    ("metric", "label", "error"),
    [
        (top1, 6, "the metric top1 found the label 6, and the output has 6 classes"),
        (top5, -1, "the metric top5 found the label -1, and the output has 6 classes"),
        (partial(top.function, k=6), 0, "the metric top looks at 6 classes, and the output has 6"),
    ],
)
def test_labels_are_classes_and_an_answer_can_be_wrong(metric, label, error):
    with pytest.raises(SpecError, match=error):
        metric(LOGITS, np.array([0, label, 0]), LOGITS)


def test_nan_is_never_right():
    outputs = {"y": np.array([[np.nan, 1.0], [0.0, 1.0]], np.float32)}
    assert top1(outputs, np.array([0, 1]), outputs).tolist() == [0, 1]
    assert agreement(outputs, None, {"y": np.array([[1.0, 0.0], [0.0, 1.0]])}).tolist() == [0, 1]


def test_integers_are_ranked_without_overflow():
    outputs = {"y": np.array([[-128, 127, 0]], np.int8)}
    assert top1(outputs, np.array([1]), outputs).tolist() == [1]


def test_agreement_is_of_every_output():
    ours = {"a": np.array([[1, 0], [1, 0], [0, 1]]), "b": np.array([[1, 0], [0, 1], [0, 1]])}
    theirs = {"a": np.array([[1, 0], [1, 0], [1, 0]]), "b": np.array([[2, 0], [2, 0], [0, 2]])}
    assert agreement(ours, None, theirs).tolist() == [1, 0, 0]


def one_hot(classes, count):
    return {"y": np.eye(count, dtype=np.float32)[np.asarray(classes)]}


def f1_by_definition(answers, labels, count):
    found = []
    for each in range(count):
        hit = sum(a == b == each for a, b in zip(answers, labels, strict=True))
        wrong = sum(a == each != b for a, b in zip(answers, labels, strict=True))
        missed = sum(b == each != a for a, b in zip(answers, labels, strict=True))
        if hit + missed:
            found.append(2 * hit / (2 * hit + wrong + missed))
    return np.mean(found)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_f1_against_its_definition(pairs):
    answers, labels = zip(*pairs, strict=True)
    outputs = one_hot(answers, 4)
    value = f1.value(f1(outputs, np.array(labels), outputs))
    assert value == pytest.approx(f1_by_definition(answers, labels, 4))


def test_nan_hits_no_class():
    outputs = {"y": np.array([[np.nan, 1.0], [0.0, 1.0]], np.float32)}
    assert f1(outputs, np.array([0, 1]), outputs).tolist() == [
        [0, 0, 0, 0, 1, 0],
        [0, 1, 0, 1, 0, 1],
    ]


@given(st.data())
def test_mean_iou_against_its_definition(data):
    classes = st.integers(0, 2)
    shape = (data.draw(st.integers(1, 3)), 2, 3)
    size = shape[0] * 6
    answers, labels = (
        np.array(data.draw(st.lists(each, min_size=size, max_size=size)))
        for each in (classes, st.sampled_from([0, 1, 2, 255, -1]))
    )
    outputs = {"y": np.moveaxis(np.eye(3)[answers.reshape(shape)], -1, 1)}
    known = (labels >= 0) & (labels < 255)
    ratios = []
    for each in range(3):
        ours, theirs = (answers == each) & known, (labels == each) & known
        if theirs.any():
            ratios.append((ours & theirs).sum() / (ours | theirs).sum())
    statistics = mean_iou(outputs, labels.reshape(shape), outputs)
    assert mean_iou.value(statistics) == pytest.approx(np.mean(ratios) if ratios else 0.0)


@pytest.mark.parametrize(
    ("metric", "outputs", "labels", "text"),
    [
        (f1, LOGITS, np.array([0, 1, 6]), "found the label 6, and the output has 6 classes"),
        (f1, LOGITS, np.array([0.0, 1, 2]), "needs one whole number, the class, for each sample"),
        (mean_iou, LOGITS, np.array([0, 1, 2]), r"needs an output of shape \[N, classes, H, W\]"),
        (
            mean_iou,
            {"y": np.zeros((1, 2, 2, 2))},
            np.array([[[0, 1], [1, 2]]]),
            "found the label 2, and the output has 2 classes",
        ),
    ],
)
def test_labels_that_do_not_fit(metric, outputs, labels, text):
    with pytest.raises(SpecError, match=text):
        metric(outputs, labels, outputs)


def test_top_of_no_classes():
    with pytest.raises(SpecError, match='looks at "0" classes'):
        top.function(LOGITS, np.array([0, 1, 2]), LOGITS, k=0)
