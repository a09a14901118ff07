"""Candidates made and measured, each once: what the journal has is not measured again."""

import hashlib
from dataclasses import replace
from statistics import median

from budgetc.build import Built
from budgetc.figures import Figures
from budgetc.progress import Event, Observer
from budgetc.result import Trial
from budgetc.search.builder import Builder
from budgetc.search.explorer import Candidate
from budgetc.search.journal import Journal


class Workshop:
    """Makes candidates of one target.

    Args:
        builder: makes and measures one.
        journal: of the search.
        target: its name.
        observer: told of everything.
    """

    def __init__(self, builder: Builder, journal: Journal, target: str, observer: Observer) -> None:
        self._builder, self._journal = builder, journal
        self._target, self._observer = target, observer
        self._libraries: dict[str, Built] = {}
        self._ratios: list[float] = []
        self.made = 0

    @property
    def bias(self) -> float:
        """How many times as long as expected inferences turned out to take."""
        return median(self._ratios) if self._ratios else 1.0

    def make(self, candidate: Candidate, why: str) -> Trial:
        """What a measurement makes of a candidate.

        Raises:
            SpecError, EnvironmentError_: the spec or this machine is at fault.
        """
        if candidate.trial is None:
            candidate.trial = self._make(candidate, why)
            self.made += 1
            seconds = seconds_of(candidate.trial)
            if candidate.figures and candidate.figures.latency and seconds:
                self._ratios.append(seconds / candidate.figures.latency)
        return candidate.trial

    def library(self, candidate: Candidate) -> Built | None:
        """The library of a candidate that keeps all budgets."""
        return self._libraries.get(str(candidate.recipe))

    def _make(self, candidate: Candidate, why: str) -> Trial:
        recipe = str(candidate.recipe)
        key = hashlib.sha256(recipe.encode()).hexdigest()[:32]
        known = self._journal.trial(key)
        if known is not None and (known[1] is not None or known[0].outcome != "feasible"):
            trial, built = known
            self._builder.spend(float(trial.parts.get("seconds", {}).get("tuning", 0.0)))
        else:

            def say(text: str) -> None:
                self._observer(Event("stage", self._target, recipe, text))

            say(f"building, {why}")
            compact = candidate.figures is not None and candidate.figures.compact
            trial, built = self._builder.measure(candidate.recipe, say, compact=compact)
            trial = replace(trial, origin=candidate.proposal.origin, predicted=candidate.figures)
            kept = self._journal.keep(key, trial, built)
            self._builder.discard(built)
            built = kept
        if built is not None:
            self._libraries[recipe] = built
        self._observer(
            Event(
                "built",
                self._target,
                recipe,
                outcome_of(trial),
                figures=figures_of(trial, candidate.figures),
            )
        )
        return trial


def outcome_of(trial: Trial) -> str:
    """What came of a candidate, in a line."""
    text = trial.outcome + (f": {trial.reason}" if trial.reason else "")
    missed = [v.text for v in trial.verdicts if not v.holds]
    if missed and not trial.reason:
        text += ": " + "; ".join(missed)
    return text


def seconds_of(trial: Trial) -> float | None:
    """What one inference was measured to take; of several entry points, the first."""
    measurement = trial.measurement
    latency = measurement.latency if measurement else None
    if latency is None or (measurement and measurement.emulated):
        return None
    return latency.ours.statistic(latency.statistic)


def figures_of(trial: Trial, expected: Figures | None) -> Figures | None:
    """The measured figures of a candidate, but for its quality, which choices are made of by the validation data."""
    measurement = trial.measurement
    if measurement is None or expected is None:
        return None
    seconds = seconds_of(trial)
    return replace(
        expected,
        size=measurement.size.deployed,
        memory=max(m.memory.total for m in (measurement, *measurement.further)),
        latency=expected.latency if seconds is None else seconds,
        fastest=expected.fastest if seconds is None else seconds,
        slowest=expected.slowest if seconds is None else seconds,
    )
