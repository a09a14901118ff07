"""Plan the arena: an offset for every intermediate tensor, so that no two that live at the same time overlap."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random

ALIGNMENT = 64
"""Bytes of a line of the cache, to which tensors are aligned where nothing else is asked for."""
IMPROVEMENTS = 2000
"""Orders of tensors to try where the first few leave a gap to the bound."""
KEPT = 0.1
"""How often an order is gone on with that is worse than the one before."""
MOST_EXACT = 40
"""Tensors of which all plans are gone through, as far as the next number allows."""
MOST_NODES = 10_000
"""Partial plans that the exact search looks at before it gives up."""


@dataclass(frozen=True)
class Life:
    """A tensor's bytes, and the first and the last call that touch it."""

    size: int
    first: int
    last: int


@dataclass(frozen=True)
class Plan:
    """Offsets in bytes, the arena's size, and the bytes that any plan for this order of calls needs."""

    offsets: Mapping[str, int]
    size: int
    lower_bound: int


def plan(lives: Mapping[str, Life], alignment: int = ALIGNMENT) -> Plan:
    """The smallest plan of several greedy ones, then improved and searched for while it is above the lower bound.

    Small cases are exact: the search goes through all plans, or through as many as there is time for.

    Source: Pisarchyk and Lee 2020, "Efficient memory management for deep neural net inference", for the greedy orders
    by size and by breadth.
    """
    packing = _Packing(lives, alignment)
    offsets: Mapping[str, int] = min(
        (packing.place(order) for order in packing.orders()), key=packing.extent
    )
    if packing.extent(offsets) > packing.floor:
        offsets = packing.improved(offsets)
    if packing.extent(offsets) > packing.floor:
        offsets = packing.searched(offsets)
    size = packing.extent(offsets)
    # Kernels read whole vectors and may pass the end of the last tensor, by less than it is aligned to.
    return Plan(offsets, size + alignment if size else 0, lower_bound(lives))


def lower_bound(lives: Mapping[str, Life]) -> int:
    """The most bytes that live at one call."""
    moments = {life.first for life in lives.values()}
    return max(
        (
            sum(life.size for life in lives.values() if life.first <= moment <= life.last)
            for moment in moments
        ),
        default=0,
    )


class _Packing:
    """Tensors in whole lines of so many bytes, and who meets whom."""

    def __init__(self, lives: Mapping[str, Life], alignment: int) -> None:
        self.lives = lives
        self.sizes = {name: -(-life.size // alignment) * alignment for name, life in lives.items()}
        self.met = {name: [o for o in lives if o != name and self.meet(o, name)] for name in lives}
        whole = {n: Life(self.sizes[n], life.first, life.last) for n, life in lives.items()}
        self.floor = lower_bound(whole)

    def meet(self, one: str, other: str) -> bool:
        """Whether two tensors live at the same time."""
        a, b = self.lives[one], self.lives[other]
        return a.first <= b.last and b.first <= a.last

    def orders(self) -> Iterator[list[str]]:
        """Large ones first, in several senses of the word; and as they come."""
        lives, sizes = self.lives, self.sizes

        def breadth(name: str) -> int:
            return sizes[name] + sum(sizes[other] for other in self.met[name])

        yield sorted(lives, key=lambda n: (-sizes[n], lives[n].first))
        yield sorted(lives, key=lambda n: (-sizes[n] * (lives[n].last - lives[n].first + 1), n))
        yield sorted(lives, key=lambda n: (lives[n].first, -sizes[n]))
        yield sorted(lives, key=lambda n: (-lives[n].last + lives[n].first, -sizes[n]))
        yield sorted(lives, key=lambda n: (-breadth(n), -sizes[n]))

    def place(self, order: Sequence[str]) -> dict[str, int]:
        """Each tensor in turn at the lowest gap that fits among those that it meets."""
        offsets: dict[str, int] = {}
        for name in order:
            met = sorted(
                (offsets[other], offsets[other] + self.sizes[other])
                for other in self.met[name]
                if other in offsets
            )
            at = 0
            for begin, end in met:
                if at + self.sizes[name] <= begin:
                    break
                at = max(at, end)
            offsets[name] = at
        return offsets

    def extent(self, offsets: Mapping[str, int]) -> int:
        """Bytes from the start to the end of the last tensor."""
        return max((at + self.sizes[name] for name, at in offsets.items()), default=0)

    def improved(self, offsets: Mapping[str, int]) -> Mapping[str, int]:
        """A plan at least as good: one tensor that stands out over the bound after another is placed earlier.

        A move for the worse is kept now and then, as in simulated annealing: the way out of a dead end.
        """
        random = Random(0)  # noqa: S311  the same tries each time
        best, order = offsets, sorted(offsets, key=lambda n: (offsets[n], n))
        placed = self.place(order)
        for _ in range(IMPROVEMENTS):
            if self.extent(placed) < self.extent(best):
                best = placed
            loud = [i for i, n in enumerate(order) if placed[n] + self.sizes[n] > self.floor]
            if not loud:
                break
            at = random.choice(loud)
            tried = [*order[:at], *order[at + 1 :]]
            tried.insert(random.randint(0, at), order[at])
            again = self.place(tried)
            if self.extent(again) <= self.extent(placed) or random.random() < KEPT:
                order, placed = tried, again
        return best

    def searched(self, offsets: Mapping[str, int]) -> Mapping[str, int]:
        """The smallest plan, where there are few enough plans to go through, else the best one seen.

        Tensors are placed by rising offset, each on top of those that it meets: among such plans is a smallest one,
        since any plan becomes such a one when its tensors are let down as far as they go.
        """
        best, limit, nodes = offsets, self.extent(offsets), 0
        placed: dict[str, int] = {}

        def descend(tops: Mapping[str, int], last: int) -> None:
            nonlocal best, limit, nodes
            nodes += 1
            if not tops:
                best, limit = dict(placed), self.extent(placed)
            rising = sorted((top, -self.sizes[n], n) for n, top in tops.items() if top >= last)
            for top, size, name in rising:
                above = {n: t for n, t in tops.items() if n != name}
                for other in self.met[name]:
                    if other in above:
                        above[other] = max(above[other], top - size)
                ends = (t + self.sizes[n] for n, t in above.items())
                if top - size < limit and max(ends, default=0) < limit:
                    placed[name] = top
                    descend(above, top)
                    del placed[name]
                if nodes >= MOST_NODES or limit <= self.floor:
                    return

        if len(offsets) <= MOST_EXACT:
            descend(dict.fromkeys(self.lives, 0), 0)
        return best
