"""Successive halving: how many are trained for how long, so that all of it takes no longer than it may.

    rung 1      n are trained for e epochs
    rung r      the better half goes on for as many epochs again as it has; the best one by other settings too

Every rung begins with a high rate and ends at none, so that what is compared has settled, and goes on from the weights
of the rung before. Source: Jamieson and Talwalkar 2016, arXiv 1502.07943 (successive halving); Loshchilov and Hutter
2017, arXiv 1608.03983 (rates that start again, for twice as long each time).

Optuna's pruners decide on each training when it reports, by those that have reported before it, so that an answer would
depend on which of several ends first. Here a rung is compared when all of it is there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

_LEAST = 1e-3
"""Seconds of an epoch, at least: what takes no time cannot be told from noise."""

SCHEDULES = (
    (8, 64),
    (8, 48),
    (8, 32),
    (4, 48),
    (4, 32),
    (4, 16),
    (2, 16),
    (2, 8),
    (2, 4),
    (1, 4),
    (1, 2),
    (1, 1),
)
"""Trainings at first, at most, and epochs of the one that goes furthest; the most thorough first. Few, so that the same
is chosen again where the machine was a little slower."""


@dataclass(frozen=True)
class Pace:
    """How long a training takes.

    Attributes:
        start: seconds until it begins to train, and of what comes behind.
        epoch: seconds of one epoch.
    """

    start: float
    epoch: float

    @staticmethod
    def of(epochs: tuple[int, int], seconds: Sequence[float]) -> "Pace":
        """From two trainings: how many epochs each had, and how long it took."""
        (few, many), (short, long) = epochs, seconds
        each = max(long - short, 0.0) / (many - few)
        return Pace(max(short - few * each, 0.0), max(each, _LEAST))


@dataclass(frozen=True)
class Rung:
    """One round.

    Attributes:
        kept: trainings of the round before that go on; in the first, how many begin.
        tries: how often the best goes on by other settings as well.
        epochs: of this round.
    """

    kept: int
    tries: int
    epochs: int


@dataclass(frozen=True)
class Schedule:
    """A whole halving.

    Attributes:
        entrants: how many begin.
        epochs: of the one that goes furthest, in all rungs together.
    """

    entrants: int
    epochs: int

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """In order; the last one is of one training, and of one by other settings."""
        halvings = self.entrants.bit_length() - 1
        kept, epochs = self.entrants // 2, max(1, self.epochs >> halvings)
        found = [Rung(self.entrants, 0, epochs)]
        while kept:
            found.append(Rung(kept, 1, epochs))
            kept, epochs = kept // 2, epochs * 2
        return tuple(found)

    @property
    def cost(self) -> int:
        """Epochs of all trainings together."""
        return sum((rung.kept + rung.tries) * rung.epochs for rung in self.rungs)

    def seconds(self, pace: Pace) -> float:
        """Of all trainings together."""
        count = sum(rung.kept + rung.tries for rung in self.rungs)
        return count * pace.start + self.cost * pace.epoch

    def fits(self, pace: Pace, seconds: float) -> bool:
        """Whether it takes no longer."""
        return self.seconds(pace) <= seconds


def schedule_for(pace: Pace, seconds: float, entrants: int) -> Schedule:
    """The most thorough schedule that takes no longer; at least one epoch of one.

    Args:
        pace: how long one training takes.
        seconds: for all trainings together.
        entrants: how many there are to begin with.
    """
    fitting = [Schedule(min(n, entrants), epochs) for n, epochs in SCHEDULES]
    return next((s for s in fitting if s.fits(pace, seconds)), fitting[-1])
