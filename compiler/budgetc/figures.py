"""What is expected of a candidate before it is built, and how far that is from keeping the budgets."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from budgetc_specs.budgets import Budgets, Relative
from budgetc_specs.units import format_bytes, format_points, format_seconds

from budgetc.regression import Regression, binding_regressions
from budgetc.verdict import BudgetName

_LEAST_DROP = 0.001
"""A budget that allows no drop at all is passed by parts of a tenth of a point."""

_LOSS_DIGITS = 6
_TINY = 1e-12

Goal = Literal["quality", "latency", "size", "memory"]

GOALS: tuple[Goal, ...] = ("quality", "latency", "size", "memory")
"""All of them, what usually counts most first."""


@dataclass(frozen=True)
class Figures:
    """The figures of one candidate, expected or measured.

    Attributes:
        size: bytes to deploy.
        memory: bytes of RAM of one inference.
        latency: seconds of one inference; None where nothing is known of it.
        fastest: lower end of the interval that the latency is expected in.
        slowest: its upper end.
        drop: what the metric falls by against the float model on the validation data, as a fraction; None where there
            are none.
        least_drop: lower end of the drop's confidence interval.
        greatest_drop: its upper end.
        value: the metric itself there.
        greatest_value: what it may be by that interval.
        error: noise of the outputs over their signal; ranks candidates where the metric does not move or there is none.
        compact: whether the library is built to be small first.
        learns: whether candidates may become better than the model, so that a gain counts.
        surprise: of those that learn, what they lose at the labels of the validation data, in nats; None without any.
            It tells apart what gives equally many right answers.
    """

    size: int
    memory: int
    latency: float | None = None
    fastest: float | None = None
    slowest: float | None = None
    drop: float | None = None
    least_drop: float | None = None
    greatest_drop: float | None = None
    value: float | None = None
    greatest_value: float | None = None
    error: float = 0.0
    compact: bool = False
    learns: bool = False
    surprise: float | None = None

    def scaled(self, factor: float) -> "Figures":
        """The same with latencies that turn out `factor` times as long as was expected."""

        def times(seconds: float | None) -> float | None:
            return None if seconds is None else seconds * factor

        return replace(
            self,
            latency=times(self.latency),
            fastest=times(self.fastest),
            slowest=times(self.slowest),
        )

    @property
    def loss(self) -> float:
        """What quality costs: the drop, or the noise where there is no metric. Where nothing learns, a gain is no loss.

        Nor is what rounding makes of a metric that is no count: a millionth. What learns is judged by its surprise at
        labels, where there are any: many trainings are compared, and the best count of some hundred is one by chance.
        """
        if self.surprise is not None:
            return self.surprise
        if self.drop is None:
            return self.error
        return round(self.drop if self.learns else max(self.drop, 0.0), _LOSS_DIGITS)

    def goal(self, goal: Goal) -> float:
        """What is to be small for a goal; 0 for a latency of which nothing is known."""
        if goal == "quality":
            return self.loss
        if goal == "latency":
            return self.latency or 0.0
        return float(self.size if goal == "size" else self.memory)

    @property
    def text(self) -> str:
        """Size, latency and drop for people, as far as they are known."""
        parts = [format_bytes(self.size)]
        if self.latency is not None:
            parts.append(format_seconds(self.latency))
        if self.drop is not None:
            parts.append(f"drop {format_points(self.drop)}")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Figures":
        """The inverse of `to_json`."""
        return Figures(**value)


@dataclass(frozen=True)
class Limits:
    """The budgets as numbers that figures can be held against.

    Attributes:
        budgets: as the spec has them.
        peers: seconds of one inference of each peer, for relative budgets.
        regressions: what they allow against a baseline.
        foreseen: whether the validation data tell what the evaluation data will. Samples that the model was trained on
            flatter it, and what is held against it looks worse than it is; then only a measurement tells its quality.
    """

    budgets: Budgets
    peers: Mapping[str, float] = field(default_factory=dict)
    regressions: Sequence[Regression] = ()
    foreseen: bool = True

    @property
    def names(self) -> tuple[BudgetName, ...]:
        """The budgets that are set and bind, in the order of verdicts. What only warns does not bind."""
        quality = self.budgets.quality
        overall = quality and (quality.drop is not None or quality.min is not None)
        sliced = quality and quality.worst_slice is not None
        pairs: tuple[tuple[BudgetName, Any], ...] = (
            ("size", self.budgets.size),
            ("memory", self.budgets.memory),
            ("latency", self.budgets.latency),
            ("quality", quality if overall else None),
            ("worst_slice", quality if sliced else None),
        )
        names = [name for name, budget in pairs if budget and budget.level == "error"]
        return (*names, *(r.name for r in binding_regressions(self.regressions)))

    @property
    def unjudged(self) -> tuple[BudgetName, ...]:
        """Budgets that no candidate can keep, since nothing can be held against them here."""
        return tuple(r.name for r in self.regressions if r.why_not and r.level == "error")

    @property
    def seconds(self) -> float | None:
        """What an inference may take; None without a latency budget, or where its peer was not measured."""
        budget = self.budgets.latency
        if budget is None:
            return None
        if isinstance(budget.max, Relative):
            peer = self.peers.get(budget.max.peer)
            return None if peer is None else budget.max.ratio * peer
        return budget.max

    def excess(self, figures: Figures, *, hopeful: bool = False) -> dict[BudgetName, float]:
        """How far each binding budget is passed, as a part of it; negative within it.

        Args:
            figures: of a candidate. What is not known of it passes no budget.
            hopeful: hold the better end of intervals against budgets, not the middle.
        """
        found: dict[BudgetName, float] = {}
        for name in self.names:
            if name == "size" and self.budgets.size:
                found[name] = figures.size / self.budgets.size.max_bytes - 1
            elif name == "memory" and self.budgets.memory:
                found[name] = figures.memory / self.budgets.memory.max_bytes - 1
            elif name == "latency":
                seconds = figures.fastest if hopeful else figures.latency
                limit = self.seconds
                found[name] = 0.0 if seconds is None or limit is None else seconds / limit - 1
            elif name == "quality":
                found[name] = self._quality(figures, hopeful=hopeful)
            elif name == "worst_slice":  # what its slices lose is known of a library only
                found[name] = 0.0
        for regression in binding_regressions(self.regressions):
            known = self.foreseen or regression.figure != "quality"
            found[regression.name] = _grown(regression, figures, hopeful=hopeful) if known else 0.0
        return found

    def _quality(self, figures: Figures, *, hopeful: bool) -> float:
        budget = self.budgets.quality
        assert budget is not None
        if not self.foreseen:
            return 0.0
        drop = figures.least_drop if hopeful else figures.drop
        value = figures.greatest_value if hopeful else figures.value
        if budget.drop is not None and drop is not None:
            return (drop - budget.drop) / max(budget.drop, _LEAST_DROP)
        if budget.min is not None and value is not None:
            return (budget.min - value) / max(abs(budget.min), _LEAST_DROP)
        return 0.0


def _grown(regression: Regression, figures: Figures, *, hopeful: bool) -> float:
    """How far a candidate passes what a baseline allows, as a part of it."""
    if regression.figure == "quality":
        drop = figures.least_drop if hopeful else figures.drop
        if drop is None:
            return 0.0
        return (drop - regression.drop) / max(abs(regression.drop), _LEAST_DROP)
    latency = figures.fastest if hopeful else figures.latency
    found = {"size": figures.size, "memory": figures.memory, "latency": latency}
    reached = found[regression.figure]
    return 0.0 if reached is None else reached / max(regression.limit, _TINY) - 1


def rank(figures: Figures, objective: tuple[Goal, ...]) -> tuple[float, ...]:
    """What orders candidates that keep all budgets, the best first: the goals in turn, then all that is left."""
    goals = tuple(figures.goal(goal) for goal in objective)
    rest = tuple(figures.goal(goal) for goal in GOALS if goal not in objective)
    return (*goals, figures.error, *rest)
