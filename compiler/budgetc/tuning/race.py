"""A race between kernels: how long it lasts, and what counts as faster. `emit/race.c` is the program that runs it."""

import statistics
from collections.abc import Sequence

from budgetc.measure.conversation import Conversation

MOST_ROUNDS = 31
LEAST_ROUNDS = 9
ROUND_NS = 300_000  # long enough for the clock, short enough for many rounds
RACE_NS = 1_500_000_000
RACE_SECONDS = 120

WORTH = 0.02
"""What a change of point must bring at least; less is not worth code that differs between layers of one shape."""


def race(talk: Conversation, memory: str, numbers: Sequence[int]) -> list[list[float]]:
    """Time kernels in turns.

    Args:
        talk: with a program of `emit/race.c`.
        memory: file in its folder with the contents of everything that the kernels read and write; it is not changed.
        numbers: of the kernels that race.

    Returns:
        Nanoseconds of a call: for each kernel, one number each round.

    Raises:
        BinaryError: a kernel crashed or took too long.
        TargetUnreachableError: the device was not reached, or is lost.
    """
    bounds = (RACE_SECONDS, ROUND_NS, RACE_NS, LEAST_ROUNDS, MOST_ROUNDS)
    told = talk.ask(" ".join(map(str, ("race", memory, *bounds, *numbers))))
    rounds, times = int(told[0]), [float(word) for word in told[1:]]
    assert len(times) == rounds * len(numbers), "BUG: the race says less than it was asked"
    return [times[i * rounds : (i + 1) * rounds] for i in range(len(numbers))]


def advantage(challenger: Sequence[float], incumbent: Sequence[float]) -> float:
    """By how much a challenger is faster, as a fraction; 0 where that is not beyond what the rounds differ by.

    Rounds are compared one by one, since what slows a machine down for a while slows both. The median of their ratios
    must lie below 1 by more than half of what the middle half of them spans, and by more than `WORTH`.
    """
    ratios = [c / i for c, i in zip(challenger, incumbent, strict=True)]
    first, median, third = statistics.quantiles(ratios, n=4)
    gained = 1 - median
    return gained if gained > max(WORTH, (third - first) / 2) else 0.0
