"""A strategy that trains, for one target: structures that fit, the best of them taught, quantised, built, measured.

    shrink-improve           structure | train | fuse | codes | train through codes
    grow-improve-shrink      growth | train | structure | train | fuse | codes | train through codes

Everything that is looked at is a recipe, so that what was learned is kept by its text, and a longer training goes on
from the shorter one that it begins with.
"""

import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from budgetc_specs.recipe import Recipe, Step, parse_recipe

from budgetc.build import Job
from budgetc.figures import Limits
from budgetc.learning import learners
from budgetc.progress import Event, Observer
from budgetc.registry import find_growing
from budgetc.result import Bound
from budgetc.search.bounds import find_bounds
from budgetc.search.decision import Decision, Found
from budgetc.search.explorer import Candidate, Effort, Explorer
from budgetc.search.journal import Journal
from budgetc.search.knobs import Knobs
from budgetc.search.selection import Selection
from budgetc.search.simulations import Simulations
from budgetc.search.space import PREAMBLE, Space, find_space
from budgetc.search.workshop import Workshop
from budgetc.strategy.halving import (
    Contender,
    Halving,
    Phase,
    gone_on,
    last_seconds,
    ranked,
    trial_of,
)
from budgetc.strategy.ladder import climbed, stairs
from budgetc.strategy.schedule import Pace, schedule_for
from budgetc.strategy.structures import codes_of, directions, fitting, smallest
from budgetc.strategy.way import Taste, Way
from budgetc.strategy_record import StrategyInfo, StrategyTrial

GROW = "grow-improve-shrink"

AT_ONCE = 2
"""Trainings that run at the same time, as far as there are processes: what may be trained in a given time."""

DIRECTIONS, ENTRANTS = 10, 8
"""Directions that are looked along for structures that fit, and structures that are trained, at most."""

SEARCH_SHARE, LOOKS = 0.5, 8
"""Of the time to search: for structures, where a simulation takes as long as the first; simulations a direction."""

GROWTH_SHARE, CODES_SHARE = 0.4, 0.15
"""Of the time to train: for the larger model, and for training through codes."""

EPOCHS_THROUGH_CODES, CODES_FACTOR = (8, 4, 2), 2
"""Epochs that are trained through codes, the most that there is time for; and what one takes beside one of floats."""

FINALISTS = 2
"""Trained models that are quantised in every way, trained through their codes, and built."""

PATIENCE = 4
"""Trained models that may turn out not to keep the budgets; the next ones are worse on what is held back."""

TAUGHT = Taste(rate=0.004)
"""By which settings a model begins to learn from a teacher."""

UNTAUGHT = Taste(rate=0.004, hard=1.0)
"""The same where there is none that knows more than it does: by labels alone."""

THROUGH_CODES = Taste(rate=3e-4)
"""By which settings it learns through codes: it has learned already, and rounds."""

_MOMENT = 1e-3

PROBED = (1, 3)
"""Epochs of the two trainings that tell how long one takes, and how long it takes to begin."""


@dataclass(frozen=True)
class Lesson:
    """What a strategy is told.

    Attributes:
        name: of the strategy.
        seconds: that it may train.
        searching: seconds that the search may take beside.
        taught: whether the spec names a teacher.
        judged_on: in words, which samples decide.
        foreseen: whether these tell what the evaluation data will, `Limits.foreseen`.
    """

    name: str
    seconds: float
    searching: float
    taught: bool
    judged_on: str
    foreseen: bool


