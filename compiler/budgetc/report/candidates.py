"""Every candidate as a point of the chart and as a row of the table; the budgets as lines; the fronts."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from budgetc.report import figures
from budgetc.report.document import Target, Trial, Verdict

LONGEST_RECIPE = 300
"""Characters of a recipe, or of what came of it, that are shown."""

AXES: Mapping[str, tuple[str, str]] = {
    "size": ("size", "drop"),
    "latency": ("latency", "drop"),
    "size-latency": ("size", "latency"),
}
"""The charts: what goes to the right and what goes up. The last is for models without evaluation data."""


@dataclass(frozen=True)
class Figures:
    """What is known of a candidate, measured where it was built and predicted where not: bytes, seconds, a fraction."""

    size: float | None
    memory: float | None
    latency: float | None
    drop: float | None
    predicted: bool
    latency_interval: tuple[float | None, float | None] | None = None

    @property
    def text(self) -> str:
        """What is known, as people write it."""
        about = "about " if self.predicted else ""
        ends = figures.interval(self.latency_interval, "seconds")
        parts = [
            (self.size, "size", "bytes", ""),
            (self.memory, "memory", "bytes", ""),
            (self.latency, "latency", "seconds", f" ({ends})" if ends else ""),
            (self.drop, "quality drop", "fraction", ""),
        ]
        return ", ".join(
            f"{name} {about}{figures.amount(value, unit)}{more}"
            for value, name, unit, more in parts
            if value is not None
        )


@dataclass(frozen=True)
class Candidate:
    """One candidate.

    Attributes:
        number: its place among all, from 1.
        recipe: its text, cut where long.
        stage: `built`, `simulated`, or `refused` where it did not get that far.
        outcome: what became of it.
        tone: `pass` where it keeps every budget, or is expected to; `fail` where not; `none` where
            there is nothing to judge.
        shown: whether it is the one that the report is about.
        origin: where the search had it from.
        figures: of it.
        foreseen: what was expected of one that was built.
        why: why it is not the one.
    """

    number: int
    recipe: str
    stage: str
    outcome: str
    tone: str
    shown: bool
    origin: str
    figures: Figures
    foreseen: Figures | None
    why: str

    @property
    def texts(self) -> tuple[str, ...]:
        """What is said of it where somebody points at it, line by line."""
        stage = {"built": "built and measured", "simulated": "simulated, not built"}
        state = f"{stage.get(self.stage, 'not built')}: {self.outcome}"
        lines = [f"#{self.number} {self.recipe}", state, self.figures.text, self.why, self.origin]
        if self.foreseen is not None and self.foreseen.text:
            lines.insert(3, f"foreseen: {self.foreseen.text}")
        return tuple(figures.visible(line, 400) for line in lines if line)


@dataclass(frozen=True)
class Limits:
    """The budgets as they cross a chart: bytes, seconds, and a fraction of the metric.

    Attributes:
        latency_text: how the budget of time was written, where it is relative to a peer.
    """

    size: float | None = None
    latency: float | None = None
    drop: float | None = None
    latency_text: str = ""
    memory: float | None = None

    def allow(self, found: Figures) -> bool:
        """Whether what is known lies within what is known of the budgets."""
        pairs = (
            (found.size, self.size),
            (found.latency, self.latency),
            (found.drop, self.drop),
        )
        return all(v <= limit for v, limit in pairs if v is not None and limit is not None)

    def to_json(self) -> dict[str, Any]:
        """What a chart draws of them, whatever its axes are."""
        return asdict(self)


def candidates(target: Target, most: int) -> tuple[Candidate, ...]:
    """The candidates in the order of the search, at most so many: what was built goes before the rest."""
    shown, edges = target.shown_index, limits(target)
    found = [
        _candidate(number, trial, edges, shown=number == shown)
        for number, trial in enumerate(target.trials)
    ]
    if target.chosen is not None and shown is None:
        found.append(_candidate(len(found), target.chosen, edges, shown=True))
    rank = {"built": 0, "simulated": 1}
    best = sorted(found, key=lambda c: (not c.shown, rank.get(c.stage, 2), c.number))[:most]
    return tuple(sorted(best, key=lambda c: c.number))


def known_figures(trial: Trial) -> Figures:
    """What was measured of a trial, or else what is expected of it."""
    if measured := trial.measurement:
        latency = measured.latency.seconds.get("ours") if measured.latency else None
        return Figures(
            size=measured.size.get("bytes"),
            memory=measured.memory.get("bytes"),
            latency=None if measured.emulated else latency,
            drop=measured.quality.drop if measured.quality else None,
            predicted=False,
        )
    return expected_figures(trial) or Figures(None, None, None, None, predicted=True)


def expected_figures(trial: Trial) -> Figures | None:
    """What was expected of a trial before it was built, if anything was."""
    expected = trial.predicted
    if expected is None:
        return None
    return Figures(
        expected.size,
        expected.memory,
        expected.latency,
        expected.quality_drop,
        predicted=True,
        latency_interval=expected.latency_interval,
    )


def limits(target: Target) -> Limits:
    """The budgets of a target, from its verdicts or, where nothing was built, from the certificate."""
    verdicts: dict[tuple[str, str], Verdict] = {}
    for trial in (target.chosen, target.nearest, *target.trials):
        for verdict in trial.verdicts if trial else ():
            verdicts.setdefault((verdict.budget, verdict.unit), verdict)
    judged = {budget for budget, _ in verdicts}
    for point in target.proof.points if target.proof else ():
        if point.budget not in judged:
            found = Verdict(budget=point.budget, limit=point.limit, unit=point.unit)
            verdicts.setdefault((point.budget, point.unit), found)
    by_name = {budget: verdict for (budget, _), verdict in reversed(verdicts.items())}
    size, latency, memory = (by_name.get(name) for name in ("size", "latency", "memory"))
    drops = [_allowed_drop(v, target) for (name, _), v in verdicts.items() if name == "quality"]
    seconds, text = _seconds(latency, target)
    return Limits(
        size=size.limit if size else None,
        latency=seconds,
        drop=min((d for d in drops if d is not None), default=None),
        latency_text=text,
        memory=memory.limit if memory else None,
    )


def front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other one beats in both figures, less being better, from left to right."""
    kept: list[tuple[float, float]] = []
    for point in sorted(set(points)):
        if not kept or point[1] < kept[-1][1]:
            kept.append(point)
    return kept


