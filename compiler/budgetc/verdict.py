"""The verdict on every budget: what was allowed, what was measured, and whether it holds."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from budgetc_specs.budgets import (
    Budgets,
    LatencyBudget,
    MemoryBudget,
    QualityBudget,
    Relative,
    SizeBudget,
)
from budgetc_specs.errors import SpecError, quoted
from budgetc_specs.fields import Level
from budgetc_specs.units import format_bytes, format_points, format_seconds

from budgetc.measure.doubt import ROUNDING, doubt_of_drop, doubt_of_value
from budgetc.measure.latency import Interval, Latency
from budgetc.measure.memory import Memory
from budgetc.measure.metrics import Metric
from budgetc.measure.quality import FEWEST, Quality, Slice
from budgetc.measure.size import Size
from budgetc.status import Status

BudgetName = Literal[
    "size",
    "memory",
    "latency",
    "quality",
    "worst_slice",
    "size_regression",
    "memory_regression",
    "latency_regression",
    "quality_regression",
]

_GRAVITY: dict[Status, int] = {"PASS": 0, "WARN": 1, "UNDECIDED": 2, "FAIL": 3}


@dataclass(frozen=True)
class Measurement:
    """Everything that was measured of one binary on one target.

    Attributes:
        size: bytes to deploy.
        memory: RAM of one inference.
        latency: None where it was not measured.
        quality: None where there is no evaluation data or nothing was run.
        executed: whether the binary ran at all.
        emulated: whether it ran on an emulator, whose times are not the target's.
        device: the device that ran it, as it or its runner calls it; empty where it was this machine.
        reason: why it was not executed, such as "qemu-aarch64 is not installed".
        instructions: of one inference, as an emulator counts them; None where nothing counts them. They are no time.
        uncounted: why they were not counted, where an emulator ran it.
        entry: the name of the entry point, nothing for the first.
        further: memory and latency of the other entry points, each a measurement of its own.
    """

    size: Size
    memory: Memory
    latency: Latency | None = None
    quality: Quality | None = None
    executed: bool = True
    emulated: bool = False
    device: str = ""
    reason: str = ""
    instructions: int | None = None
    uncounted: str = ""
    entry: str = ""
    further: tuple["Measurement", ...] = ()


@dataclass(frozen=True)
class Verdict:
    """The verdict on one budget. Limit, measured and interval are in the budget's own unit.

    Attributes:
        budget: which.
        limit: what was allowed: bytes, seconds, a ratio to a peer, or a fraction of the metric.
        measured: what was measured of the same kind; None where nothing was.
        interval: its confidence interval, where it has one.
        excess: how far beyond the limit it is, as a part of the limit; negative within it, 0 where
            unknown.
        status: WARN is a FAIL or UNDECIDED of a budget with `level: warning`, or a PASS with a
            doubt.
        text: one line for people, which says why.
        unit: what limit, measured and interval count: `bytes`, `seconds`, `fraction` (a drop of the
            metric), `metric`, or `x onnxruntime-int8` for multiples of a peer.
        doubt: why the evaluation data are too few to decide it, where they are; the figure decides
            all the same.
        baseline: what a regression is held against: bytes, seconds or the metric; None of other budgets.
    """

    budget: BudgetName
    limit: float
    measured: float | None
    interval: Interval | None
    excess: float
    status: Status
    text: str
    unit: str
    doubt: str = ""
    baseline: float | None = None

    @property
    def holds(self) -> bool:
        """Whether the artefact may be handed over, as far as this budget goes."""
        return self.status in {"PASS", "WARN"}

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, for the manifest and `--json`."""
        return {**asdict(self), "interval": _ends(self.interval)}


def judge(budgets: Budgets, measurement: Measurement) -> tuple[Verdict, ...]:
    """The verdict on every budget that is set, in the order size, memory, latency, quality, worst slice.

    Where a library has several entry points, memory and latency are those of the worst.
    """
    verdicts = []
    entries = (measurement, *measurement.further)
    if budgets.size:
        verdicts.append(_size(budgets.size, measurement))
    if budgets.memory:
        memory = budgets.memory
        verdicts.append(worst_of(entries, [_memory(memory, each) for each in entries]))
    if budgets.latency:
        latency = budgets.latency
        verdicts.append(worst_of(entries, [_latency(latency, each) for each in entries]))
    if budgets.quality:
        verdicts += judge_quality(budgets.quality, measurement.quality, why_not_run(measurement))
    return tuple(verdicts)


