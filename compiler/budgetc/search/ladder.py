"""The settings of one family in a row, from the model as it is to the most that the family can do."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from budgetc_specs.recipe import Value

from budgetc.search.space import Choice, Family

Cost = Callable[[str, str, Value], float]
"""What a level of a part costs in quality: takes family, part and level."""

Gain = Callable[[str, str, Value], float]
"""What a level of a part saves; takes the same."""


@dataclass(frozen=True)
class Rung:
    """One point of a ladder.

    Attributes:
        levels: of the parts that are not at their first level.
        gain: what the point saves against the first, as a share of what the last saves.
    """

    levels: Mapping[str, Value]
    gain: float


def ladder(family: Family, cost: Cost, gain: Gain) -> tuple[Rung, ...]:
    """All points that a greedy walk passes: each step raises one part to the level that costs least for what it saves.

    A step may pass over levels, so that a level which costs much for little does not bar the way to the next. The walk
    ends where every part is at its last level. This is the greedy solution of a knapsack whose items have several
    versions, which is exact at each point for parts whose cost rises ever faster.
    Source: H. Kellerer, U. Pferschy, D. Pisinger, Knapsack Problems (2004), section 11.2.

    Args:
        family: whose parts.
        cost: of a level; that of the first is 0.
        gain: of a level; that of the first is 0.
    """
    at = dict.fromkeys((choice.name for choice in family.choices), 0)
    rungs: list[tuple[dict[str, Value], float]] = [({}, 0.0)]
    total = 0.0
    while moves := list(_moves(family, at, cost, gain)):
        _, _, won, part, index = min(moves)
        at[part] = index
        total += won
        levels = {c.name: c.levels[at[c.name]] for c in family.choices if at[c.name]}
        rungs.append((levels, total))
    most = max((won for _, won in rungs), default=0.0) or 1.0
    return tuple(Rung(levels, won / most) for levels, won in rungs)


def rung_at(rungs: Sequence[Rung], share: float) -> Rung:
    """The first point that saves this share of what can be saved; the last for a share of 1."""
    if share >= 1:
        return rungs[-1]
    return next((rung for rung in rungs if rung.gain >= share), rungs[-1])


def _moves(
    family: Family, at: Mapping[str, int], cost: Cost, gain: Gain
) -> Sequence[tuple[float, int, float, str, int]]:
    """Steps that can be taken: price, place of the part, what it saves, the part, and the level's index."""
    found = []
    for place, choice in enumerate(family.choices):
        now = at[choice.name]
        for index in range(now + 1, len(choice.levels)):
            won = _of(gain, family, choice, index) - _of(gain, family, choice, now)
            paid = _of(cost, family, choice, index) - _of(cost, family, choice, now)
            # What saves nothing comes last, and what costs nothing first, the more it saves.
            price = max(paid, 0.0) / won if won > 0 else float("inf")
            found.append((price, place, won, choice.name, index))
    return found


def _of(measure: Cost, family: Family, choice: Choice, index: int) -> float:
    return measure(family.name, choice.name, choice.levels[index]) if index else 0.0
