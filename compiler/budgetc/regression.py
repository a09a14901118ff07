"""Budgets against a baseline: what a lock says was reached, and the verdict on what that has become."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args

from budgetc_specs.budgets import Budgets
from budgetc_specs.errors import SpecError, quoted
from budgetc_specs.fields import Level
from budgetc_specs.regression import Growth, Loss
from budgetc_specs.units import format_amount, format_percent, format_points, format_seconds
from budgetc_targets.contract import Device, Runner

from budgetc.lock import Lock, LockedTarget, read_lock
from budgetc.machine import machine_fingerprint, machine_words, timed_on
from budgetc.measure.doubt import ROUNDING
from budgetc.measure.latency import Interval, Statistic, decide
from budgetc.status import Status
from budgetc.verdict import BudgetName, Measurement, Verdict, leveled, why_not_run, worst_of

Figure = Literal["size", "memory", "latency", "quality"]

_BASELINE_KEYS: Mapping[Figure, str] = {
    "size": "size_bytes",
    "memory": "memory_bytes",
    "latency": "latency_s",
    "quality": "quality",
}
"""What a lock calls the figures; those of further entry points have the entry's name behind a space."""

_NAMES: Mapping[Figure, BudgetName] = {
    "size": "size_regression",
    "memory": "memory_regression",
    "latency": "latency_regression",
    "quality": "quality_regression",
}


@dataclass(frozen=True)
class Regression:
    """How much worse than its baseline one figure may be.

    Attributes:
        figure: which.
        baseline: what the lock has of it, by entry point, the first by the empty name: bytes, seconds, or the metric.
        allowed: a part of the baseline by which it may grow; of quality, what the metric may fall by.
        level: of the budget.
        source: the lock's name, for people.
        why_not: why the two cannot be compared, or nothing.
        drop: of quality, what the metric may fall by against the float model, if that has stayed.
        samples: of quality, how many the baseline was judged on: an emulator gets through as many as time allows.
        device: of latency, which one the baseline was measured on; empty where that was a machine of this kind.
    """

    figure: Figure
    baseline: Mapping[str, float]
    allowed: float
    level: Level
    source: str
    why_not: str = ""
    drop: float = 0.0
    samples: int = 0
    device: str = ""

    @property
    def name(self) -> BudgetName:
        """The budget's."""
        return _NAMES[self.figure]

    @property
    def unit(self) -> str:
        """What the verdict's figures count."""
        units = {"latency": "seconds", "quality": "fraction"}
        return units.get(self.figure, "bytes")

    @property
    def limit(self) -> float:
        """What may be reached, of the entry point that takes most; of quality, what the metric may fall by."""
        return self.limit_of(max(self.baseline, key=lambda entry: self.baseline[entry]))

    def limit_of(self, entry: str) -> float:
        """The same of one entry point."""
        grown = self.baseline[entry] * (1 + self.allowed)
        return self.allowed if self.figure == "quality" else grown


@dataclass(frozen=True)
class Now:
    """What a figure must have in common with the baseline's to be compared with it.

    Attributes:
        runner: how the target's programs are run.
        statistic: what is taken of latencies.
        metric: its name, with options.
        evaluation: sha256 of the evaluation data; None without any.
    """

    runner: Runner
    statistic: Statistic
    metric: str
    evaluation: str | None


def load_regressions(budgets: Budgets, target: str, now: Now) -> tuple[Regression, ...]:
    """What the budgets of a target allow against their baseline; nothing where they name none.

    Args:
        budgets: of the target.
        target: its name, which it has in the lock too.
        now: what the baseline is compared with.

    Raises:
        LockError: the baseline is no lock.
        SpecError: it has not got the target, or not a figure that is held against it.
    """
    asked = budgets.max_regression
    if asked is None:
        return ()
    lock = read_lock(asked.baseline)
    again = (
        "lock the spec anew, `budgetc lock SPEC --set budgets.max_regression=null`; "
        "or remove the budget."
    )
    if target not in lock.targets:
        has = ", ".join(lock.targets)
        raise SpecError.of(
            f"budgets.max_regression: {asked.baseline.name} has no target {quoted(target)}",
            f"it has {has}: {again}",
        )
    locked = lock.targets[target]
    found = []
    for figure in get_args(Figure):
        budget: Growth | Loss | None = getattr(asked, figure)
        if budget is None:
            continue
        baseline = _figures_of(locked, _BASELINE_KEYS[figure])
        if not baseline:
            raise SpecError.of(
                f"budgets.max_regression.{figure}: {asked.baseline.name} has no {figure} of "
                f"{quoted(target)}: it was not measured",
                again,
            )
        one = Regression(figure, baseline, budget.max, budget.level, asked.baseline.name)
        if figure == "quality":
            drop = float(locked.figures["quality_drop"]) + budget.max
            samples = int(locked.figures.get("quality_samples", 0))
            one = replace(one, drop=drop, samples=samples)
        if figure == "latency":
            one = replace(one, device=str(locked.figures.get("latency_device", "")))
        found.append(replace(one, why_not=_why_not(one, lock, target, now)))
    return tuple(found)


