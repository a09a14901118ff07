"""Quality of the binary against the float model on the same samples, with intervals, slice by slice."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from budgetc.measure.intervals import (
    Aggregate,
    Floats,
    bootstrap_intervals,
    tango_interval,
    wilson_interval,
)
from budgetc.measure.metrics import Metric, Scores

FEWEST = 20
"""Samples that a slice needs to be judged; of fewer, one answer more or less is 5 pp and beyond."""

FEW_DIFFERENCES = 5
"""Below so many samples that differ between two models, a bootstrap knows too little of how they differ."""


@dataclass(frozen=True)
class Slice:
    """The quality of one group of samples; fields as of `Quality`.

    Its interval holds together with those of all other slices: of twenty slices, each has 99.75 %.
    """

    name: str
    value: float
    reference: float
    drop: float
    low: float
    high: float
    samples: int
    few_differ: int | None = None

    @property
    def judged(self) -> bool:
        """Whether it has enough samples to be judged."""
        return self.samples >= FEWEST


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
        value_low: lower end of the value's own interval; None where it was not asked for.
        value_high: its upper end.
        few_differ: how many samples the models differ in, where these are too few for the drop's
            interval to be relied on; None where they are enough.
        slices: the groups of samples, the one that loses most first, those not judged last.
    """

    metric: str
    value: float
    reference: float
    drop: float
    low: float
    high: float
    samples: int
    higher_is_better: bool = True
    value_low: float | None = None
    value_high: float | None = None
    few_differ: int | None = None
    slices: tuple[Slice, ...] = ()

    @property
    def worst_slice(self) -> Slice | None:
        """The slice that loses most of those that have enough samples."""
        return next((s for s in self.slices if s.judged), None)


def compare(
    metric: Metric,
    ours: Scores,
    reference: Scores,
    *,
    slices: npt.NDArray[np.generic] | None = None,
    confidence: float = 0.95,
) -> Quality:
    """Compare what two models make of the same samples, in the same order.

    The samples are the same, so the interval is that of a paired difference: far narrower than the
    two values' own intervals. Scores that are all 0 or 1 get Tango's score interval, others a
    bootstrap over samples.

    Args:
        metric: what made the scores of both models.
        ours: of the binary, one row for each sample.
        reference: of the float model.
        slices: which slice each sample belongs to, where there are any.
        confidence: of the intervals; of slices, that all of their intervals hold at once.
    """
    value, base, drop = _drop(metric, ours, reference)
    (low, high), (value_low, value_high) = _intervals(metric, ours, reference, confidence)
    return Quality(
        metric=metric.name,
        value=value,
        reference=base,
        drop=drop,
        low=low,
        high=high,
        samples=len(ours),
        higher_is_better=metric.higher_is_better,
        value_low=value_low,
        value_high=value_high,
        few_differ=_few_differ(metric, ours, reference),
        slices=() if slices is None else _slices(metric, ours, reference, slices, confidence),
    )


def _slices(
    metric: Metric,
    ours: Scores,
    reference: Scores,
    slices: npt.NDArray[np.generic],
    confidence: float,
) -> tuple[Slice, ...]:
    names, members = np.unique(slices, return_inverse=True)
    each = 1 - (1 - confidence) / len(names)  # Bonferroni: the worst is picked out of all
    found = []
    for index, name in enumerate(names.tolist()):
        mine, theirs = ours[members == index], reference[members == index]
        value, base, drop = _drop(metric, mine, theirs)
        (low, high), _ = _intervals(metric, mine, theirs, each)
        few = _few_differ(metric, mine, theirs)
        found.append(Slice(str(name), value, base, drop, low, high, len(mine), few))
    return tuple(sorted(found, key=lambda s: (not s.judged, -s.drop)))


def _drop(metric: Metric, ours: Scores, reference: Scores) -> tuple[float, float, float]:
    """Both values, and by how much ours is worse."""
    value, base = metric.value(ours), metric.value(reference)
    return value, base, base - value if metric.higher_is_better else value - base


def _intervals(
    metric: Metric, ours: Scores, reference: Scores, confidence: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """The intervals of the drop and of our value."""
    sign = 1.0 if metric.higher_is_better else -1.0
    if _binary(metric, ours, reference):
        worse = sign * (reference - ours)
        lost, won = int((worse > 0).sum()), int((worse < 0).sum())
        return (
            tango_interval(lost, won, len(ours), confidence),
            wilson_interval(int(ours.sum()), len(ours), confidence),
        )
    rows = np.concatenate([_rows(ours), _rows(reference)], axis=1)
    width = rows.shape[1] // 2
    aggregate: Aggregate = metric.aggregate or (lambda means: means[..., 0])

    def value(means: Floats) -> Floats:
        return aggregate(means[..., :width])

    def drop(means: Floats) -> Floats:
        return sign * (aggregate(means[..., width:]) - value(means))

    of_drop, of_value = bootstrap_intervals(rows, (drop, value), confidence)
    return of_drop, of_value


def _few_differ(metric: Metric, ours: Scores, reference: Scores) -> int | None:
    """How many samples differ, where a bootstrap knows too little of how they do."""
    if _binary(metric, ours, reference):
        return None
    differ = int((_rows(ours) != _rows(reference)).any(axis=1).sum())
    return differ if differ < FEW_DIFFERENCES else None


def _rows(scores: Scores) -> Scores:
    """As [samples, K]."""
    return scores.reshape(len(scores), -1)


def _binary(metric: Metric, *scores: Scores) -> bool:
    return metric.aggregate is None and all(bool(np.isin(s, (0.0, 1.0)).all()) for s in scores)
