"""The certificate of a search that found nothing: which budgets bind, what comes nearest, what is out of reach."""

import math
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from itertools import combinations

from budgetc_specs.units import SECONDS, format_bytes, parse_points

from budgetc.figures import Limits
from budgetc.regression import figure_of
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
    # Where a budget cannot be judged here, no point would keep it, however near it is to the others.
    for budget in () if limits.unjudged else limits.names:
        nearest = selection.nearest(budget)
        if nearest is not None and nearest.trial is not None:
            verdict = next(v for v in nearest.trial.verdicts if v.budget == budget)
            if verdict.measured is not None and not verdict.holds and _can_be_allowed(verdict):
                points.append(_point(verdict, nearest, places.index(nearest)))
    candidates = explorer.candidates
    return Proof(
        binding=limits.unjudged or binding(selection, limits, candidates),
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
    known = [c for c in candidates if c.figures is not None]
    kept = [{name for name in limits.names if selection.keeps(c, name)} for c in known]
    built = [own for own, c in zip(kept, known, strict=True) if c.trial is not None]
    # What is expected to keep all, and was not built any more, binds nothing: then measurements alone tell.
    binds = _uncovered(limits.names, kept) if kept else ()
    return _uncovered(limits.names, built) if built and not binds else binds


def _uncovered(
    names: Sequence[BudgetName], kept: Sequence[set[BudgetName]]
) -> tuple[BudgetName, ...]:
    """The first of the smallest combinations of budgets that none keeps."""
    for size in range(1, len(names) + 1):
        for some in combinations(names, size):
            if not any(own.issuperset(some) for own in kept):
                return some
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


def _can_be_allowed(verdict: Verdict) -> bool:
    """Whether a spec can say it: no drop is above 100 points."""
    return verdict.unit != "fraction" or (verdict.measured or 0.0) <= 1


def allowance(verdict: Verdict) -> str:
    """A value for the spec with which a measured candidate keeps the budget.

    Bytes are rounded up to a tenth of the unit that people read, a drop to a hundredth of a point; a latency that is
    measured anew gets the upper end of its interval and 5 %. A growth since a baseline is percent of that.
    """
    reached = verdict.measured
    assert reached is not None
    if figure_of(verdict.budget) and verdict.unit != "fraction":
        return _percent(verdict)
    if verdict.unit == "seconds" or verdict.unit.startswith("x "):
        reached = max(reached, verdict.interval.high if verdict.interval else reached) * _ROOM
    return written(reached, verdict.unit)


def written(value: float, unit: str) -> str:
    """A figure as the limit that a spec has, rounded so that the figure keeps it.

    Args:
        value: the figure.
        unit: as in `Verdict`.
    """
    if unit == "bytes":
        return _bytes(math.ceil(value))
    if unit == "fraction":
        return _points(value)
    if unit == "metric":
        return _decimal(math.floor(Fraction(value) * 10**4), 4)
    if unit == "seconds":
        return _seconds(value)
    return f"{_up(Fraction(value))} {unit}"


def _bytes(count: int) -> str:
    for unit, scale in (("MiB", 2**20), ("KiB", 2**10)):
        if count >= scale:
            return f"{_decimal(math.ceil(Fraction(count * 10, scale)), 1)} {unit}"
    return format_bytes(count, exact=True)


def _points(fraction: float) -> str:
    """The first hundredth of a point that does not fall short of it, as it will be read."""
    hundredths = math.floor(Fraction(fraction) * 10**4)
    while parse_points(text := f"{_decimal(hundredths, 2)} pp") < fraction:
        hundredths += 1
    return text


def _percent(verdict: Verdict) -> str:
    """By how much a figure may have grown since the baseline, rounded up to a tenth of a percent."""
    reached, baseline = verdict.measured, verdict.baseline
    assert reached is not None
    assert baseline is not None
    if verdict.unit == "seconds":
        reached = max(reached, verdict.interval.high if verdict.interval else reached) * _ROOM
    grown = max(Fraction(reached) / Fraction(baseline) - 1, Fraction(0))
    return f"{_decimal(math.ceil(grown * 1000), 1)} %"


def _seconds(seconds: float) -> str:
    value = Fraction(seconds)
    for unit in ("s", "ms", "us"):
        if value >= SECONDS[unit]:
            return f"{_up(value / SECONDS[unit])} {unit}"
    return f"{_up(value / SECONDS['ns'])} ns"


def _up(value: Fraction) -> str:
    """Rounded up to three digits that count."""
    digits = max(0, 2 - math.floor(math.log10(value)))
    return _decimal(math.ceil(value * 10**digits), digits)


def _decimal(count: int, digits: int) -> str:
    """So many units of a decimal place, written without an exponent."""
    text = f"{Decimal(count).scaleb(-digits):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
