"""Trainings in rungs: all entrants for a little, the better half of them for twice as long, and so on."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from budgetc_specs.recipe import Step

from budgetc.search.explorer import Candidate, Explorer
from budgetc.strategy.schedule import Schedule
from budgetc.strategy.way import Taste, Way, words
from budgetc.strategy_record import Reached, StrategyTrial

Phase = Literal["grow", "shrink", "codes"]


@dataclass(frozen=True)
class Contender:
    """Something trained.

    Attributes:
        way: what was done.
        candidate: what is known of it.
        taste: by which settings it was trained last.
    """

    way: Way
    candidate: Candidate
    taste: Taste

    @property
    def loss(self) -> float:
        """What it loses on the samples that are held back; infinity where it was refused."""
        figures = self.candidate.figures
        return math.inf if figures is None else figures.loss


def ranked(contenders: Sequence[Contender]) -> list[Contender]:
    """Those that were not refused, the best first; of equals, the one that was there first."""
    return sorted((c for c in contenders if c.loss < math.inf), key=lambda c: c.loss)


def neighbours(taste: Taste) -> tuple[Taste, ...]:
    """Settings next to others, the most telling first: the rate counts most, and without a teacher alone."""
    if taste.hard == 1:
        return tuple(replace(taste, rate=taste.rate * factor) for factor in (0.5, 2.0))
    return (
        replace(taste, rate=taste.rate / 2),
        replace(taste, temperature=2.0 if taste.temperature > 2 else 4.0),
        replace(taste, hard=0.6 if taste.hard < 0.6 else 0.3),
    )


class Halving:
    """Successive halving over trainings.

    Args:
        explorer: trains and judges.
        phase: for the record.
        extended: a way with one more training.
        before: whether what is trained learns from what it was before it was made smaller.
        tell: hears of each rung, in words.
    """

    def __init__(
        self,
        explorer: Explorer,
        phase: Phase,
        extended: Callable[[Way, Step], Way],
        tell: Callable[[str], None],
        *,
        before: bool,
    ) -> None:
        self._explorer, self._phase, self._extended = explorer, phase, extended
        self._before, self._tell = before, tell
        self.trials: list[StrategyTrial] = []

    def run(self, entrants: Sequence[Way], schedule: Schedule, taste: Taste) -> list[Contender]:
        """Train; returns all that were trained, the best first.

        Args:
            entrants: as many as the schedule has at first, or fewer.
            schedule: how many go how far.
            taste: by which settings all begin.
        """
        going = [(way, taste) for way in entrants[: schedule.entrants]]
        seen: list[Contender] = []
        last: list[Contender] = []
        for number, rung in enumerate(schedule.rungs, 1):
            if last:
                kept = ranked(last)[: rung.kept]
                self.trials = gone_on(self.trials, kept)
                going = [(each.way, each.taste) for each in kept]
                for leader in kept[: rung.tries]:
                    others = neighbours(leader.taste)
                    going.append((leader.way, others[(number - 2) % len(others)]))
            if not going:
                break
            self._tell(
                f"{self._phase}: rung {number} of {len(schedule.rungs)}, {len(going)} trainings of "
                f"{rung.epochs} epochs"
            )
            last = self._train(going, number, rung.epochs)
            seen += last
        return ranked(seen)

    def _train(
        self, going: Sequence[tuple[Way, Taste]], number: int, epochs: int
    ) -> list[Contender]:
        ways = [self._extended(w, t.step(epochs, before=self._before)) for w, t in going]
        named = {way.recipe: f"{self._phase}: rung {number}" for way in ways}
        seen = dict(zip(named, self._explorer.look_at_all(named), strict=True))
        found = [
            Contender(way, seen[way.recipe], taste)
            for way, (_, taste) in zip(ways, going, strict=True)
        ]
        self.trials += [trial_of(each, self._phase, number) for each in found]
        return found


def gone_on(trials: Sequence[StrategyTrial], kept: Sequence[Contender]) -> list[StrategyTrial]:
    """The record, with a mark on those that are kept."""
    recipes = {str(each.candidate.recipe) for each in kept}
    return [replace(t, went_on=True) if t.recipe in recipes else t for t in trials]


def trial_of(contender: Contender, phase: Phase, rung: int) -> StrategyTrial:
    """A training, for the record."""
    way, candidate, taste = contender.way, contender.candidate, contender.taste
    return StrategyTrial(
        phase=phase,
        rung=rung,
        recipe=str(candidate.recipe),
        structure=words((*way.growth, *way.structure)),
        epochs=way.epochs,
        rate=taste.rate,
        temperature=taste.temperature,
        hard=taste.hard,
        seconds=last_seconds(candidate),
        reached=reached(candidate),
        went_on=False,
        reason=candidate.simulated.refusal,
    )


def last_seconds(candidate: Candidate) -> float:
    """What the last training of a candidate took; those before it were there already."""
    return candidate.simulated.taught[-1] if candidate.simulated.taught else 0.0


def reached(candidate: Candidate) -> Reached | None:
    """The figures of a candidate; None where it was refused."""
    figures, simulated = candidate.figures, candidate.simulated
    if figures is None:
        return None
    return Reached(
        quality=simulated.quality,
        drop=figures.drop,
        loss=simulated.loss,
        size=figures.size,
        memory=figures.memory,
        latency=figures.latency,
        weight_bytes=simulated.weight_bytes,
    )
