"""A search space as a few knobs: how far each family goes, its options, and the parts that matter most."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from budgetc_specs.recipe import Value

from budgetc.search.ladder import Cost, Gain, Rung, ladder, rung_at
from budgetc.search.settings import Settings
from budgetc.search.space import Family, Space

STEPS = 24
"""Positions of a knob that goes from nothing to the most that a family can do."""

NUDGED = 6
"""Parts of a family that have a knob of their own."""

Setting = str | int
Params = Mapping[str, Setting]


@dataclass(frozen=True)
class Knob:
    """One knob: its name, and its positions in order."""

    name: str
    positions: tuple[Setting, ...]


class Knobs:
    """Turns positions of knobs into settings.

    For each family: `F.order` (`ranked` goes along the ladder of costs, `uniform` brings all parts to one level),
    `F.amount` (0 to `STEPS`), `F.OPTION` (index of the value), and for the parts that cost most `F.part.N` (one level
    up or down from where the order has put it).

    Args:
        space: what can be chosen.
        cost: what a level costs in quality.
        gain: what it saves.
    """

    def __init__(self, space: Space, cost: Cost, gain: Gain) -> None:
        self._space = space
        self._ladders = {f.name: ladder(f, cost, gain) for f in space.families}
        self._nudged = {f.name: _costliest(f, cost) for f in space.families}
        self.knobs = tuple(self._knobs())

    def settings(self, params: Params) -> Settings:
        """What positions mean. A knob that is not named stands at 0, `uniform` or the default."""
        levels: dict[str, dict[str, Value]] = {}
        options: dict[str, dict[str, Value]] = {}
        for family in self._space.families:
            own = self._levels(family, params)
            for number, part in enumerate(self._nudged[family.name]):
                known = family.choice(part).levels
                shift = int(params.get(f"{family.name}.part.{number}", 0))
                index = known.index(own.get(part, known[0])) + shift
                own[part] = known[min(max(index, 0), len(known) - 1)]
            levels[family.name] = own
            if any(own[c.name] != c.levels[0] for c in family.choices if c.name in own):
                options[family.name] = {
                    name: values[int(params.get(f"{family.name}.{name}", 0))]
                    for name, values in family.options
                }
        return self._space.settings(levels, options)

    def uniform_levels(self, family: Family) -> tuple[Value, ...]:
        """Every level that some part has, the first left out, in order."""
        longest = max((c.levels for c in family.choices), key=len)
        rest = {level: None for c in family.choices for level in c.levels[1:]}
        if all(isinstance(level, int | float) for level in rest):
            return tuple(sorted(rest))
        return longest[1:]

    def amount_of(self, family: Family, index: int) -> int:
        """The position of `F.amount` at which `uniform` is the level of this index."""
        return -(-STEPS * (index + 1) // len(self.uniform_levels(family)))

    def _levels(self, family: Family, params: Params) -> dict[str, Value]:
        amount = int(params.get(f"{family.name}.amount", 0))
        if not amount:
            return {}
        if params.get(f"{family.name}.order", "uniform") == "uniform":
            levels = self.uniform_levels(family)
            level = (
                levels[amount * len(levels) // STEPS - 1]
                if amount >= STEPS // len(levels)
                else None
            )
            if level is None:
                return {}
            uniform = self._space.uniform(family.name, level)
            return dict(dict(uniform.levels).get(family.name, ()))
        return dict(self._rung(family, amount / STEPS).levels)

    def _rung(self, family: Family, share: float) -> Rung:
        return rung_at(self._ladders[family.name], share)

    def _knobs(self) -> Sequence[Knob]:
        found = []
        for family in self._space.families:
            name = family.name
            found.append(Knob(f"{name}.amount", tuple(range(STEPS + 1))))
            found.append(Knob(f"{name}.order", ("ranked", "uniform")))
            found += [
                Knob(f"{name}.{option}", tuple(range(len(values))))
                for option, values in family.options
                if len(values) > 1
            ]
            found += [
                Knob(f"{name}.part.{number}", (-1, 0, 1))
                for number in range(len(self._nudged[name]))
            ]
        return found


def _costliest(family: Family, cost: Cost) -> tuple[str, ...]:
    """The parts whose last level costs most, the most first."""
    ranked = sorted(family.choices, key=lambda c: -cost(family.name, c.name, c.levels[-1]))
    return tuple(choice.name for choice in ranked[:NUDGED])
