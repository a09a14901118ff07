"""Intervals: against brute force and against their own promise."""

import math
import time

import numpy as np
import pytest
from budgetc.measure.intervals import (
    bootstrap_intervals,
    resampled_means,
    tango_interval,
    wilson_interval,
)
from scipy.optimize import brentq
from scipy.stats import binom, t


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


def test_wilson_solves_its_equation():
    """Both ends are the shares from which the seen one is 1.96 standard errors away."""
    for ones, count in [(3, 40), (0, 10), (10, 10), (970, 1000)]:
        for end in wilson_interval(ones, count, 0.95):
            gap = abs(ones / count - end)
            assert gap == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / count), abs=1e-8)


def test_wilson_keeps_its_promise():
    """Exactly, by the probability of each count; its mean over shares is what it promises."""
    ones = np.arange(101)
    ends = np.array([wilson_interval(int(k), 100, 0.95) for k in ones])
    shares = np.linspace(0.02, 0.98, 97)
    held = [binom.pmf(ones, 100, p)[(ends[:, 0] <= p) & (p <= ends[:, 1])].sum() for p in shares]
    assert 0.945 < np.mean(held) < 0.96
    assert min(held) > 0.9


def mean(means):
    return means[..., 0]


def bootstrap_interval(statistics, function, confidence, resamples=2000):
    (interval,) = bootstrap_intervals(statistics, [function], confidence, resamples)
    return interval


def test_the_bootstrap_of_a_mean_is_students_interval():
    for count in (20, 2000):
        values = np.random.default_rng(2).normal(0.1, 1, (count, 1))
        half = t.ppf(0.975, count - 1) * values.std(ddof=1) / math.sqrt(count)
        low, high = bootstrap_interval(values, mean, 0.95)
        assert low == pytest.approx(values.mean() - half, abs=0.12 * half)
        assert high == pytest.approx(values.mean() + half, abs=0.12 * half)
        assert bootstrap_interval(values, mean, 0.95) == (low, high)


def test_resamples_are_of_whole_samples():
    """A sparse matrix, drawn in several goes, and a dense one give the same means."""
    rng = np.random.default_rng(3)
    marks = np.eye(40)[rng.integers(0, 40, 900)]
    sparse = resampled_means(marks, 6000)
    dense = resampled_means(np.concatenate([marks, np.ones((900, 40))], axis=1), 6000)
    np.testing.assert_allclose(sparse, dense[:, :40], rtol=0, atol=1e-12)
    np.testing.assert_allclose(sparse.sum(axis=1), 1, rtol=0, atol=1e-12)
    share = marks[:, 0].mean()
    assert sparse[:, 0].std() == pytest.approx(math.sqrt(share * (1 - share) / 900), rel=0.05)


def test_groups_of_samples_vary_as_samples_do():
    values = np.random.default_rng(6).lognormal(0, 1, (30_700, 1))
    means = resampled_means(values, 2000)
    assert means.std() == pytest.approx(values.std() / math.sqrt(len(values)), rel=0.08)
    assert means.mean() == pytest.approx(values.mean(), abs=0.1 * means.std())


def test_one_sample_has_no_interval():
    assert bootstrap_interval(np.array([[2.0]]), mean, 0.95) == (2.0, 2.0)


def coverage(draw, function, truth, sets=300):
    """The share of data sets whose interval holds the truth."""
    rng = np.random.default_rng(4)
    ends = [bootstrap_interval(draw(rng), function, 0.95, 400) for _ in range(sets)]
    return np.mean([low <= truth <= high for low, high in ends])


def test_the_bootstrap_keeps_its_promise_for_skewed_errors():
    """The paired difference of two mean errors; errors are lognormal, as those of networks are."""

    def draw(rng):
        error = rng.lognormal(0, 1, 200)
        return np.stack([error * rng.lognormal(0.1, 0.3, 200), error], axis=1)

    truth = math.exp(0.5) * (math.exp(0.145) - 1)
    held = coverage(draw, lambda means: means[..., 0] - means[..., 1], truth)
    assert 0.91 <= held <= 0.98


def test_the_bootstrap_keeps_its_promise_for_a_ratio():
    def draw(rng):
        length = rng.integers(1, 20, 100).astype(float)
        return np.stack([rng.binomial(length.astype(int), 0.2), length], axis=1).astype(float)

    assert 0.91 <= coverage(draw, lambda means: means[..., 0] / means[..., 1], 0.2) <= 0.98


def test_two_thousand_resamples_of_a_thousand_classes_take_no_time():
    marks = np.eye(1000)[np.random.default_rng(5).integers(0, 1000, 5000)]
    begin = time.process_time()
    bootstrap_interval(np.concatenate([marks, marks, marks], axis=1), mean, 0.95)
    assert time.process_time() - begin < 10
