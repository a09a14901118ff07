"""Paired intervals, against brute force and against their own promise."""

import math

import numpy as np
import pytest
from budgetc.measure.quality import bootstrap_interval, compare_scores, tango_interval
from scipy.optimize import brentq


def score_by_definition(b, c, n, delta):
    """Tango's statistic with the constrained estimate found by a root finder, not by the formula.

    Under the null p12 - p21 = delta, the likelihood is p12^b p21^c (1 - p12 - p21)^(n-b-c).
    """

    def slope(q):  # of the log-likelihood in q = p21
        return b / (q + delta) + c / q - 2 * (n - b - c) / (1 - 2 * q - delta)

    low, high = max(0.0, -delta) + 1e-13, (1 - delta) / 2 - 1e-13
    q = brentq(slope, low, high, xtol=1e-15) if slope(low) > 0 > slope(high) else low
    return (b - c - n * delta) / math.sqrt(n * (2 * q + delta - delta * delta))


@pytest.mark.parametrize(("b", "c", "n"), [(12, 2, 50), (9, 7, 1000), (1, 30, 200), (3, 4, 2000)])
def test_tango_against_its_definition(b, c, n):
    low, high = tango_interval(b, c, n, 0.95)
    assert score_by_definition(b, c, n, low) == pytest.approx(1.959964, abs=1e-4)
    assert score_by_definition(b, c, n, high) == pytest.approx(-1.959964, abs=1e-4)


def test_tango_where_nothing_differs():
    """Solved by hand: the interval is z^2 / (n + z^2) either way."""
    z2 = 1.959964**2
    low, high = tango_interval(0, 0, 1000, 0.95)
    assert high == pytest.approx(z2 / (1000 + z2), rel=1e-5)
    assert low == -high


def test_tango_keeps_its_promise():
    rng = np.random.default_rng(1)
    p12, p21, n = 0.03, 0.02, 400
    draws = rng.multinomial(n, [p12, p21, 1 - p12 - p21], 1500)
    holds = [
        low <= p12 - p21 <= high
        for low, high in (tango_interval(int(b), int(c), n, 0.95) for b, c, _ in draws)
    ]
    assert 0.93 < np.mean(holds) < 0.97


def test_bootstrap_agrees_with_the_normal_interval():
    differences = np.random.default_rng(2).normal(0.1, 1, 2000)
    half = 1.96 * differences.std() / math.sqrt(2000)
    low, high = bootstrap_interval(differences, 0.95)
    assert low == pytest.approx(differences.mean() - half, abs=0.1 * half)
    assert high == pytest.approx(differences.mean() + half, abs=0.1 * half)
    assert bootstrap_interval(differences, 0.95) == (low, high)


def test_the_drop_is_how_much_worse_the_binary_is():
    reference = np.array([1.0] * 98 + [0.0] * 2)
    ours = np.array([0.0] * 3 + [1.0] * 95 + [1.0] + [0.0])
    quality = compare_scores("top1", ours, reference)
    assert (quality.value, quality.reference) == (0.96, 0.98)
    assert quality.drop == pytest.approx(0.02)
    assert quality.low < 0.02 < quality.high
    assert quality.samples == 100


def test_less_is_better():
    quality = compare_scores(
        "mse", np.array([2.0, 3.0]), np.array([1.0, 3.0]), higher_is_better=False
    )
    assert quality.drop == 0.5
    assert (quality.low, quality.high) == (0.0, 1.0)
