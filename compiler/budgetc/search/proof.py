"""The certificate of a search that found nothing: which budgets bind, what comes nearest, what is out of reach."""

import math
from collections.abc import Sequence
from itertools import combinations

from budgetc_specs.units import format_bytes

from budgetc.figures import Limits
from budgetc.result import Bound, Point, Proof
from budgetc.search.explorer import Candidate, Explorer
from budgetc.search.selection import Selection
from budgetc.verdict import BudgetName, Verdict

_ROOM = 1.05
"""A latency is measured anew each time, so that the value to allow leaves some room."""


def prove(
    explorer: Explorer,
    selection: Selection,
    limits: Limits,
    bounds: Sequence[Bound],
    places: Sequence[Candidate],
    stopped: str,
) -> Proof:
    """Say why nothing keeps all budgets; builds what comes nearest to each of them.

    Args:
        explorer: the candidates.
        selection: builds and compares them.
        limits: the budgets.
        bounds: what is proven of them.
        places: the candidates in the order of the result's trials.
        stopped: why the search ended early, or nothing.
    """
    points = []
    for budget in limits.names:
        nearest = selection.nearest(budget)
        if nearest is not None and nearest.trial is not None:
            verdict = next(v for v in nearest.trial.verdicts if v.budget == budget)
            if verdict.measured is not None and not verdict.holds:
                points.append(_point(verdict, nearest, places.index(nearest)))
    candidates = explorer.candidates
    return Proof(
        binding=binding(selection, limits, candidates),
        points=tuple(points),
        bounds=tuple(bound for bound in bounds if bound.beyond),
        tried=len(candidates),
        built=sum(c.trial is not None for c in candidates),
        stopped=stopped,
    )


def binding(
    selection: Selection, limits: Limits, candidates: Sequence[Candidate]
) -> tuple[BudgetName, ...]:
    """The smallest set of budgets that no candidate keeps together; the first of them in the order of verdicts."""
    kept = [
        {name for name in limits.names if selection.keeps(c, name)}
        for c in candidates
        if c.figures is not None
    ]
    for size in range(1, len(limits.names) + 1):
        for names in combinations(limits.names, size):
            if not any(own.issuperset(names) for own in kept):
                return names
    return ()


def _point(verdict: Verdict, candidate: Candidate, place: int) -> Point:
    assert verdict.measured is not None
    return Point(
        budget=verdict.budget,
        limit=verdict.limit,
        reached=verdict.measured,
        unit=verdict.unit,
        recipe=str(candidate.recipe),
        trial=place,
        allow=allowance(verdict),
    )


def allowance(verdict: Verdict) -> str:
    """A value for the spec with which a measured candidate keeps the budget.

    Bytes are rounded up to a tenth of the unit that people read, a drop to a hundredth of a point; a latency that is
    measured anew gets the upper end of its interval and 5 %.
    """
    reached = verdict.measured
    assert reached is not None
    if verdict.unit == "bytes":
        return _bytes(reached)
    if verdict.unit == "fraction":
        return f"{math.ceil(round(reached * 1e4, 6)) / 100:g} pp"
    if verdict.unit == "metric":
        return f"{math.floor(reached * 1e4) / 1e4:g}"
    high = max(reached, verdict.interval.high if verdict.interval else reached) * _ROOM
    if verdict.unit == "seconds":
        return _seconds(high)
    return f"{_up(high):g} {verdict.unit}"


def _bytes(count: float) -> str:
    for unit, scale in (("MiB", 2**20), ("KiB", 2**10)):
        if count >= scale:
            return f"{math.ceil(count / scale * 10) / 10:g} {unit}"
    return format_bytes(round(count), exact=True)


def _seconds(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= scale:
            return f"{_up(seconds / scale):g} {unit}"
    return f"{_up(seconds / 1e-9):g} ns"


def _up(value: float) -> float:
    """Rounded up to three digits that count."""
    scale = 10.0 ** (2 - math.floor(math.log10(value)))
    return math.ceil(round(value * scale, 6)) / scale
