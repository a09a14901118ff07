"""Metrics of numbers: known values, silence, no error at all, several outputs."""

import numpy as np
import pytest
from budgetc.measure.signals import MOST_DB, cosine, mse, snr
from budgetc_specs.errors import SpecError


def test_mse():
    outputs = {"y": np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)}
    labels = np.array([[1.0, 4.0], [3.0, 4.0]])
    assert mse(outputs, labels, outputs).tolist() == [2, 0]
    assert not mse.higher_is_better


RIGHT = {"a": np.array([[3.0, 4.0], [0.0, 5.0]]), "b": np.array([[0.0], [0.0]])}


def test_snr_is_over_all_samples():
    ours = {"a": np.array([[3.0, 4.0], [0.5, 5.0]]), "b": np.array([[0.0], [0.0]])}
    statistics = snr(ours, None, RIGHT)
    assert statistics.tolist() == [[25, 0], [25, 0.25]]
    assert snr.value(statistics) == pytest.approx(10 * np.log10(200))


def test_snr_against_labels():
    ours, labels = {"y": np.array([[1.0, 1.0]])}, np.array([[1.0, 2.0]])
    assert snr.value(snr(ours, labels, ours)) == pytest.approx(10 * np.log10(5))


def test_no_error_and_nothing_but_error():
    assert snr.value(snr(RIGHT, None, RIGHT)) == MOST_DB
    silent = {"a": np.zeros((1, 2))}
    assert snr.value(snr(silent, None, silent)) == MOST_DB
    assert snr.value(snr({"a": np.ones((1, 2))}, None, silent)) == -MOST_DB


def test_cosine():
    ours = {"a": np.array([[4.0, -3.0], [0.0, 9.0]]), "b": np.array([[0.0], [1.0]])}
    assert cosine(ours, None, RIGHT).tolist() == [0.5, 0.5]  # 0 and 1, 1 and 0
    assert cosine(RIGHT, None, RIGHT).tolist() == [1, 1]


def test_labels_that_are_no_outputs():
    ours = {"y": np.zeros((2, 3))}
    with pytest.raises(SpecError, match="or none to compare with the float model"):
        snr(ours, np.array([1, 2]), ours)
