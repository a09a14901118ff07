"""Try candidates until one keeps every budget; where none does, say which budget binds and what comes nearest."""

import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from budgetc_specs.budgets import Budgets
from budgetc_specs.errors import (
    BudgetcError,
    EnvironmentError_,
    InfeasibleError,
    SpecError,
    WrongNumbersError,
)
from budgetc_specs.recipe import Recipe
from budgetc_specs.units import format_bytes
from budgetc_targets.contract import Runner

from budgetc.assess import Assessment, Reference, assess
from budgetc.build import Built, Job, Optimised, Say, build, run_passes
from budgetc.entries import entry_names
from budgetc.explain import explain
from budgetc.progress import Event, Observer
from budgetc.result import BUDGET_MISSED, Outcome, Trial
from budgetc.search.plan import candidates, out_of_reach
from budgetc.verdict import Verdict, judge
from budgetc.worker import ChildDied


@dataclass(frozen=True)
class Found:
    """What the search for one target came to."""

    trials: tuple[Trial, ...]
    chosen: Trial | None
    built: Built | None
    certificate: str
    exit_code: int


class Seeker:
    """The search for one target."""

    def __init__(
        self,
        job: Job,
        reference: Reference,
        budgets: Budgets,
        runner: Runner,
        scratch: Path,
        observer: Observer,
    ) -> None:
        self._job, self._reference, self._budgets = job, reference, budgets
        self._runner, self._scratch, self._observer = runner, scratch, observer
        self._target = ""
        self._position = (0, 0)
        self._tuning_left = job.tuning

    def seek(self, target: str, passes: Recipe | Literal["auto"], deadline: float) -> Found:
        """Try candidates until one keeps all budgets, the list ends or time is up.

        Raises:
            BudgetcError: the spec or this machine is at fault, so that no candidate could do better; or the only
                candidate is refused.
        """
        self._target = target
        calibrated, quantized = self._job.calibration is not None, self._job.model.quantized
        recipes = list(candidates(passes, calibrated=calibrated, quantized=quantized))
        trials: list[Trial] = []
        skipped: list[tuple[int, Optimised]] = []
        stopped = ""
        for number, recipe in enumerate(recipes, 1):
            if trials and time.monotonic() > deadline:
                stopped = f"the search time was up after {len(trials)} of {len(recipes)} candidates"
                break
            self._position = (number, len(recipes))
            trial, built, optimised = self._try(recipe, number, alone=len(recipes) == 1)
            trials.append(trial)
            self._tell(trial)
            if trial.outcome == "feasible":
                return Found(tuple(trials), trial, built, "", 0)
            if trial.outcome == "out of reach" and optimised:
                skipped.append((len(trials) - 1, optimised))
        proven = not stopped and all(t.outcome == "out of reach" for t in trials)
        if not any(t.measurement for t in trials) and skipped:
            self._measure_smallest(trials, skipped)
        code = InfeasibleError.exit_code if proven else _code(trials)
        certificate = _certificate(trials, self._budgets, stopped)
        return Found(tuple(trials), None, None, certificate, code)

    def _measure_smallest(self, trials: list[Trial], skipped: list[tuple[int, Optimised]]) -> None:
        """Nothing was built because nothing can fit; build what comes nearest, so that its figures are real."""
        index, optimised = min(skipped, key=lambda s: s[1].model.weight_bytes)
        self._position = (index + 1, len(trials))
        folder = self._folder(f"nearest-{index}")
        try:
            trials[index], _ = self._measure(optimised, folder)
        except (SpecError, EnvironmentError_):
            raise
        except BudgetcError as error:
            reason = f"{trials[index].reason}; it could not be built: {error.message}"
            trials[index] = replace(trials[index], reason=reason)

    def _try(
        self, recipe: Recipe, number: int, *, alone: bool
    ) -> tuple[Trial, Built | None, Optimised | None]:
        folder = self._folder(str(number))
        optimised: Optimised | None = None
        try:
            optimised = run_passes(self._job, recipe, folder, self._say(recipe))
            reason = out_of_reach(optimised.model, self._budgets)
            if reason:
                return self._trial(optimised, "out of reach", reason), None, optimised
            trial, built = self._measure(optimised, folder)
        except ChildDied as error:
            return _refused(recipe, error.message, optimised), None, optimised
        except (SpecError, EnvironmentError_):
            raise
        except BudgetcError as error:
            if alone:
                raise
            return _refused(recipe, error.message, optimised), None, optimised
        if trial.outcome != "feasible":
            shutil.rmtree(folder, ignore_errors=True)
        return trial, built, optimised

    def _measure(self, optimised: Optimised, folder: Path) -> tuple[Trial, Built]:
        """Build, run and judge; once more and compact where the library is too large and need not be."""
        trial, built = self._measure_once(optimised, folder)
        missed = {verdict.budget for verdict in trial.verdicts if not verdict.holds}
        if built.grown and missed & {"size", "memory"}:
            folder = folder / "compact"
            folder.mkdir()
            smaller = self._measure_once(optimised, folder, compact=True)
            if smaller[0].excess < trial.excess:
                return smaller
        return trial, built

    def _measure_once(
        self, optimised: Optimised, folder: Path, *, compact: bool = False
    ) -> tuple[Trial, Built]:
        say = self._say(optimised.recipe)
        built = self._build(optimised, folder, say, compact=compact)
        found = assess(built, self._job, self._reference, self._budgets, self._runner, say)
        verdicts = judge(self._budgets, found.measurement)
        outcome: Outcome = "feasible" if all(v.holds for v in verdicts) else "infeasible"
        reason = ""
        for model, each in zip(optimised.model.entries, (found, *found.further), strict=True):
            if each.agreement and not each.agreement.agrees:
                outcome = "wrong numbers"
                reason = explain(
                    model, built, self._job, each.agreement, self._runner, say, compact=compact
                )
                break
        return self._trial(optimised, outcome, reason, built, found, verdicts), built

    def _build(self, optimised: Optimised, folder: Path, say: Say, *, compact: bool) -> Built:
        """Build within what the candidates before this one have left of the time to tune."""
        job, begin = replace(self._job, tuning=self._tuning_left), time.monotonic()
        taken: float | None = None
        try:
            built = build(job, optimised, folder, say, compact=compact)
            taken = built.seconds["tuning"]
        finally:
            if job.tuning is not None:
                spent = time.monotonic() - begin if taken is None else taken
                self._tuning_left = max(0.0, job.tuning - spent)
        return built

    def _trial(
        self,
        optimised: Optimised,
        outcome: Outcome,
        reason: str,
        built: Built | None = None,
        found: Assessment | None = None,
        verdicts: tuple[Verdict, ...] = (),
    ) -> Trial:
        parts = {}
        if built:
            names = entry_names(built.entries)[1:]
            parts = {
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
            }
        return Trial(
            recipe=str(optimised.recipe),
            outcome=outcome,
            reason=reason,
            weight_bytes=optimised.model.weight_bytes,
            ledger=optimised.ledger,
            measurement=found.measurement if found else None,
            verdicts=verdicts,
            agreement=found.report if found else None,
            parts=parts,
            schedules=built.schedules if built else (),
        )

    def _folder(self, name: str) -> Path:
        folder = self._scratch / f"{self._target}-{name}"
        folder.mkdir()
        return folder

    def _say(self, recipe: Recipe) -> Say:
        number, count = self._position

        def say(text: str) -> None:
            self._observer(Event("stage", self._target, str(recipe), text, number, count))

        return say

    def _tell(self, trial: Trial) -> None:
        number, count = self._position
        text = trial.outcome + (f": {trial.reason}" if trial.reason else "")
        missed = [v.text for v in trial.verdicts if not v.holds]
        if missed and not trial.reason:
            text += ": " + "; ".join(missed)
        self._observer(Event("candidate", self._target, trial.recipe, text, number, count))


