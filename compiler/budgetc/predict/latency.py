"""How long calls take: measured ones as they were measured, the others by what was learnt of their family.

log(seconds / roofline) is learnt for each family and width as a Gaussian process over log(work) and log(bytes):

    cov = level + slope * (x . x') + bend * exp(-|x - x'|^2 / 2)  + noise where it is one and the same measurement

so that near measured kernels it follows them, between them a straight line, and far from all of them the roofline
times what is usual, with a spread that grows on the way. Spreads are widened by what leaving each measurement out
shows them to be too small by. Source: Rasmussen and Williams 2006, chapters 2 and 5.
"""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from budgetc_specs.capability import Capability
from budgetc_targets.contract import Point

from budgetc.lower.lowered import Layer
from budgetc.predict.learnt import USUAL
from budgetc.predict.prediction import Basis, Entry, Expected
from budgetc.predict.roofline import CALL, roofline
from budgetc.predict.timings import Timing

_MIDDLE = (12.0, 10.0)
"""Features of a kernel of middling size, where the straight line has no lever."""

Floats = npt.NDArray[np.float64]
Group = tuple[str, int, bool]

LEVEL, SLOPE, BEND, NOISE = 0.6, 0.15, 0.3, 0.06
"""Standard deviations of the logarithm, or for the slope, of its change when work or bytes grow e-fold."""

STEADY = 0.03
"""Least spread of a measured kernel: what one build differs from the next by."""

TOGETHER = 0.05
"""Spread that all measured kernels share: the machine is faster on one day than on another."""

CERTAINTY = 1.645
"""Standard deviations on each side that hold nine tenths of a normal distribution."""

LEAST_LEFT_OUT = 5
"""Measurements from which on leaving one out says something about spreads."""


def group_of(layer: Layer | Timing) -> Group:
    """Kernels that have their efficiency in common: kind, bits of what they compute with, whether threads share."""
    return layer.operator, layer.bits if layer.bits in (8, 16) else 32, layer.parallel


def features(layers: Sequence[Layer | Timing]) -> Floats:
    """Where kernels lie to one another, of shape (layers, 2); what multiplies nothing works by moving."""
    rows = [(math.log(each.work or each.moved or 1), math.log(each.moved or 1)) for each in layers]
    return np.array(rows, np.float64).reshape(-1, 2) - _MIDDLE


def usual(layer: Layer | Timing) -> float:
    """The logarithm of what a kernel of the family takes over its roofline, from the table that ships."""
    operator, bits, _ = group_of(layer)
    return math.log(USUAL.get(f"{operator} {bits}", USUAL["any"]))


@dataclass(frozen=True)
class Learnt:
    """What the measurements of one group say.

    Attributes:
        at: features of the measured kernels.
        residual: log(seconds / roofline) of each beyond what is usual.
        wider: factor by which spreads are too small.
    """

    at: Floats
    residual: Floats
    wider: float

    @staticmethod
    def from_timings(timings: Sequence[Timing], capability: Capability) -> "Learnt":
        """Of the kernels of one group, each once."""
        at = features(timings)
        excess = [math.log(t.seconds / roofline(t, capability)) - usual(t) for t in timings]
        residual = np.array(excess, np.float64)
        wider = 1.0
        if len(timings) >= LEAST_LEFT_OUT:
            inverse = np.linalg.inv(_covariance(at, at) + NOISE**2 * np.eye(len(at)))
            errors = (inverse @ residual) / np.diag(inverse)  # each predicted by all the others
            standard = errors * np.sqrt(np.diag(inverse))
            wider = max(1.0, float(np.sqrt(np.mean(standard**2))))
        return Learnt(at, residual, wider)

    def at_points(self, points: Floats) -> tuple[Floats, Floats]:
        """Expected residuals at features, and their covariance."""
        own = _covariance(points, points) + NOISE**2 * np.eye(len(points))
        if not len(self.at):
            return np.zeros(len(points)), own
        known = _covariance(self.at, self.at) + NOISE**2 * np.eye(len(self.at))
        across = _covariance(points, self.at)
        solved = np.linalg.solve(known, np.column_stack([self.residual, across.T]))
        mean = across @ solved[:, 0]
        covariance = own - across @ solved[:, 1:]
        return mean, covariance * self.wider**2