def check_quality_budget(budget: QualityBudget, metric: Metric) -> None:
    """Refuse a budget that means nothing for its metric.

    Raises:
        SpecError: a least value of a metric of which less is better, or one beyond the best there is.
    """
    if budget.min is not None and not metric.higher_is_better:
        raise SpecError.of(
            f"budgets.quality.min: less is better of the metric {metric.name}, so a least value "
            "bounds nothing",
            'bound what it may rise against the float model, such as "drop: 0.5 pp" for 0.005.',
        )
    if budget.min is not None and metric.best is not None and budget.min > metric.best:
        percent = budget.min / 100
        meant = f"{budget.min:g} % is {percent:g}; " if metric.best == 1 and percent <= 1 else ""
        raise SpecError.of(
            f"budgets.quality.min: {budget.min:g} is out of reach: {metric.name} is at most {metric.best:g}",
            f"{meant}write what the metric has to reach, in its own unit.",
        )


def worst_of(entries: Sequence[Measurement], verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict that counts; its text says which entry point it is of, and what the others are."""
    worst = max(verdicts, key=lambda v: (_GRAVITY[v.status], v.excess))
    if len(verdicts) == 1:
        return worst
    texts = [
        f"{e.entry or 'first shape'}: {v.text}" for e, v in zip(entries, verdicts, strict=True)
    ]
    return replace(worst, text="; ".join(texts))


def _size(budget: SizeBudget, measurement: Measurement) -> Verdict:
    size = measurement.size
    return _exact(
        "size",
        budget.level,
        budget.max_bytes,
        size.deployed,
        f"code {format_bytes(size.text)}, constants {format_bytes(size.rodata)}, "
        f"data {format_bytes(size.data)}, the rest {format_bytes(size.overhead)}",
    )


def _memory(budget: MemoryBudget, measurement: Measurement) -> Verdict:
    memory = measurement.memory
    parts = f"arena {format_bytes(memory.arena)}, static data {format_bytes(memory.static)}, "
    parts += "stack not measured" if memory.stack is None else f"stack {format_bytes(memory.stack)}"
    verdict = _exact("memory", budget.level, budget.max_bytes, memory.total, parts)
    if verdict.status != "PASS":
        return verdict
    if memory.stack is None:
        why = why_not_run(measurement)
        return replace(
            verdict, status=leveled("UNDECIDED", budget.level), text=f"{verdict.text}; {why}"
        )
    if memory.warning:
        return replace(verdict, status="WARN", text=f"{verdict.text}; {memory.warning}")
    return verdict


def _exact(name: BudgetName, level: Level, limit: int, measured: int, parts: str) -> Verdict:
    status: Status = "PASS" if measured <= limit else "FAIL"
    text = f"{name}: {format_bytes(measured)} of {format_bytes(limit)} ({parts})"
    return Verdict(
        name, limit, measured, None, measured / limit - 1, leveled(status, level), text, "bytes"
    )


def _latency(budget: LatencyBudget, measurement: Measurement) -> Verdict:
    relative = isinstance(budget.max, Relative)
    limit = budget.max.ratio if isinstance(budget.max, Relative) else budget.max
    allowed = str(budget.max) if relative else format_seconds(limit)
    latency = measurement.latency
    unit = f"x {budget.max.peer}" if isinstance(budget.max, Relative) else "seconds"
    what = f"latency: {budget.statistic}"
    undecided = leveled("UNDECIDED", budget.level)
    seconds = latency.ours.statistic(latency.statistic) if latency else None
    if latency is None or seconds is None or measurement.emulated or not measurement.executed:
        why = why_not_run(measurement)
        if measurement.executed and measurement.emulated:
            there = f"; {format_seconds(seconds)} there" if seconds is not None else ""
            why = f"emulated{there}; an emulator's times say nothing about the target"
        text = f"{what} of at most {allowed}: {why}"
        return Verdict("latency", limit, None, None, 0.0, undecided, text, unit)
    interval = latency.ratio_interval if relative else latency.interval
    measured = latency.ratio if relative else seconds
    if interval is None or measured is None:
        raise AssertionError("BUG: a relative latency budget was measured without its peer")
    text = f"{what} {_with_interval(seconds, latency.interval)} of {allowed}"
    if isinstance(budget.max, Relative):
        peer = latency.peers[budget.max.peer].statistic(latency.statistic)
        text += (
            f" (ratio {measured:.3g}, {interval.low:.3g} to {interval.high:.3g}; "
            f"{budget.max.peer} {format_seconds(peer)} in the same run)"
        )
    if latency.decision == "UNDECIDED":
        text += f"; undecided after {latency.looks} looks: too close, or the machine too noisy"
    return Verdict(
        "latency",
        limit,
        measured,
        interval,
        measured / limit - 1,
        leveled(latency.decision, budget.level),
        text,
        unit,
    )


def judge_quality(
    budget: QualityBudget, quality: Quality | None, why_not: str
) -> tuple[Verdict, ...]:
    """The verdicts on quality, and on its worst slice where that is bounded.

    Args:
        budget: what it allows.
        quality: what was measured; None where nothing was.
        why_not: why nothing was.
    """
    verdicts = []
    if budget.drop is not None:
        verdicts.append(_drop(budget.drop, budget.level, quality, why_not))
    if budget.min is not None:
        verdicts.append(_least(budget.min, budget.level, quality, why_not))
    if budget.worst_slice is not None:
        verdicts.append(_worst_slice(budget.worst_slice, budget.level, quality, why_not))
    return tuple(verdicts)


# The budgets of quality are about the evaluation data as they are, so that the figure decides; the
# interval and the doubt tell how far it can be trusted beyond them.


def _drop(limit: float, level: Level, quality: Quality | None, why_not: str) -> Verdict:
    if quality is None:
        return _unmeasured("quality", limit, level, "fraction", why_not)
    text = (
        f"quality: drop {format_points(quality.drop)} of {format_points(limit)} ({_values(quality)}, "
        f"{format_points(quality.low)} to {format_points(quality.high)}, {quality.samples} samples)"
    )
    return _dropped("quality", limit, level, quality, text)


def _least(limit: float, level: Level, quality: Quality | None, why_not: str) -> Verdict:
    if quality is None:
        return _unmeasured("quality", limit, level, "metric", why_not)
    excess = limit - quality.value
    low, high = quality.value_low, quality.value_high
    text = f"quality: {_values(quality)}, at least {limit:.4g} ({quality.samples} samples)"
    return Verdict(
        "quality",
        limit,
        quality.value,
        None if low is None or high is None else Interval(low, high),
        excess / abs(limit) if limit else excess,
        _by_figure(excess, level),
        text,
        "metric",
        doubt_of_value(limit, quality),
    )


def _worst_slice(limit: float, level: Level, quality: Quality | None, why_not: str) -> Verdict:
    worst = quality.worst_slice if quality else None
    if quality is None or worst is None:
        if quality is not None:
            why_not = f"no slice has the {FEWEST} samples that it takes to judge one"
        return _unmeasured("worst_slice", limit, level, "fraction", why_not)
    small = sum(not s.judged for s in quality.slices)
    rest = f"; {small} of them too small to be judged" if small else ""
    text = (
        f"worst slice: drop {format_points(worst.drop)} of {format_points(limit)} in "
        f"{quoted(worst.name)} ({_values(worst, quality.metric)}, {format_points(worst.low)} to "
        f"{format_points(worst.high)}, {worst.samples} samples; {len(quality.slices)} slices{rest})"
    )
    return _dropped("worst_slice", limit, level, worst, text)


def _dropped(
    budget: BudgetName, limit: float, level: Level, found: Quality | Slice, text: str
) -> Verdict:
    """On what all samples lose, or those of a slice."""
    excess = found.drop - limit
    return Verdict(
        budget,
        limit,
        found.drop,
        Interval(found.low, found.high),
        excess / limit if limit else excess,
        _by_figure(excess, level),
        text,
        "fraction",
        doubt_of_drop(limit, found),
    )


def _unmeasured(name: BudgetName, limit: float, level: Level, unit: str, why_not: str) -> Verdict:
    text = f"{name.replace('_', ' ')}: {why_not}"
    status = leveled("UNDECIDED", level)
    return Verdict(name, limit, None, None, 0.0, status, text, unit)


def _by_figure(excess: float, level: Level) -> Status:
    return leveled("PASS" if excess <= ROUNDING else "FAIL", level)


def _values(quality: Quality | Slice, metric: str = "") -> str:
    name = quality.metric if isinstance(quality, Quality) else metric
    return f"{name} {quality.value:.4g}, float model {quality.reference:.4g}"


def why_not_run(measurement: Measurement) -> str:
    """Why a figure that takes a run is not there, in words."""
    reason = f": {measurement.reason}" if measurement.reason else ""
    return f"not measured{reason}" if measurement.executed else f"not executed{reason}"


def leveled(status: Status, level: Level) -> Status:
    """A status as a budget's level has it: what only warns fails nothing."""
    return "WARN" if level == "warning" and status != "PASS" else status


def _with_interval(seconds: float, interval: Interval) -> str:
    low, high = format_seconds(interval.low), format_seconds(interval.high)
    return f"{format_seconds(seconds)} ({low} to {high})"


def _ends(interval: Interval | None) -> list[float] | None:
    return None if interval is None else [interval.low, interval.high]
