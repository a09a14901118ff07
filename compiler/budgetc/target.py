"""The search for one target: where it keeps what it knows, and what it is made of."""

import contextlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from budgetc_specs.budgets import Budgets, Relative
from budgetc_specs.errors import InfeasibleError, WrongNumbersError
from budgetc_specs.recipe import Recipe, Value
from budgetc_targets.contract import Runner

from budgetc.assess import Reference
from budgetc.baseline import seconds_of_inference
from budgetc.build import Built, Job
from budgetc.cache import cache_folder
from budgetc.figures import Limits
from budgetc.predict.latency import Clockwork
from budgetc.predict.timings import Timing, timings_of
from budgetc.progress import Event, Observer
from budgetc.provenance import code_digest
from budgetc.regression import Regression
from budgetc.result import BUDGET_MISSED, Bound, TargetResult, Trial
from budgetc.search.bounds import weight_bounds
from budgetc.search.builder import Builder
from budgetc.search.explorer import Effort
from budgetc.search.journal import Journal
from budgetc.search.knobs import Knobs
from budgetc.search.pool import Pool
from budgetc.search.seeker import Seeker
from budgetc.search.sensitivity import Effect, Sensitivity, measure_sensitivity
from budgetc.search.settings import Settings
from budgetc.search.simulation import Subject
from budgetc.search.simulations import Simulations
from budgetc.search.space import Space, find_space
from budgetc.search.workshop import Workshop, outcome_of
from budgetc.splits import Splits
from budgetc.store import json_digest, write_atomic
from budgetc.strategy.strategist import Lesson, follow
from budgetc.strategy_record import StrategyInfo

KEPT_ANSWERS = 8
"""Answers of earlier searches that are looked at first."""

VALIDATION_SAMPLES = 2048
"""Samples of the validation data that candidates are judged on, at most."""

_KEY = 32

SENSITIVITY_SAMPLES = 256
"""The same for what each part costs alone: there are many of them, and their order is all that counts."""


@dataclass(frozen=True)
class Inquiry:
    """What is searched for one target.

    Attributes:
        name: of the target in the spec.
        job: what all candidates share.
        reference: what libraries are compared with.
        budgets: what they must keep.
        runner: how the target's programs are run.
        splits: the data.
        subject: what recipes are simulated on.
        effort: how far to go.
        regressions: what the budgets allow against a baseline.
        lesson: where a strategy trains, what it is told.
    """

    name: str
    job: Job
    reference: Reference
    budgets: Budgets
    runner: Runner
    splits: Splits
    subject: Subject
    effort: Effort
    regressions: tuple[Regression, ...] = ()
    lesson: Lesson | None = None

    @property
    def baseline(self) -> dict[str, Any]:
        """What onnxruntime makes of the model, for the result."""
        reference = self.reference
        scores, metric = reference.scores, reference.metric
        return {
            "model_bytes": dict(reference.model_bytes),
            "samples": reference.samples,
            "metric": metric.name if scores is not None else None,
            "quality": metric.value(scores) if scores is not None else None,
        }


@dataclass(frozen=True)
class Known:
    """What is known before the first candidate is looked at."""

    space: Space
    sensitivity: Sensitivity
    knobs: Knobs
    limits: Limits


def survey(inquiry: Inquiry, peers: Mapping[str, float], observer: Observer) -> Known:
    """What can be chosen, and what each choice costs.

    Args:
        inquiry: what is searched.
        peers: seconds of one inference of each peer.
        observer: told what is being done.

    Raises:
        BudgetcError: a pass, the data or the metric is at fault.
    """

    def say(text: str) -> None:
        observer(Event("stage", inquiry.name, text=text))

    job = inquiry.job
    say("asking passes what they can do")
    space = find_space(
        job.model_file, job.model.path, job.capability, calibrated=job.calibration is not None
    )
    limits = Limits(inquiry.budgets, peers, inquiry.regressions)
    if _nothing_to_choose(inquiry, limits):
        space = Space((), space.preamble, space.notes)
    found = measure_sensitivity(space, replace(inquiry.subject, samples=SENSITIVITY_SAMPLES), say)

    def cost(family: str, part: str, level: Value) -> float:
        effect = found.of(family, part, level)
        return math.inf if effect is None or effect.refused else max(effect.error, 0.0)

    def gain(family: str, part: str, level: Value) -> float:
        effect = found.of(family, part, level)
        return 0.0 if effect is None else float(effect.bytes_saved)

    knobs = Knobs(space, cost, gain)
    return Known(space, found, knobs, limits)