def _covariance(one: Floats, other: Floats) -> Floats:
    distance = ((one[:, None, :] - other[None, :, :]) ** 2).sum(axis=-1)
    line = SLOPE**2 * (one @ other.T)
    return np.asarray(LEVEL**2 + line + BEND**2 * np.exp(-distance / 2))


class Clockwork:
    """Tells what calls take.

    Args:
        timings: measured on this machine with this sheet; none for code that does not run here.
        capability: the sheet.
    """

    def __init__(self, timings: Iterable[Timing], capability: Capability) -> None:
        self._capability = capability
        same: dict[tuple[str, Point], list[Timing]] = {}
        for timing in timings:
            same.setdefault(timing.key, []).append(timing)
        self._measured = {k: statistics.median(t.seconds for t in v) for k, v in same.items()}
        self._scatter = {k: _scatter([t.seconds for t in v]) for k, v in same.items()}
        grouped: dict[Group, list[Timing]] = {}
        for key, found in same.items():
            one = Timing(**{**vars(found[-1]), "seconds": self._measured[key]})
            grouped.setdefault(group_of(one), []).append(one)
        self._learnt = {g: Learnt.from_timings(t, capability) for g, t in grouped.items()}

    def expect(
        self, layers: Sequence[Layer]
    ) -> tuple[tuple[Expected, ...], float, tuple[float, float]]:
        """Of calls one after another: each of them, seconds of all together, and where these lie."""
        seconds, variance = np.zeros(len(layers)), np.zeros((len(layers), len(layers)))
        bases: list[Basis] = ["measured"] * len(layers)
        unknown: dict[Group, list[int]] = {}
        known = []
        for i, layer in enumerate(layers):
            key = (layer.form, layer.point)
            if key in self._measured:
                seconds[i] = self._measured[key]
                variance[i, i] = self._scatter[key] ** 2
                known.append(i)
            else:
                unknown.setdefault(group_of(layer), []).append(i)
        variance[np.ix_(known, known)] += TOGETHER**2
        for group, members in unknown.items():
            chosen = [layers[i] for i in members]
            learnt = self._learnt.get(group, Learnt(np.zeros((0, 2)), np.zeros(0), 1.0))
            residual, covariance = learnt.at_points(features(chosen))
            for i, layer, extra in zip(members, chosen, residual, strict=True):
                seconds[i] = roofline(layer, self._capability) * math.exp(usual(layer) + extra)
                bases[i] = "learnt" if group in self._learnt else "roofline"
            variance[np.ix_(members, members)] = covariance
        total = float(seconds.sum()) + CALL
        shares = seconds / total
        spread = math.sqrt(max(0.0, float(shares @ variance @ shares)))
        calls = tuple(
            Expected(layer, float(s), math.sqrt(v), basis)
            for layer, s, v, basis in zip(layers, seconds, np.diag(variance), bases, strict=True)
        )
        factor = math.exp(CERTAINTY * spread)
        return calls, total, (total / factor, total * factor)

    def again(self, entry: Entry) -> Entry:
        """An entry point as it is expected now, whatever was known when it was predicted."""
        layers, latency, interval = self.expect([each.layer for each in entry.layers])
        return replace(entry, latency=latency, interval=interval, layers=layers)


def _scatter(seconds: Sequence[float]) -> float:
    """Spread of repeated measurements; of few of them it says little."""
    if len(seconds) < 3:
        return 2 * STEADY
    return max(STEADY, float(np.std(np.log(seconds))))