class Strategist:
    """A strategy for one target.

    Args:
        lesson: which, and for how long.
        explorer: trains and judges.
        selection: builds and compares.
        limits: the budgets.
        decision: draws the conclusion.
        space: what can be chosen behind these steps.
        workers: processes that there are for trainings.
        journal: of the search.
        target: its name.
        observer: told what happens.
    """

    def __init__(
        self,
        lesson: Lesson,
        explorer: Explorer,
        selection: Selection,
        limits: Limits,
        decision: Decision,
        space: Callable[[tuple[Step, ...]], Space],
        workers: int,
        journal: Journal,
        target: str,
        observer: Observer,
    ) -> None:
        self._lesson, self._explorer, self._selection = lesson, explorer, selection
        self._limits, self._decision = limits, decision
        self._space = functools.cache(space)
        self._journal, self._target, self._observer = journal, target, observer
        self._seconds, self._workers = lesson.seconds * min(AT_ONCE, workers), workers
        self._trials: list[StrategyTrial] = []
        self._notes: list[str] = []
        self._paces: dict[Phase, Pace] = {}

    def seek(self) -> tuple[Found, StrategyInfo]:
        """Train, build, choose; or prove that there is nothing to choose, before anything is trained where that can be.

        Raises:
            SpecError, EnvironmentError_: the spec or this machine is at fault, so that no candidate could do better.
        """
        begin = time.monotonic()
        (plain,) = self._explorer.look_at_all({Recipe(PREAMBLE): "as it is"})
        each = self._journal.once("simulation", lambda: time.monotonic() - begin)
        self._say("asking passes what they can do")
        if self._lesson.name == GROW and (bounds := self._bounds(growths())):
            return self._decision.proven(bounds), self._info(Recipe(PREAMBLE), self._of(Way()))
        grown = self._grown(math.inf if plain.figures is None else plain.figures.loss)
        space = self._of(grown)
        self._say("looking for structures that keep the budgets")
        found = directions(space)[: self._directions(each)]
        ways = fitting(found, grown, self._explorer, self._limits)[:ENTRANTS]
        before = bool(grown.growth)
        best = self._shrunk(ways, before=before)
        self._coded(best, space, before=before)
        chosen = self._selection.best() if ways else None
        bounds = () if ways or self._lesson.name == GROW else self._bounds(())
        answer = self._decision.settled(chosen) if chosen else self._decision.proven(bounds)
        end = Recipe(PREAMBLE)
        if answer.chosen is not None:
            end = parse_recipe(answer.chosen.recipe)
        elif best:
            end = best[0].candidate.recipe
        return answer, self._info(end, space)

    def _of(self, way: Way) -> Space:
        """What can be chosen behind a way to a larger model, or for the model itself."""
        return self._space(way.preamble if way.growth else PREAMBLE)

    def _bounds(self, larger: Sequence[tuple[Step, ...]]) -> tuple[Bound, ...]:
        """What is beyond its budget whatever is trained: the fewest weights that structures of any start have.

        Training changes no number of weights. Nothing where the end of a direction shows that budgets are within reach.

        Args:
            larger: steps that may make the model larger before.
        """
        ends: list[Candidate] = []
        bounds: tuple[Bound, ...] = ()
        for start in (Way(), *(Way(growth=steps) for steps in larger)):
            ways = smallest(directions(self._of(start)), start)
            for some in (ways[:1], ways[1:]):  # the first is the most promising, and mostly enough
                ends += self._explorer.look_at_all(
                    {way.recipe: "every structure at its smallest" for way in some}
                )
                bounds = find_bounds([each.simulated for each in ends], self._limits)
                if not any(bound.beyond for bound in bounds):
                    return ()
        self._note("no structure has so few weights as the size budget allows: nothing was trained")
        return bounds

    def _directions(self, simulation: float) -> int:
        """How many directions there is time to look along, if a simulation takes so many seconds; at least two."""
        most = SEARCH_SHARE * self._lesson.searching * self._workers
        return max(2, min(DIRECTIONS, int(most / (LOOKS * max(simulation, _MOMENT)))))

    def _grown(self, loss: float) -> Way:
        """The way to a larger model that was trained; none where that loses no less than the model."""
        if self._lesson.name != GROW:
            return Way()
        ways = [Way(growth=steps) for steps in growths()]
        taste = TAUGHT if self._lesson.taught else UNTAUGHT
        best = self._trained("grow", ways, taste, self._seconds * GROWTH_SHARE, before=False)
        if not best or best[0].loss >= loss:
            self._note("no larger model became better than the model: made smaller as it is")
            return Way()
        self._trials = gone_on(self._trials, best[:1])
        return best[0].way

    def _shrunk(self, ways: Sequence[Way], *, before: bool) -> list[Contender]:
        """Structures trained, the best first."""
        if not ways:
            self._note("no structure keeps size, memory and latency, so that none was trained")
            return []
        left = self._seconds * (1 - CODES_SHARE) - self._spent
        best = self._trained("shrink", ways, TAUGHT, left, before=before)
        self._trials = gone_on(self._trials, best[:FINALISTS])
        return best

    def _trained(
        self, phase: Phase, ways: Sequence[Way], taste: Taste, seconds: float, *, before: bool
    ) -> list[Contender]:
        """What is left of ways after a halving within so many seconds, the best first."""
        if not ways:
            return []
        extended = _raised if phase == "grow" else _taught
        probes = [extended(ways[0], taste.step(epochs, before=before)) for epochs in PROBED]
        self._say("timing an epoch")
        named = {way.recipe: "how long an epoch takes" for way in probes}
        seen = self._explorer.look_at_all(named)
        refused = next((c.simulated.refusal for c in seen if c.figures is None), "")
        if refused:
            self._note(f"nothing was trained: {refused}")
            return []
        taken = self._journal.once(f"pace {phase}", lambda: [last_seconds(c) for c in seen])
        pace = self._paces[phase] = Pace.of(PROBED, taken)
        schedule = schedule_for(pace, seconds - sum(taken), len(ways))
        if not schedule.fits(pace, seconds - sum(taken)):
            self._note(
                f"{phase}: there was hardly time to train: learning.time is too short for it"
            )
        halving = Halving(self._explorer, phase, extended, self._say, before=before)
        best = halving.run(ways, schedule, taste)
        self._trials += halving.trials
        return best

    def _coded(self, best: Sequence[Contender], space: Space, *, before: bool) -> None:
        """The best in every kind of codes, and trained through the codes that suit them best."""
        finalists = [each for each in best[:FINALISTS] if each.way.codes]
        if not finalists:
            return
        epochs = self._epochs_through_codes(len(finalists))
        tuned = []
        for each in finalists:
            ways = [replace(each.way, codes=codes) for codes in variants(space)]
            named = {way.recipe: "the best in other codes" for way in ways}
            seen = self._explorer.look_at_all(named)
            found = [Contender(w, c, each.taste) for w, c in zip(ways, seen, strict=True)]
            tuned += [c.way for c in ranked(found)[:1]]
        step = THROUGH_CODES.step(epochs, before=before, codes=True)
        ways = [replace(way, tuning=(step,)) for way in tuned]
        self._say(f"codes: {len(ways)} trainings of {epochs} epochs")
        seen = self._explorer.look_at_all({way.recipe: "trained through codes" for way in ways})
        made = [Contender(w, c, THROUGH_CODES) for w, c in zip(ways, seen, strict=True)]
        self._trials += [trial_of(each, "codes", 0) for each in made]

    def _epochs_through_codes(self, count: int) -> int:
        """Epochs of so many trainings through codes that there is time for; at least one."""
        each = CODES_FACTOR * self._paces["shrink"].epoch * count
        left = self._seconds * CODES_SHARE
        return next((e for e in EPOCHS_THROUGH_CODES if e * each <= left), 1)

    def _info(self, end: Recipe, space: Space) -> StrategyInfo:
        """The record, with the way to a recipe."""
        found = stairs(end, space)
        named = {stair.recipe: f"after {stair.kind}" for stair in found}
        seen = dict(zip(named, self._explorer.look_at_all(named), strict=True))
        return StrategyInfo(
            name=self._lesson.name,
            time=self._lesson.seconds,
            trained=self._spent,
            judged_on=self._lesson.judged_on,
            steps=climbed(found, seen),
            trials=tuple(self._trials),
            notes=tuple(self._notes),
        )

    @property
    def _spent(self) -> float:
        """Seconds of all trainings so far."""
        return sum(trial.seconds for trial in self._trials)

    def _say(self, text: str) -> None:
        self._observer(Event("stage", self._target, text=text))

    def _note(self, text: str) -> None:
        self._notes.append(text)
        self._observer(Event("note", self._target, text=text))