def _refused(recipe: Recipe, reason: str, optimised: Optimised | None) -> Trial:
    return Trial(
        recipe=str(recipe),
        outcome="refused",
        reason=reason,
        weight_bytes=optimised.model.weight_bytes if optimised else 0,
        ledger=optimised.ledger if optimised else (),
    )


def _code(trials: list[Trial]) -> int:
    """Wrong numbers outweigh a missed budget: they say that budgetc itself is at fault."""
    if any(t.outcome == "wrong numbers" for t in trials):
        return WrongNumbersError.exit_code
    return BUDGET_MISSED


def _certificate(trials: list[Trial], budgets: Budgets, stopped: str) -> str:
    """The binding budget and the nearest measured point, in words."""
    measured = [t for t in trials if t.measurement and t.outcome == "infeasible"]
    lines = [stopped] if stopped else []
    reached = [t for t in trials if t.outcome == "out of reach"]
    if reached and budgets.size:
        smallest = min(t.weight_bytes for t in trials if t.weight_bytes)
        lines.append(
            f"size binds: of {len(trials)} candidates, the smallest has {format_bytes(smallest)} of "
            f"weights and the budget for the whole library is {format_bytes(budgets.size.max_bytes)}"
        )
    if measured:
        nearest = min(measured, key=lambda t: t.excess)
        lines += [f"{v.budget} binds: {v.text}" for v in nearest.verdicts if not v.holds]
        lines.append(f"the nearest point is {nearest.recipe!r}")
    return "\n".join(dict.fromkeys(lines))