def judge_regressions(
    regressions: Sequence[Regression], measurement: Measurement
) -> tuple[Verdict, ...]:
    """The verdict on each; of several entry points, memory and latency are those of the worst."""
    verdicts = []
    for regression in regressions:
        if regression.why_not:
            text = f"{_title(regression)} is not judged: {regression.why_not}"
            verdicts.append(_undecided(regression, "", text))
        elif regression.figure == "size":
            verdicts.append(_grown(regression, "", float(measurement.size.deployed), None))
        elif regression.figure == "quality":
            verdicts.append(_fallen(regression, measurement))
        else:
            entries = (measurement, *measurement.further)
            judge = _memory if regression.figure == "memory" else _latency
            verdicts.append(worst_of(entries, [judge(regression, each) for each in entries]))
    return tuple(verdicts)


def _figures_of(locked: LockedTarget, key: str) -> dict[str, float]:
    """A figure of each entry point that the lock has it of."""
    found = {}
    for name, value in locked.figures.items():
        first, _, entry = name.partition(" ")
        if first == key:
            found[entry] = float(value)
    return found


def _why_not(regression: Regression, lock: Lock, target: str, now: Now) -> str:
    """Why what the lock has cannot be compared with what is measured now, and what would help; or nothing."""
    source, locked = regression.source, lock.targets[target]
    if regression.figure == "quality":
        if locked.figures["quality_metric"] != now.metric:
            return (
                f"{source} has {locked.figures['quality_metric']}, and the metric is {now.metric}; "
                "lock anew"
            )
        if lock.inputs.get("evaluation") != now.evaluation:
            return f"{source} is about other evaluation data; lock anew"
        if not regression.samples:
            return f"{source} does not say of how many samples its quality is; lock anew"
    if regression.figure == "memory" and "stack_bytes" not in locked.figures:
        return f"no run has measured the memory of {source}"
    if regression.figure == "latency":
        then = locked.figures["latency_statistic"]
        if then != now.statistic:
            return (
                f"{source} has the {then}, and the budget is about the {now.statistic}; lock anew"
            )
        if f"targets.{target}.runner" in lock.spec and not regression.device:
            return f"{source} does not say which device its times are of; lock anew"
        where = regression.device or locked.machine.get("cpu", "unknown")
        if isinstance(now.runner, Device):
            # Which device it is, that itself says when it runs.
            here = now.runner.device
            return "" if regression.device else _elsewhere(regression, where, here, "by a time")
        fingerprint = locked.machine.get("fingerprint")
        if timed_on(regression.device, fingerprint) != timed_on("", machine_fingerprint()):
            peer = 'relative to a peer ("latency: 1.0 x onnxruntime")'
            return _elsewhere(regression, where, machine_words(), peer)
    return ""


def _elsewhere(regression: Regression, then: str, now: str, bound: str) -> str:
    """Why the times of two machines are not compared, and what would help, such as to bound it otherwise."""
    return (
        f"{regression.source} was measured on {quoted(then)}, and this is {quoted(now)}, whose times say "
        f'nothing of it; lock on this machine, bound it {bound}, or write "level: warning"'
    )


def _memory(regression: Regression, measurement: Measurement) -> Verdict:
    if measurement.memory.stack is None:
        why = f"{_title(regression)}: {why_not_run(measurement)}"
        return _undecided(regression, measurement.entry, why)
    return _grown(regression, measurement.entry, float(measurement.memory.total), None)