def follow(
    lesson: Lesson,
    job: Job,
    limits: Limits,
    simulations: Simulations,
    workshop: Workshop,
    effort: Effort,
    validation: str,
    workers: int,
    journal: Journal,
    target: str,
    observer: Observer,
) -> tuple[Found, StrategyInfo]:
    """Follow a strategy for one target.

    Args:
        lesson: which strategy, and for how long it may train.
        job: what all candidates share.
        limits: the budgets.
        simulations: train and judge.
        workshop: makes candidates.
        effort: how far to go beside training.
        validation: which data quality is judged on, for the report.
        workers: processes that there are for trainings.
        journal: of the search.
        target: its name.
        observer: told what happens.

    Raises:
        SpecError, EnvironmentError_: the spec or this machine is at fault, so that no candidate could do better.
    """
    observer(Event("search", target, limits=limits))
    effort = replace(effort, deadline=effort.deadline + lesson.seconds)
    nothing = Space(())
    knobs = Knobs(nothing, lambda *_: 0.0, lambda *_: 0.0)
    explorer = Explorer(nothing, knobs, limits, simulations, effort, target, observer)

    def may_be_the_answer(candidate: Candidate) -> bool:
        """What was not trained is looked at to see whether training pays, where anything was."""
        return bool(learners(candidate.recipe)) or not any(
            learners(each.recipe) for each in explorer.candidates
        )

    selection = Selection(
        explorer, workshop, limits, effort, among=may_be_the_answer, patience=PATIENCE
    )
    decision = Decision(explorer, selection, workshop, limits, effort, validation)

    def space(preamble: tuple[Step, ...]) -> Space:
        return find_space(
            job.model_file,
            job.model.path,
            job.capability,
            calibrated=job.calibration is not None,
            preamble=preamble,
            calibration=job.calibration,
            learning=job.learning,
        )

    strategist = Strategist(
        lesson,
        explorer,
        selection,
        limits,
        decision,
        space,
        workers,
        journal,
        target,
        observer,
    )
    return strategist.seek()


def growths() -> list[tuple[Step, ...]]:
    """Steps that make a model larger, of the pass that offers most the furthest first; the least of all last."""
    offered = sorted((kind.growths() for kind in find_growing()), key=len, reverse=True)
    alone: list[tuple[Step, ...]] = [(step,) for steps in offered for step in reversed(steps)]
    together = tuple(steps[0] for steps in offered)
    return [*alone, together] if len(together) > 1 else alone


def variants(space: Space) -> list[tuple[Step, ...]]:
    """All codes by the defaults, then with one option of one family at another value."""
    found = [codes_of(space)]
    for family in space.families:
        if family.stage == "codes":
            found += [
                codes_of(space, {family.name: {option: value}})
                for option, values in family.options
                for value in values[1:]
            ]
    return list(dict.fromkeys(found))


def _raised(way: Way, step: Step) -> Way:
    return replace(way, raising=(*way.raising, step))


def _taught(way: Way, step: Step) -> Way:
    return replace(way, training=(*way.training, step))
