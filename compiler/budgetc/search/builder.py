"""One candidate built, run and judged: what the search does with the few that are worth it."""

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from budgetc_specs.budgets import Budgets
from budgetc_specs.errors import (
    BudgetcError,
    EnvironmentError_,
    SpecError,
    TargetUnreachableError,
)
from budgetc_specs.recipe import Recipe
from budgetc_targets.contract import Runner

from budgetc.assess import Assessment, Reference, assess
from budgetc.build import Built, Job, Optimised, Say, build, run_passes
from budgetc.entries import entry_names
from budgetc.explain import explain
from budgetc.predict.profile import profile, remember
from budgetc.regression import Regression, judge_regressions
from budgetc.result import Outcome, Trial
from budgetc.verdict import BudgetName, Verdict, judge
from budgetc.worker import ChildDied

_SMALLER: set[BudgetName] = {"size", "memory", "size_regression", "memory_regression"}
"""Budgets that a compact library may keep where another does not."""


class Builder:
    """Builds and measures candidates of one target, one after another.

    Args:
        job: what they share.
        reference: what they are compared with.
        budgets: what they must keep.
        runner: how the target's programs are run.
        scratch: folder for what is made on the way.
        regressions: what the budgets allow against a baseline.
    """

    def __init__(
        self,
        job: Job,
        reference: Reference,
        budgets: Budgets,
        runner: Runner,
        scratch: Path,
        regressions: Sequence[Regression] = (),
    ) -> None:
        self._job, self._reference, self._budgets = job, reference, budgets
        self._runner, self._scratch, self._regressions = runner, scratch, regressions
        self._tuning_left = job.tuning
        self._count = 0

    def measure(
        self, recipe: Recipe, say: Say, *, compact: bool = False, alone: bool = False
    ) -> tuple[Trial, Built | None]:
        """Apply a recipe, build, run and judge what it makes.

        Args:
            recipe: of the candidate.
            say: told what is being done.
            compact: begin with a library that is small first, since another is expected to be too large.
            alone: whether it is the only candidate, so that a refusal is the end.

        Returns:
            The candidate, and its library where it keeps all budgets.

        Raises:
            BudgetcError: the spec, this machine or the device is at fault; or it is alone, and refused.
        """
        folder = self._folder()
        optimised: Optimised | None = None
        built: Built | None = None
        try:
            optimised = run_passes(self._job, recipe, folder, say)
            trial, built = self._fitting(optimised, folder, say, compact=compact)
        except ChildDied as error:
            trial = _refused(recipe, error.message, optimised)
        except (SpecError, EnvironmentError_, TargetUnreachableError):
            raise
        except BudgetcError as error:
            if alone:
                raise
            trial = _refused(recipe, error.message, optimised)
        if trial.outcome == "feasible":
            return trial, built
        shutil.rmtree(folder, ignore_errors=True)
        return trial, None

    def spend(self, seconds: float) -> None:
        """Take what an earlier run of the same search has tuned for from the time to tune."""
        if self._tuning_left is not None:
            self._tuning_left = max(0.0, self._tuning_left - seconds)

    def discard(self, built: Built | None) -> None:
        """Remove what was made of a candidate, once it is kept elsewhere."""
        if built is not None:
            shutil.rmtree(built.folder, ignore_errors=True)

    def _fitting(
        self, optimised: Optimised, folder: Path, say: Say, *, compact: bool
    ) -> tuple[Trial, Built]:
        """Build, run and judge; once more and compact where the library is too large and need not be."""
        trial, built = self._once(optimised, folder, say, compact=compact)
        missed = {verdict.budget for verdict in trial.verdicts if not verdict.holds}
        if not compact and built.grown and missed & _SMALLER:
            folder = folder / "compact"
            folder.mkdir()
            smaller = self._once(optimised, folder, say, compact=True)
            if smaller[0].excess < trial.excess:
                return smaller
        return trial, built

    def _once(
        self, optimised: Optimised, folder: Path, say: Say, *, compact: bool
    ) -> tuple[Trial, Built]:
        built = self._build(optimised, folder, say, compact=compact)
        found = assess(
            built,
            self._job,
            self._reference,
            self._budgets,
            self._runner,
            say,
            regressions=self._regressions,
        )
        verdicts = (
            *judge(self._budgets, found.measurement),
            *judge_regressions(self._regressions, found.measurement),
        )
        outcome: Outcome = "feasible" if all(v.holds for v in verdicts) else "infeasible"
        reason = ""
        for model, each in zip(optimised.model.entries, (found, *found.further), strict=True):
            if each.agreement and not each.agreement.agrees:
                outcome = "wrong numbers"
                reason = explain(
                    model, built, self._job, each.agreement, self._runner, say, compact=compact
                )
                break
        trial = _trial(optimised, outcome, reason, built, found, verdicts)
        if outcome != "wrong numbers":
            trial = replace(trial, parts={**trial.parts, "layers": self._layers(built, say)})
        return trial, built

    def _layers(self, built: Built, say: Say) -> list[Mapping[str, Any]]:
        """What each call took, which predictions learn from; nothing where calls cannot be timed here."""
        say("timing its layers")
        calls = profile(built, built.folder, self._job, self._runner, self._reference.inputs)
        if calls is None:
            return []
        remember(self._job, calls)
        return [call.to_json() for call in calls]

    def _build(self, optimised: Optimised, folder: Path, say: Say, *, compact: bool) -> Built:
        """Build within what the candidates before this one have left of the time to tune."""
        job, begin = replace(self._job, tuning=self._tuning_left), time.monotonic()
        taken: float | None = None
        try:
            built = build(job, optimised, folder, say, compact=compact)
            taken = built.seconds["tuning"]
        finally:
            self.spend(time.monotonic() - begin if taken is None else taken)
        return built

    def _folder(self) -> Path:
        self._count += 1
        folder = self._scratch / f"candidate-{self._count}"
        folder.mkdir()
        return folder


def _trial(
    optimised: Optimised,
    outcome: Outcome,
    reason: str,
    built: Built,
    found: Assessment,
    verdicts: tuple[Verdict, ...],
) -> Trial:
    names = entry_names(built.entries)[1:]
    return Trial(
        recipe=str(optimised.recipe),
        outcome=outcome,
        reason=reason,
        weight_bytes=optimised.model.weight_bytes,
        ledger=optimised.ledger,
        measurement=found.measurement,
        verdicts=verdicts,
        agreement=found.report,
        parts={
            "arena": built.lowered.arena_bytes,
            "arena_lower_bound": built.lowered.arena_lower_bound,
            "arena_order_bound": built.lowered.arena_order_bound,
            "arena_map": [asdict(slot) for slot in built.lowered.arena_map],
            "kernels": len({c.kernel for c in built.lowered.calls}),
            "calls": len(built.lowered.calls),
            "macs": sum(c.macs for c in built.lowered.calls),
            "entries": {
                name: {"arena": lowered.arena_bytes, "calls": len(lowered.calls)}
                for name, lowered in zip(names, built.entries[1:], strict=True)
            },
            "seconds": dict(built.seconds),
            "compact": built.compact,
            "points": [dict(each) for each in built.points],
            "tuned": dict(built.tuned),
        },
        schedules=built.schedules,
    )


def _refused(recipe: Recipe, reason: str, optimised: Optimised | None) -> Trial:
    return Trial(
        recipe=str(recipe),
        outcome="refused",
        reason=reason,
        weight_bytes=optimised.model.weight_bytes if optimised else 0,
        ledger=optimised.ledger if optimised else (),
    )