def _latency(regression: Regression, measurement: Measurement) -> Verdict:
    latency = measurement.latency
    if latency is None or measurement.emulated or not measurement.executed:
        why = "emulated" if measurement.emulated else why_not_run(measurement)
        return _undecided(regression, measurement.entry, f"{_title(regression)}: {why}")
    if measurement.device != regression.device:
        why = _elsewhere(regression, regression.device, measurement.device, "by a time")
        text = f"{_title(regression)} is not judged: {why}"
        return _undecided(regression, measurement.entry, text)
    seconds = latency.ours.statistic(latency.statistic)
    return _grown(regression, measurement.entry, seconds, latency.interval)


def _grown(
    regression: Regression, entry: str, measured: float, interval: Interval | None
) -> Verdict:
    """The verdict on a figure that may have grown: the figure decides, or all of its interval."""
    if entry not in regression.baseline:
        text = f"{_title(regression)}: {regression.source} has no such entry point; lock anew"
        return _undecided(regression, entry, text)
    baseline, limit, unit = regression.baseline[entry], regression.limit_of(entry), regression.unit
    status: Status = "PASS" if measured <= limit else "FAIL"
    seen = format_amount(measured, unit)
    if interval is not None:
        status = decide(interval, limit)
        seen += f" ({format_seconds(interval.low)} to {format_seconds(interval.high)})"
    text = (
        f"{_title(regression)}: {seen}, {_change(measured, baseline)} the "
        f"{format_amount(baseline, unit)} of {regression.source}; at most "
        f"{format_percent(regression.allowed)} more is allowed"
    )
    if status == "UNDECIDED":
        text += "; undecided: too close, or the machine too noisy"
    return Verdict(
        regression.name,
        limit,
        measured,
        interval,
        measured / limit - 1 if limit else measured,
        leveled(status, regression.level),
        text,
        unit,
        baseline=baseline,
    )


def _fallen(regression: Regression, measurement: Measurement) -> Verdict:
    """The verdict on quality: by how much the metric is worse than the baseline's."""
    quality, baseline = measurement.quality, regression.baseline[""]
    if quality is None:
        why = f"{_title(regression)}: {why_not_run(measurement)}"
        return _undecided(regression, "", why)
    if quality.samples != regression.samples:
        text = (
            f"{_title(regression)}: {regression.source} is about {regression.samples} samples, and "
            f"this is about {quality.samples}"
        )
        return _undecided(regression, "", text)
    sign = 1.0 if quality.higher_is_better else -1.0
    fall = sign * (baseline - quality.value)
    excess = fall - regression.allowed
    change = f"{format_points(abs(fall))} {'worse' if fall > 0 else 'better'} than"
    text = (
        f"{_title(regression)}: {quality.metric} {quality.value:.4g}, "
        f"{change if fall else 'as good as'} the {baseline:.4g} of {regression.source}; at most "
        f"{format_points(regression.allowed)} worse is allowed ({quality.samples} samples)"
    )
    return Verdict(
        regression.name,
        regression.allowed,
        fall,
        None,
        excess / regression.allowed if regression.allowed else excess,
        leveled("PASS" if excess <= ROUNDING else "FAIL", regression.level),
        text,
        "fraction",
        baseline=baseline,
    )


def _undecided(regression: Regression, entry: str, text: str) -> Verdict:
    known = entry if entry in regression.baseline else next(iter(regression.baseline))
    return Verdict(
        regression.name,
        regression.limit_of(known),
        None,
        None,
        0.0,
        leveled("UNDECIDED", regression.level),
        text,
        regression.unit,
        baseline=regression.baseline[known],
    )


def _title(regression: Regression) -> str:
    return regression.name.replace("_", " ")


def _change(measured: float, baseline: float) -> str:
    """`3.1 % more than`, `2 % less than`, `as much as`."""
    part = measured / baseline - 1 if baseline else 0.0
    if not part:
        return "as much as"
    return f"{format_percent(abs(part))} {'more' if part > 0 else 'less'} than"


def baseline_files(budgets: Sequence[Budgets]) -> list[Path]:
    """The locks that budgets are held against."""
    asked = [each.max_regression for each in budgets]
    return sorted({each.baseline.absolute() for each in asked if each is not None})


def binding_regressions(regressions: Sequence[Regression]) -> list[Regression]:
    """Those that can be judged, and fail the build where they are missed."""
    return [r for r in regressions if r.level == "error" and not r.why_not]


def figure_of(budget: str) -> Figure | None:
    """The figure whose regression a budget's name is of; None of other budgets."""
    figure = budget.removesuffix("_regression")
    return cast("Figure", figure) if figure != budget else None