def chart(target: Target, found: Sequence[Candidate]) -> dict[str, Any]:
    """What the chart of the candidates draws, as JSON values."""
    edges = limits(target)
    coordinates: list[tuple[Candidate, dict[str, float | None]]] = [
        (c, {"size": c.figures.size, "latency": c.figures.latency, "drop": c.figures.drop})
        for c in found
    ]
    axes = {
        name: _pairs([values for _, values in coordinates], *pair) for name, pair in AXES.items()
    }
    offered = [name for name in ("size", "latency") if axes[name]]
    offered = offered or [name for name in ("size-latency",) if axes[name]]
    built = [values for c, values in coordinates if c.stage == "built"]
    return {
        "axes": offered,
        "points": [
            {
                "n": c.number,
                **values,
                "stage": c.stage,
                "kept": c.tone == "pass",
                "shown": c.shown,
                "texts": list(c.texts),
            }
            for c, values in coordinates
            if any(value is not None for value in values.values())
        ],
        "fronts": {name: front(_pairs(built, *AXES[name])) for name in offered},
        "limits": edges.to_json(),
        "peers": _peers(target),
    }


def _pairs(
    values: Sequence[Mapping[str, float | None]], right: str, up: str
) -> list[tuple[float, float]]:
    return [
        (x, y) for each in values if (x := each[right]) is not None and (y := each[up]) is not None
    ]


def _peers(target: Target) -> list[dict[str, Any]]:
    """The float model in onnxruntime: no worse than itself. Of the int8 one no quality was measured."""
    name = "onnxruntime"
    seconds = _peer_seconds(target, name)
    size = target.baseline.model_bytes.get(name)
    if size is None and seconds is None:
        return []
    words = figures.peer_name(name)
    found = [f"model file {figures.size(size)}"] if size is not None else []
    found += [f"latency {figures.time(seconds)}"] if seconds is not None else []
    texts = [words, ", ".join(found), "the model that quality is compared with"]
    return [{"name": words, "size": size, "latency": seconds, "drop": 0.0, "texts": texts}]


def _candidate(number: int, trial: Trial, edges: Limits, *, shown: bool) -> Candidate:
    found = known_figures(trial)
    stage = "built" if trial.built else "refused"
    if not trial.built and (trial.stage == "simulated" or trial.predicted is not None):
        stage = "simulated"
    expected = stage == "simulated" and trial.outcome not in {"infeasible", "out of reach"}
    kept = trial.kept or (expected and edges.allow(found))
    return Candidate(
        number=number + 1,
        recipe=figures.visible(trial.recipe, LONGEST_RECIPE),
        stage=stage,
        outcome=trial.outcome or stage,
        tone="none" if stage == "refused" else "pass" if kept else "fail",
        shown=shown,
        origin=figures.visible(trial.origin, 120),
        figures=found,
        foreseen=expected_figures(trial) if trial.built else None,
        why=_why(trial),
    )


def _why(trial: Trial) -> str:
    if trial.reason:
        return figures.visible(trial.reason.partition("\n")[0], 300)
    missed = [v.budget.replace("_", " ") for v in trial.verdicts if not v.holds]
    return f"misses {figures.listed(missed)}" if missed else ""


def _seconds(verdict: Verdict | None, target: Target) -> tuple[float | None, str]:
    """A budget of time in seconds, and how it was written where it is relative to a peer."""
    if verdict is None or verdict.limit is None or not verdict.unit.startswith("x "):
        return (verdict.limit if verdict else None), ""
    peer = _peer_seconds(target, verdict.unit.removeprefix("x "))
    text = figures.limit_text(verdict.limit, verdict.unit)
    return (None if peer is None else verdict.limit * peer), text


def _peer_seconds(target: Target, peer: str) -> float | None:
    """The middle of what a peer took beside every candidate that was timed."""
    shown = [
        t.measurement.latency.seconds.get(peer)
        for t in (target.chosen, *target.trials)
        if t and t.measurement and t.measurement.latency and not t.measurement.emulated
    ]
    known = [seconds for seconds in shown if seconds is not None]
    return statistics.median(known) if known else None


def _allowed_drop(verdict: Verdict, target: Target) -> float | None:
    """What a budget of quality allows to lose, also where it names the least value that is left."""
    if verdict.limit is None or verdict.unit != "metric":
        return verdict.limit
    for trial in (target.chosen, *target.trials):
        quality = trial.measurement.quality if trial and trial.measurement else None
        if quality and quality.reference is not None:
            return quality.reference - verdict.limit
    return None
