"""Comparisons of two models on the same samples: drops, intervals, slices."""

from dataclasses import replace

import numpy as np
import pytest
from budgetc.measure.classification import agreement, f1, top1
from budgetc.measure.quality import FEWEST, compare
from budgetc.measure.signals import mse, snr


def test_the_drop_is_how_much_worse_the_binary_is():
    reference = np.array([1.0] * 98 + [0.0] * 2)
    ours = np.array([0.0] * 3 + [1.0] * 95 + [1.0] + [0.0])
    quality = compare(top1, ours, reference)
    assert (quality.metric, quality.value, quality.reference) == ("top1", 0.96, 0.98)
    assert quality.drop == pytest.approx(0.02)
    assert quality.low < 0.02 < quality.high
    assert quality.value_low < 0.96 < quality.value_high
    assert (quality.samples, quality.few_differ, quality.slices) == (100, None, ())


def test_less_is_better():
    quality = compare(mse, np.array([2.0, 3.0] * 50), np.array([1.0, 3.0] * 50))
    assert quality.drop == 0.5
    assert 0.3 < quality.low < 0.5 < quality.high < 0.7
    assert not quality.higher_is_better


def test_a_metric_that_is_no_mean():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 300)
    theirs = np.where(rng.random(300) < 0.1, rng.integers(0, 3, 300), labels)
    ours = np.where(rng.random(300) < 0.1, rng.integers(0, 3, 300), theirs)
    outputs = [{"y": np.eye(3)[classes]} for classes in (ours, theirs)]
    scores = [f1(each, labels, each) for each in outputs]
    quality = compare(f1, *scores)
    assert quality.value == f1.value(scores[0])
    assert quality.drop == f1.value(scores[1]) - quality.value > 0
    assert quality.low < quality.drop < quality.high
    # Paired: far narrower than the intervals of both values.
    assert quality.high - quality.low < 0.8 * (quality.value_high - quality.value_low)


def test_the_interval_of_decibels_is_in_decibels():
    rng = np.random.default_rng(1)
    signal = rng.lognormal(0, 0.3, 200)
    ours, theirs = (np.stack([signal, signal * noise], axis=1) for noise in (0.01, 0.005))
    quality = compare(snr, ours, theirs)
    assert quality.value == pytest.approx(20)
    assert quality.drop == pytest.approx(10 * np.log10(2))
    assert quality.low == pytest.approx(quality.high)  # the same in every sample


def test_too_few_differences_for_a_bootstrap():
    reference = np.full(100, 0.5)
    assert compare(mse, reference, reference).few_differ == 0
    ours = reference + (np.arange(100) < 4)
    assert compare(mse, ours, reference).few_differ == 4
    assert compare(mse, reference + (np.arange(100) < 5), reference).few_differ is None
    right = np.ones(100)
    assert compare(agreement, right, right).few_differ is None  # Tango needs none


def test_slices():
    slices = np.array(["day"] * 60 + ["night"] * 40 + ["fog"] * 5)
    reference = np.ones(105)
    ours = reference.copy()
    ours[[0, 60, 61, 62, 63, 100]] = 0
    quality = compare(top1, ours, reference, slices=slices)
    assert [s.name for s in quality.slices] == ["night", "day", "fog"]
    assert [s.samples for s in quality.slices] == [40, 60, 5]
    assert [s.judged for s in quality.slices] == [True, True, False]
    worst = quality.worst_slice
    assert (worst.name, worst.value, worst.reference) == ("night", 0.9, 1.0)
    assert worst.drop == pytest.approx(0.1)
    alone = compare(top1, ours[60:100], reference[60:100])
    assert worst.low < alone.low < 0.1 < alone.high < worst.high  # they hold all at once


def test_the_slices_of_a_metric_that_is_no_mean_are_its_values_there():
    labels = np.array([0, 1, 2] * 20)
    answers = {"y": np.eye(3)[np.where(np.arange(60) < 20, 0, labels)]}
    right = {"y": np.eye(3)[labels]}
    scores, reference = f1(answers, labels, right), f1(right, labels, right)
    quality = compare(f1, scores, reference, slices=np.arange(60) // 20)
    assert quality.worst_slice.name == "0"
    assert quality.worst_slice.value == f1.value(scores[:20])
    assert [s.drop for s in quality.slices[1:]] == [0.0, 0.0]


def test_no_slice_is_large_enough():
    ones = np.ones(30)
    quality = compare(top1, ones, ones, slices=np.arange(30) // (FEWEST - 1))
    assert quality.worst_slice is None
    assert replace(quality, slices=()).worst_slice is None


def test_the_intervals_of_slices_hold_all_at_once():
    """Ten slices, in each of which one answer of twenty is lost: all ten intervals hold a drop of 5 pp."""
    rng = np.random.default_rng(7)
    slices = np.arange(1000) % 10
    held = []
    for _ in range(150):
        ours = (rng.random(1000) >= 0.05).astype(float)
        found = compare(top1, ours, np.ones(1000), slices=slices).slices
        held.append(all(s.low <= 0.05 <= s.high for s in found))
    assert np.mean(held) > 0.92  # 95 % or more, less twice the error of 150 sets
