"""Structures that keep size, memory and latency: known without training, and so the only ones that are trained.

Along each direction, as "all groups pruned alike" or "convolutions split, and the larger groups pruned more", a library
becomes smaller and faster step by step. Of each direction the largest structure is taken that keeps the budgets, found
by halving the interval, all directions at once.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from budgetc_passes.offer import Gradual, Searchable
from budgetc_specs.recipe import Step, Value

from budgetc.figures import Limits
from budgetc.registry import find_pass
from budgetc.search.explorer import Candidate, Explorer
from budgetc.search.space import Choice, Family, Space
from budgetc.strategy.way import Way
from budgetc.verdict import BudgetName

GRID = 64
"""Steps from nothing to the most along a direction."""

MOST = 0.95
"""Share of a part that is taken at most."""

_QUALITY: frozenset[BudgetName] = frozenset({"quality", "worst_slice", "quality_regression"})

Shares = Callable[[Sequence[Choice], float], Mapping[str, float]]


def alike(choices: Sequence[Choice], share: float) -> dict[str, float]:
    """The same share from every part."""
    return {choice.name: share for choice in choices}


def tilted(larger: float, smaller: float) -> Shares:
    """These parts of the share: from the half of the parts with most parameters, and from the others."""

    def shares(choices: Sequence[Choice], share: float) -> dict[str, float]:
        large = _larger_half(choices)
        return {c.name: share * (larger if c.name in large else smaller) for c in choices}

    return shares


def _larger_half(choices: Sequence[Choice]) -> frozenset[str]:
    ranked = sorted(choices, key=lambda choice: (-choice.parameters, choice.name))
    return frozenset(choice.name for choice in ranked[: (len(ranked) + 1) // 2])


TILTS: tuple[tuple[str, Shares], ...] = (
    ("all alike", alike),
    ("larger parts more", tilted(1.0, 0.5)),
    ("smaller parts more", tilted(0.5, 1.0)),
    ("larger parts much more", tilted(1.0, 0.2)),
    ("smaller parts much more", tilted(0.2, 1.0)),
)


@dataclass(frozen=True)
class Direction:
    """A row of structures, each smaller than the one before.

    Attributes:
        origin: in words.
        at: the steps that make the structure with a share, from 0 to `MOST`.
        codes: the steps that store it.
        gradual: whether the share matters.
        furthest: whether no tilt of it ends with fewer weights: every part gives its most.
    """

    origin: str
    at: Callable[[float], tuple[Step, ...]]
    codes: tuple[Step, ...]
    gradual: bool
    furthest: bool


def directions(space: Space) -> list[Direction]:
    """Those of a space, the most promising first: in codes, with one family by levels and one by shares."""
    structure = [f for f in space.families if f.stage == "structure"]
    gradual: list[Family | None] = [f for f in structure if isinstance(find_pass(f.name), Gradual)]
    bases = [
        (family, level)
        for family in structure
        if family not in gradual
        for level in reversed(_levels(family))
    ]
    codes = codes_of(space)
    found = []
    for (rank, (tilt, shares)), moved in product(enumerate(TILTS), gradual or [None]):
        for number, base in enumerate([None, *bases]):
            words = [f"{base[0].name} {base[1]}"] if base else []
            words += [f"{moved.name}, {tilt}"] if moved else []
            at = _structures(structure, moved, shares, base)
            origin = " and ".join(words) or "as it is"
            made = Direction(origin, at, codes, gradual=moved is not None, furthest=rank == 0)
            if moved is not None or rank == 0:
                found.append((rank + number, rank, made))
    found.sort(key=lambda each: each[:2])
    plain = Direction("as it is", lambda _share: (), (), gradual=False, furthest=False)
    return [plain, *(made for _, _, made in found)] if codes else [made for _, _, made in found]


def codes_of(
    space: Space, options: Mapping[str, Mapping[str, Value]] | None = None
) -> tuple[Step, ...]:
    """The steps that store all that can be stored in codes so.

    Args:
        space: what can be chosen.
        options: of families, where not their defaults.
    """
    given = options or {}
    steps = []
    for family in space.families:
        if family.stage == "codes":
            levels = {choice.name: choice.levels[-1] for choice in family.choices}
            steps.append(_step(family, levels, given.get(family.name, {})))
    return tuple(step for step in steps if step is not None)


def _structures(
    families: Sequence[Family],
    moved: Family | None,
    shares: Shares,
    base: tuple[Family, Value] | None,
) -> Callable[[float], tuple[Step, ...]]:
    def at(share: float) -> tuple[Step, ...]:
        steps: list[Step | None] = []
        for family in families:
            if moved is not None and family is moved:
                steps.append(_gradual(family, shares(family.choices, share)))
            elif base is not None and family is base[0]:
                levels = {c.name: _nearest(c, base[1]) for c in family.choices}
                steps.append(_step(family, levels, {}))
        return tuple(step for step in steps if step is not None)

    return at


def _levels(family: Family) -> list[Value]:
    """Every level of a family but the first, by growing effect."""
    longest = max((choice.levels for choice in family.choices), key=len)
    return list(longest[1:])


def _nearest(choice: Choice, level: Value) -> Value:
    return level if level in choice.levels else choice.levels[-1]


def _options(family: Family, given: Mapping[str, Value]) -> dict[str, Value]:
    return {name: given.get(name, values[0]) for name, values in family.options}


def _step(family: Family, levels: Mapping[str, Value], given: Mapping[str, Value]) -> Step | None:
    kind = find_pass(family.name)
    if not isinstance(kind, Searchable):
        message = f"BUG: {family.name} is in the space and offers nothing"
        raise TypeError(message)
    return kind.step(levels, _options(family, given))


def _gradual(family: Family, shares: Mapping[str, float]) -> Step | None:
    kind = find_pass(family.name)
    if not isinstance(kind, Gradual):
        message = f"BUG: {family.name} takes no shares"
        raise TypeError(message)
    return kind.gradual(shares, _options(family, {}))


def smallest(found: Sequence[Direction], start: Way) -> list[Way]:
    """The ends of the directions that go furthest: no structure has fewer weights than all of these.

    Args:
        found: all directions of a space.
        start: what is done before.
    """
    ways = [_along(direction, MOST, start) for direction in found if direction.furthest]
    return list({way.recipe: way for way in ways}.values())


def _along(direction: Direction, share: float, start: Way) -> Way:
    return replace(start, structure=direction.at(share), codes=direction.codes)


def fits(candidate: Candidate, limits: Limits) -> bool:
    """Whether a candidate is expected to keep every budget that training does not change."""
    if candidate.figures is None:
        return False
    excess = limits.excess(candidate.figures)
    return all(part <= 0 for name, part in excess.items() if name not in _QUALITY)


def fitting(
    found: Sequence[Direction], start: Way, explorer: Explorer, limits: Limits
) -> list[Way]:
    """The largest structure of each direction that fits, in the order of the directions.

    Args:
        found: the directions.
        start: what is done before.
        explorer: simulates structures.
        limits: the budgets.
    """

    def way(direction: Direction, step: int) -> Way:
        return _along(direction, MOST * step / GRID, start)

    def look(steps: Mapping[int, int]) -> dict[int, bool]:
        """Whether each direction, by its number, fits at a step."""
        ways = {number: way(found[number], step) for number, step in steps.items()}
        named = {each.recipe: f"structure: {found[n].origin}" for n, each in ways.items()}
        seen = dict(zip(named, explorer.look_at_all(named), strict=True))
        return {number: fits(seen[each.recipe], limits) for number, each in ways.items()}

    whole = look(dict.fromkeys(range(len(found)), 0))
    taken = {number: 0 for number, kept in whole.items() if kept}
    far = [n for n, kept in whole.items() if not kept and found[n].gradual]
    ends = look(dict.fromkeys(far, GRID))
    between = {number: (0, GRID) for number, kept in ends.items() if kept}
    while open_ := {n: sum(each) // 2 for n, each in between.items() if each[1] - each[0] > 1}:
        for number, kept in look(open_).items():
            low, high = between[number]
            between[number] = (low, open_[number]) if kept else (open_[number], high)
    taken |= {number: high for number, (_, high) in between.items()}
    ways = [way(found[number], taken[number]) for number in sorted(taken)]
    return list({each.recipe: each for each in ways}.values())