def _nothing_to_choose(inquiry: Inquiry, limits: Limits) -> bool:
    """Whether the model as it is is the answer: no budget binds, and nothing can judge what a change would cost."""
    first, *_ = inquiry.effort.objective
    return not limits.names and inquiry.subject.metric is None and first == "quality"


def try_recipe(
    inquiry: Inquiry, recipe: Recipe, scratch: Path, observer: Observer
) -> tuple[TargetResult, Built | None]:
    """Build and judge the one recipe that a spec names.

    Raises:
        BudgetcError: the spec, the model or this machine does not allow it; or the recipe is refused.
    """

    def say(text: str) -> None:
        observer(Event("stage", inquiry.name, str(recipe), text, 1, 1))

    builder = _builder(inquiry, scratch)
    trial, built = builder.measure(recipe, say, alone=True)
    observer(Event("built", inquiry.name, str(recipe), outcome_of(trial), 1, 1))
    chosen = trial if trial.outcome == "feasible" else None
    limits = Limits(inquiry.budgets, regressions=inquiry.regressions)
    bounds = [b for b in weight_bounds(trial.weight_bytes, limits, "with this recipe") if b.beyond]
    code = 0 if chosen else InfeasibleError.exit_code if bounds else BUDGET_MISSED
    if trial.outcome == "wrong numbers":
        code = WrongNumbersError.exit_code
    result = TargetResult(
        target=inquiry.name,
        capability=inquiry.job.capability,
        trials=(trial,),
        chosen=chosen,
        folder=None,
        certificate="" if chosen else _missed(trial, bounds),
        exit_code=code,
        baseline=inquiry.baseline,
        layers=tuple(trial.parts.get("layers", ())),
    )
    return result, built


def open_journal(inquiry: Inquiry, observer: Observer) -> tuple[Inquiry, Journal]:
    """The journal of a search, and the inquiry with the time back that was spent on waiting for another run.

    Raises:
        EnvironmentError_: the cache folder cannot be written to.
    """

    def waiting() -> None:
        text = "another run is searching for the same: this one goes on when that has ended"
        observer(Event("note", inquiry.name, text=text))

    begin = time.monotonic()
    journal = Journal(_searches() / json_digest(_question(inquiry))[:_KEY], waiting)
    if journal.resumed:
        observer(Event("note", inquiry.name, text="going on with a search that was cut short"))
    deadline = inquiry.effort.deadline + time.monotonic() - begin
    return replace(inquiry, effort=replace(inquiry.effort, deadline=deadline)), journal


def search_target(
    inquiry: Inquiry, pool: Pool, journal: Journal, scratch: Path, observer: Observer
) -> tuple[TargetResult, Built | None]:
    """Search for one target; a run that was cut short goes on where it was.

    Args:
        inquiry: what is searched.
        pool: where candidates are simulated.
        journal: of `open_journal`; its owner ends it once all that is made of the answer is written.
        scratch: folder for what is made on the way.
        observer: told what happens.

    Raises:
        BudgetcError: the spec, the model or this machine does not allow it.
    """
    job = inquiry.job
    past = _searches() / f"earlier-{json_digest(_about(inquiry))[:_KEY]}.json"
    earlier = journal.once("earlier", lambda: _read(past))
    peers = journal.once("peers", lambda: peer_seconds(inquiry))
    # As they were when the search began: what it measures itself corrects all that it expects alike.
    timings = journal.once("timings", lambda: _timings(job))
    clock = Clockwork(map(Timing.from_json, timings), job.capability)
    simulations = Simulations(
        job,
        inquiry.subject,
        pool,
        cache_folder() / "simulations",
        clock,
        learns=inquiry.lesson is not None,
    )
    workshop = Workshop(_builder(inquiry, scratch), journal, inquiry.name, observer)
    info: StrategyInfo | None = None
    effects: tuple[Effect, ...] = ()
    if inquiry.lesson is None:
        known = survey(inquiry, peers, observer)
        observer(Event("search", inquiry.name, limits=known.limits))
        seeker = Seeker(
            known.space,
            known.knobs,
            known.limits,
            simulations,
            workshop,
            inquiry.effort,
            inquiry.name,
            observer,
        )
        found = seeker.seek(_settings(earlier, known.space), inquiry.splits.sentence)
        effects = known.sensitivity.effects
        _remember(past, found.answers)
    else:
        found, info = follow(
            inquiry.lesson,
            job,
            Limits(inquiry.budgets, peers, inquiry.regressions, inquiry.lesson.foreseen),
            simulations,
            workshop,
            inquiry.effort,
            inquiry.splits.sentence,
            pool.workers,
            journal,
            inquiry.name,
            observer,
        )
    result = TargetResult(
        target=inquiry.name,
        capability=job.capability,
        trials=found.trials,
        chosen=found.chosen,
        folder=None,
        certificate=found.proof.text if found.proof else "",
        exit_code=found.exit_code,
        baseline=inquiry.baseline,
        proof=found.proof,
        search=found.search,
        pays=found.pays,
        sensitivity=tuple(asdict(effect) for effect in effects),
        layers=found.layers,
        strategy=info,
    )
    return result, found.built


