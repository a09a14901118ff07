"""Confidence intervals: of shares, of differences of shares, and of any metric by a bootstrap."""

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.special import stdtrit  # that of scipy.stats takes half a second to import

Floats = npt.NDArray[np.float64]
Aggregate = Callable[[Floats], Floats]

RESAMPLES = 2000

_BISECTIONS = 60
_GROUPS = 1000
_AT_ONCE = 1 << 22  # numbers drawn at once: 32 MiB
_SPARSE = (
    0.1  # below this share of numbers that are not 0, products with a sparse matrix are faster
)

_NORMAL = NormalDist()


def wilson_interval(ones: int, count: int, confidence: float) -> tuple[float, float]:
    """Confidence interval of a share, also near 0 and 1.

    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference,
    Journal of the American Statistical Association 22 (1927), 209-212.
    """
    z = _NORMAL.inv_cdf(0.5 + confidence / 2)
    share = ones / count
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(share * (1 - share) / count + (z / count / 2) ** 2)
    return max(0.0, middle - half), min(1.0, middle + half)


def tango_interval(
    only_first: int, only_second: int, count: int, confidence: float
) -> tuple[float, float]:
    """Confidence interval of the difference of two paired proportions.

    Holds its level also where hardly any pair differs, where a bootstrap collapses to a point.
    Source: T. Tango, Equivalence test and confidence interval for the difference in proportions for
    the paired-sample design, Statistics in Medicine 17 (1998), 891-908.

    Args:
        only_first: pairs in which the first is 1 and the second 0.
        only_second: pairs in which it is the other way around.
        count: all pairs.
        confidence: such as 0.95.

    Returns:
        Both ends of the interval of (only_first - only_second) / count.
    """
    z = _NORMAL.inv_cdf(0.5 + confidence / 2)

    def score(delta: float) -> float:
        b = -only_first - only_second + (2 * count - only_first + only_second) * delta
        c = -only_second * delta * (1 - delta)
        q = (math.sqrt(max(b * b - 8 * count * c, 0.0)) - b) / (4 * count)
        variance = count * (2 * q + delta * (1 - delta))
        gap = only_first - only_second - count * delta
        return gap / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, gap)

    estimate = (only_first - only_second) / count
    return (
        _where_falls(score, z, -1.0, estimate),
        _where_falls(score, -z, estimate, 1.0),
    )


def bootstrap_intervals(
    statistics: Floats,
    functions: Sequence[Aggregate],
    confidence: float,
    resamples: int = RESAMPLES,
) -> list[tuple[float, float]]:
    """Confidence intervals of functions of the means of samples' statistics.

    Percentiles of resamples of whole samples, drawn with a fixed seed, a little further out for
    small sets, so that the interval of a mean is as wide as Student's. Where what two models make
    of a sample is in one row, it is the interval of a paired comparison.
    Source: T. Hesterberg, What teachers should know about the bootstrap, The American Statistician
    69 (2015), 371-386: the expanded percentile interval.

    Args:
        statistics: [samples, K], what is known of each sample.
        functions: each takes means, [..., K], and gives what an interval is of, [...].
        confidence: such as 0.95.
        resamples: how many are drawn.
    """
    count = len(statistics)
    means = resampled_means(statistics, resamples if count > 1 else 1)
    student = float(stdtrit(max(1, count - 1), 0.5 + confidence / 2))
    beyond = _NORMAL.cdf(-student * math.sqrt(count / max(1, count - 1)))
    intervals = []
    for function in functions:
        low, high = np.quantile(function(means), [beyond, 1 - beyond])
        intervals.append((float(low), float(high)))
    return intervals


def resampled_means(statistics: Floats, resamples: int) -> Floats:
    """The means, [resamples, K], of as many sets drawn from the samples with replacement.

    Beyond a thousand samples, groups of samples that were put together at random are drawn in
    their place: the sums of groups vary as much as those of samples do, and cost as much less as
    there are fewer.
    """
    rng = np.random.default_rng(0)
    sums, sizes = _grouped(statistics, rng)
    count = len(sums)
    dense = np.count_nonzero(sums) > _SPARSE * sums.size
    columns = sums if dense else sparse.csr_array(sums)
    means = []
    at_once = max(1, _AT_ONCE // count)
    for begin in range(0, resamples, at_once):
        rows = min(at_once, resamples - begin)
        drawn = rng.integers(0, count, (rows, count)) + np.arange(rows)[:, None] * count
        often = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        weights = often.astype(np.float64)
        means.append(np.asarray(weights @ columns) / (weights @ sizes)[:, None])
    return np.concatenate(means)


def _grouped(statistics: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Sums of statistics over groups of samples, and the groups' sizes."""
    count = len(statistics)
    if count <= _GROUPS:
        return statistics, np.ones(count)
    shuffled = statistics[rng.permutation(count)]
    starts = np.arange(_GROUPS) * count // _GROUPS
    return np.add.reduceat(shuffled, starts, axis=0), np.diff([*starts, count]).astype(np.float64)


def _where_falls(
    function: Callable[[float], float], level: float, low: float, high: float
) -> float:
    """Where a falling function passes a level, by bisection."""
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if function(middle) > level:
            low = middle
        else:
            high = middle
    return (low + high) / 2
