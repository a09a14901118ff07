"""Where tuning goes next: to the kernel that the model spends most of its time in, with diminishing returns.

promise of a kernel = its share of the model's time * 2 ** -(points measured in vain / points of a turn)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from budgetc_targets.contract import Point

from budgetc.lower.points import Work
from budgetc.tuning.records import Record

TURN = 3
"""Points that are compiled and raced together, beside the fastest so far."""

PATIENCE = 6
"""Points measured in vain after which a kernel is left alone: they are ranked, so the later ones promise less."""

NEGLIGIBLE = 0.01
"""Share of the model's time below which a kernel gets nothing."""


@dataclass
class Contest:
    """One kernel on its way: what is to be measured, and what is known."""

    work: Work
    space: Sequence[Point]
    record: Record

    @property
    def waiting(self) -> list[Point]:
        """The points of the next turns, in order; none where the kernel is done."""
        if self.record.point is None or self.record.fruitless >= PATIENCE:
            return []
        return [point for point in self.space if point not in self.record.times]

    @property
    def nanoseconds(self) -> float:
        """What all calls of the kernel take together."""
        return self.record.nanoseconds * self.work.calls

    @property
    def point(self) -> Point:
        """The fastest known point of the space."""
        known = self.record.point
        return known if known is not None and known in self.space else self.space[0]


def share(contest: Contest, contests: Sequence[Contest]) -> float:
    """The part of the model's time that a kernel takes."""
    total = sum(each.nanoseconds for each in contests)
    return contest.nanoseconds / total if total else 0.0


def most_promising(contests: Sequence[Contest], busy: Sequence[Contest] = ()) -> Contest | None:
    """The kernel whose turn it is, of those that are not busy; None where no kernel is worth another one."""

    def promise(contest: Contest) -> float:
        return share(contest, contests) * math.pow(0.5, contest.record.fruitless / TURN)

    open_ = [
        c
        for c in contests
        if c.waiting and share(c, contests) >= NEGLIGIBLE and not any(c is b for b in busy)
    ]
    return max(open_, key=promise, default=None)
