"""Order and offsets of the calls of a model, chosen together: the memory planner."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from budgetc.lower.arena import ALIGNMENT, Life, Plan, plan
from budgetc.lower.ordering import Work, best_order


@dataclass(frozen=True)
class Use:
    """The storages that a call reads and writes.

    `part` says that it writes a part of its storages that other such calls leave alone: they may run in any order.
    """

    reads: tuple[str, ...]
    writes: tuple[str, ...]
    part: bool = False


@dataclass(frozen=True)
class Schedule:
    """The calls in the order in which they run, and where everything lies meanwhile.

    Attributes:
        order: positions of the calls as they were given.
        lives: of each storage, counted in calls as they run.
        plan: of the arena, with the lower bound for this order.
        order_bound: live bytes at the peak that no order of the calls stays below, as far as that was proven.
    """

    order: tuple[int, ...]
    lives: Mapping[str, Life]
    plan: Plan
    order_bound: int


def schedule(uses: Sequence[Use], sizes: Mapping[str, int], alignment: int = ALIGNMENT) -> Schedule:
    """Choose an order and a plan whose arena is never larger than that of the order given.

    Args:
        uses: of each call, in an order in which they can run.
        sizes: bytes of each storage of the arena; others are kept in order, but take nothing.
        alignment: bytes that storages are aligned to.
    """
    works = [
        Work((*dict.fromkeys((*use.reads, *use.writes)),), needs)
        for use, needs in zip(uses, needs_of(uses), strict=True)
    ]
    found = best_order(works, sizes)
    given = tuple(range(len(works)))
    made = [
        Schedule(order, lives, plan(lives, alignment), found.bound)
        for order in dict.fromkeys((given, found.calls))
        for lives in (_lives(works, sizes, order),)
    ]
    return min(made, key=lambda s: s.plan.size)


def needs_of(uses: Sequence[Use]) -> list[tuple[int, ...]]:
    """Of each call, the earlier ones that must have run before it.

    A reader comes behind all who write the storage, and a writer behind all who read or write it; but those that write
    parts of it do not wait for each other.
    """
    readers: dict[str, list[int]] = {}
    writers: dict[str, list[int]] = {}
    parts: dict[str, list[int]] = {}
    result = []
    for position, use in enumerate(uses):
        needs: list[int] = []
        for name in use.reads:
            needs += [*writers.get(name, ()), *parts.get(name, ())]
        for name in use.writes:
            needs += [*writers.get(name, ()), *readers.get(name, ())]
            if not use.part:
                needs += parts.get(name, ())
        result.append(tuple(sorted(set(needs))))
        for name in use.reads:
            readers.setdefault(name, []).append(position)
        for name in use.writes:
            (parts if use.part else writers).setdefault(name, []).append(position)
    return result


def _lives(
    works: Sequence[Work], sizes: Mapping[str, int], order: Sequence[int]
) -> dict[str, Life]:
    lives: dict[str, Life] = {}
    for moment, call in enumerate(order):
        for name in works[call].touches:
            if name in sizes:
                first = lives[name].first if name in lives else moment
                lives[name] = Life(sizes[name], first, moment)
    return lives