def _builder(inquiry: Inquiry, scratch: Path) -> Builder:
    return Builder(
        inquiry.job,
        inquiry.reference,
        inquiry.budgets,
        inquiry.runner,
        scratch,
        inquiry.regressions,
    )


def _timings(job: Job) -> list[dict[str, Any]]:
    return [asdict(each) for each in timings_of(job.timings, job.kind, job.capability)]


def _searches() -> Path:
    return cache_folder() / "searches"


def _missed(trial: Trial, bounds: Sequence[Bound]) -> str:
    lines = [f"{bound.budget} is out of reach: {bound.why}" for bound in bounds]
    lines += [f"{v.budget} binds: {v.text}" for v in trial.verdicts if not v.holds]
    return "\n".join(lines)


def peer_seconds(inquiry: Inquiry) -> dict[str, float]:
    """Seconds of one inference of the peer that a latency budget names, roughly; nothing where none is named."""
    reference, budget = inquiry.reference, inquiry.budgets.latency
    limit = budget.max if budget else None
    if not isinstance(limit, Relative) or limit.peer not in reference.peers:
        return {}
    peer, ports = reference.peers[limit.peer], inquiry.job.model.inputs
    return {limit.peer: seconds_of_inference(peer, ports, reference.inputs)}


def _question(inquiry: Inquiry) -> dict[str, Any]:
    """All that decides the course of a search: where it is the same, a run goes on with the one before."""
    job, effort, splits = inquiry.job, inquiry.effort, inquiry.splits
    data = (splits.calibration, splits.validation, splits.evaluation)
    return {
        **_about(inquiry),
        "target": inquiry.name,
        "budgets": inquiry.budgets.model_dump(mode="json", exclude={"max_regression"}),
        "regressions": [asdict(each) for each in inquiry.regressions],
        "capability": job.capability.model_dump(mode="json"),
        "library": [job.name, job.library, job.trials, job.tuning, job.device],
        "data": [each and each.digest for each in data],
        "metric": inquiry.subject.metric,
        "effort": [effort.candidates, effort.seed, *effort.objective],
        "strategy": inquiry.lesson and inquiry.lesson.name,
        "learning": inquiry.lesson and job.learning and job.learning.digests(),
        "code": code_digest(),
    }


def _about(inquiry: Inquiry) -> dict[str, Any]:
    """What earlier searches must share for their answers to be worth a look."""
    job = inquiry.job
    return {
        "models": [model.digest for model in job.model.entries],
        "kind": job.kind,
        "cpu": job.capability.cpu,
    }


def _read(past: Path) -> list[Any]:
    try:
        kept = json.loads(past.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return kept if isinstance(kept, list) else []


def _settings(kept: list[Any], space: Space) -> list[Settings]:
    """Those of earlier answers that this space still has."""
    found = []
    for each in kept:
        with contextlib.suppress(Exception):  # what another version has written
            settings = Settings.from_json(each)
            space.recipe(settings)
            found.append(settings)
    return found


def _remember(past: Path, answers: Sequence[Settings]) -> None:
    """Put what a search ended with before what others did."""
    kept = [settings.to_json() for settings in answers]
    kept += [each for each in _read(past) if each not in kept]
    past.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(past, json.dumps(kept[:KEPT_ANSWERS]).encode())
