"""Quality of the binary against the float model on the same samples, with an interval."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Scores = npt.NDArray[np.float64]

_RESAMPLES = 2000
_BISECTIONS = 60


@dataclass(frozen=True)
class Quality:
    """A metric of two models on the same samples.

    Attributes:
        metric: its name.
        value: of the binary.
        reference: of the float model.
        drop: by how much the binary is worse, in the metric's unit; negative where it is better.
        low: lower end of the drop's confidence interval.
        high: its upper end.
        samples: how many samples were judged.
        higher_is_better: whether more of the metric is better.
    """

    metric: str
    value: float
    reference: float
    drop: float
    low: float
    high: float
    samples: int
    higher_is_better: bool = True


def compare_scores(
    metric: str,
    ours: Scores,
    reference: Scores,
    *,
    higher_is_better: bool = True,
    confidence: float = 0.95,
) -> Quality:
    """Compare two models' scores on the same samples, in the same order.

    The samples are the same, so the interval is that of a paired difference: far narrower than the
    two values' own intervals. Scores that are all 0 or 1 get Tango's score interval, other scores a
    bootstrap.
    """
    worse = reference - ours if higher_is_better else ours - reference
    if _binary(ours) and _binary(reference):
        low, high = tango_interval(
            int((worse > 0).sum()), int((worse < 0).sum()), len(worse), confidence
        )
    else:
        low, high = bootstrap_interval(worse, confidence)
    return Quality(
        metric=metric,
        value=float(ours.mean()),
        reference=float(reference.mean()),
        drop=float(worse.mean()),
        low=low,
        high=high,
        samples=len(ours),
        higher_is_better=higher_is_better,
    )


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
    z = NormalDist().inv_cdf(0.5 + confidence / 2)

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


def bootstrap_interval(differences: Scores, confidence: float) -> tuple[float, float]:
    """Percentile interval of the mean of paired differences, from 2000 resamples with a fixed seed.

    Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    rng = np.random.default_rng(0)
    means = np.array(
        [
            differences[rng.integers(0, len(differences), len(differences))].mean()
            for _ in range(_RESAMPLES)
        ]
    )
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


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


def _binary(scores: Scores) -> bool:
    return bool(np.isin(scores, (0.0, 1.0)).all())
