"""Latency with an honest interval: contestants take turns, and only a clear result counts."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np
import numpy.typing as npt
from budgetc_specs.budgets import LatencyBudget, Relative
from scipy.special import stdtrit

Samples = npt.NDArray[np.int64]
Timer = Callable[[int], Samples]
"""Runs so many inferences and returns the nanoseconds each one took."""

Statistic = Literal["p50", "p90", "p99", "mean"]
Decision = Literal["PASS", "FAIL", "UNDECIDED"]

OURS = "ours"

_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_RESAMPLES = 1000
_LEAST_ROUNDS = 6
_ROUNDS = 10
_LOOKS = 4
_CONFIDENCE = 0.95
_WARM_UP = 0.2
# A tail needs enough of it to be seen: ten samples beyond the quantile, in a look.
_LEAST_RUNS = {"p50": 20, "mean": 20, "p90": 100, "p99": 1000}
_SKETCH = 1000
_CHUNK = 1 << 22


@dataclass(frozen=True)
class Interval:
    """A confidence interval."""

    low: float
    high: float


@dataclass(frozen=True)
class Timing:
    """What was measured of one contestant, in seconds."""

    name: str
    runs: int
    p50: float
    p90: float
    p99: float
    mean: float
    least: float

    def statistic(self, name: Statistic) -> float:
        """One of the figures by its name."""
        return {"p50": self.p50, "p90": self.p90, "p99": self.p99, "mean": self.mean}[name]


@dataclass(frozen=True)
class Latency:
    """The outcome of a measurement against a budget.

    Attributes:
        ours: our figures.
        peers: those of each peer, measured in turns with ours.
        statistic: what the budget is about.
        interval: confidence interval of our statistic, in seconds.
        ratio: ours over the peer's in the same rounds, where the budget is relative, else None.
        ratio_interval: its confidence interval.
        decision: whether the interval clears the budget; UNDECIDED also where there is none.
        looks: how often it was measured before the interval cleared the budget, or we gave up.
    """

    ours: Timing
    peers: Mapping[str, Timing]
    statistic: Statistic
    interval: Interval
    ratio: float | None
    ratio_interval: Interval | None
    decision: Decision
    looks: int


def measure_latency(
    ours: Timer,
    peers: Mapping[str, Timer],
    budget: LatencyBudget | None,
    limits: Sequence[float] = (),
    *,
    rounds: int = _ROUNDS,
    looks: int = _LOOKS,
    seed: int = 0,
) -> Latency:
    """Measure until the interval clears the budget, or `looks` times.

    Each look doubles what was measured. Looking again after an undecided result is one more chance
    of a wrong decision, so each look takes the confidence level that keeps all of them together at
    95 % (Bonferroni).

    Args:
        ours: runs the shipped binary.
        peers: run what it is compared with; a relative budget's peer must be among them.
        budget: None decides nothing.
        limits: seconds that the interval has to clear as well; without any, and without a budget, one look will do.
        rounds: turns that each contestant takes in a look.
        looks: looks at most.
        seed: of the order of the turns and of the resampling.
    """
    statistic: Statistic = budget.statistic if budget else "p50"
    runs = max(budget.runs if budget else 100, _LEAST_RUNS[statistic])
    relative = budget.max if budget and isinstance(budget.max, Relative) else None
    if relative and relative.peer not in peers:
        raise AssertionError(f"BUG: the peer {relative.peer} is not measured")
    rounds = max(rounds, _LEAST_ROUNDS)
    contestants = {OURS: ours, **peers}
    confidence = 1 - (1 - _CONFIDENCE) / looks
    taken = {name: np.empty((0, max(1, -(-runs // rounds))), np.int64) for name in contestants}
    for look in range(1, looks + 1):
        more = alternate(
            contestants,
            rounds if look == 1 else len(taken[OURS]),
            taken[OURS].shape[1],
            seed + look,
        )
        taken = {name: np.concatenate([taken[name], more[name]]) for name in contestants}
        interval = statistic_interval(taken[OURS], statistic, confidence)
        ratio_interval = None
        decision: Decision = "UNDECIDED"
        if relative:
            ratio_interval = ratio_of_intervals(
                taken[OURS], taken[relative.peer], statistic, confidence
            )
            decision = decide(ratio_interval, relative.ratio)
        elif budget and not isinstance(budget.max, Relative):
            decision = decide(interval, budget.max)
        decided = budget is None or decision != "UNDECIDED"
        if decided and all(decide(interval, limit) != "UNDECIDED" for limit in limits):
            break
    timings = {name: summarise(name, samples) for name, samples in taken.items()}
    mine = timings.pop(OURS)
    return Latency(
        ours=mine,
        peers=timings,
        statistic=statistic,
        interval=interval,
        ratio=mine.statistic(statistic) / timings[relative.peer].statistic(statistic)
        if relative
        else None,
        ratio_interval=ratio_interval,
        decision=decision,
        looks=look,
    )


def alternate(
    contestants: Mapping[str, Timer], rounds: int, runs: int, seed: int = 0
) -> dict[str, Samples]:
    """Let contestants take turns, in an order that changes from round to round.

    What disturbs a machine comes and goes within seconds; taking turns lets all of them suffer
    alike. Each turn starts with runs that do not count, because the contestant before has filled
    the caches with its own data.

    Returns:
        Nanoseconds by name, of shape (rounds, runs).
    """
    rng = np.random.default_rng(seed)
    names = list(contestants)
    taken = {name: np.empty((rounds, runs), np.int64) for name in names}
    warm_up = max(1, int(runs * _WARM_UP))
    for turn in range(rounds):
        for index in rng.permutation(len(names)):
            name = names[index]
            taken[name][turn] = contestants[name](warm_up + runs)[warm_up:]
    return taken


def decide(interval: Interval, limit: float) -> Decision:
    """PASS where all of the interval is within the limit, FAIL where none is, else UNDECIDED."""
    if interval.high <= limit:
        return "PASS"
    return "FAIL" if interval.low > limit else "UNDECIDED"


def statistic_interval(samples: Samples, statistic: Statistic, confidence: float) -> Interval:
    """Confidence interval of a statistic of latencies, in seconds.

    Inferences of one round resemble each other more than those of another, so whole rounds are
    resampled: the cluster bootstrap (C. Field, A. Welsh, Bootstrapping clustered data, J. R.
    Statist. Soc. B 69 (2007), 369-390).

    Args:
        samples: nanoseconds, of shape (rounds, runs).
        statistic: which.
        confidence: such as 0.95.
    """
    return _percentiles(_resampled(samples, statistic) * 1e-9, len(samples), confidence)


def ratio_of_intervals(
    ours: Samples, peer: Samples, statistic: Statistic, confidence: float
) -> Interval:
    """Confidence interval of the ratio of two contestants; the same rounds are drawn of both."""
    ratios = _resampled(ours, statistic) / _resampled(peer, statistic)
    return _percentiles(ratios, len(ours), confidence)


def summarise(name: str, samples: Samples) -> Timing:
    """All figures of one contestant."""
    seconds = samples.ravel() * 1e-9
    p50, p90, p99 = (float(np.quantile(seconds, q)) for q in _QUANTILES.values())
    return Timing(name, seconds.size, p50, p90, p99, float(seconds.mean()), float(seconds.min()))


def _resampled(samples: Samples, statistic: Statistic) -> npt.NDArray[np.float64]:
    """The statistic, in nanoseconds, of resampled rounds; equal numbers of rounds draw alike."""
    rounds, runs = samples.shape
    drawn = np.random.default_rng(0).integers(0, rounds, (_RESAMPLES, rounds))
    if statistic == "mean":
        return np.asarray(samples.mean(axis=1)[drawn].mean(axis=1), np.float64)
    values = samples.astype(np.float64)
    if runs > _SKETCH:  # the ranks of a long round say all there is to say of its quantiles
        values = np.quantile(values, (np.arange(_SKETCH) + 0.5) / _SKETCH, axis=1).T
    at_once = max(1, _CHUNK // values.size)
    parts = [
        np.quantile(
            values[drawn[i : i + at_once]].reshape(-1, values.size), _QUANTILES[statistic], axis=1
        )
        for i in range(0, _RESAMPLES, at_once)
    ]
    return np.concatenate(parts)


def _percentiles(values: npt.NDArray[np.float64], rounds: int, confidence: float) -> Interval:
    """The interval between two percentiles of resampled values, expanded for few rounds.

    Plain percentiles are as much too narrow as a normal interval is against Student's; T. Hesterberg,
    What teachers should know about the bootstrap, The American Statistician 69 (2015), section 3.2,
    moves them outwards accordingly.
    """
    student = stdtrit(rounds - 1, (1 - confidence) / 2) * math.sqrt(rounds / (rounds - 1))
    tail = NormalDist().cdf(student)
    low, high = np.quantile(values, [tail, 1 - tail])
    return Interval(float(low), float(high))
