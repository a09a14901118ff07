"""What each level of each part costs in quality and saves in bytes: where a search should begin.

A part's error is measured alone, everything else as it is. For families that store codes it is measured
last as well, as what it adds when all other parts are at their furthest level; the mean of both counts:

    error = (E({part}) + E(all) - E(all but part)) / 2

Parts share errors: two neighbours in integers share the code of the tensor between them, which alone
is charged to each of them, and last to neither. Alone and last are the two ends of the Shapley value's
average over all orders (Shapley 1953), and so their mean is what sums of parts are best predicted by.
Families that change structure are far beyond use when all parts are at their furthest, and measured
alone only.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from budgetc_specs.recipe import Value

from budgetc.search.settings import Levels, Settings
from budgetc.search.simulation import Say, Simulated, Subject, simulate
from budgetc.search.space import Choice, Family, Space


@dataclass(frozen=True)
class Effect:
    """One level of one part.

    Attributes:
        family: of the part.
        part: its name.
        level: what it is set to.
        error: noise-to-signal ratio of the outputs that it adds. Where a family is measured last as
            well this may be below 0: its error cancels some of the others'.
        drop: by how much the metric is worse with it alone; None without a metric.
        low: lower end of the drop's interval.
        high: its upper end.
        bytes_saved: of the weights as they are stored, with it alone.
        refused: why it cannot be; empty where it can, and the figures are 0 where it cannot.
    """

    family: str
    part: str
    level: Value
    error: float
    drop: float | None
    low: float | None
    high: float | None
    bytes_saved: int
    refused: str = ""


@dataclass(frozen=True)
class Sensitivity:
    """The effect of every level of every part but the first, in the order of the space.

    Attributes:
        effects: one for each.
        samples: how many samples they were judged on.
        weight_bytes: of the model that is cleaned and fused, as it is stored.
    """

    effects: tuple[Effect, ...]
    samples: int
    weight_bytes: int

    def of(self, family: str, part: str, level: Value) -> Effect | None:
        """The effect of one level; None for the first one, which has none."""
        return next(
            (e for e in self.effects if (e.family, e.part, e.level) == (family, part, level)), None
        )

    def ranked(self, family: str) -> tuple[Effect, ...]:
        """The levels of a family, from the least error for each byte saved to the most.

        What saves nothing comes last, and what cannot be is left out.
        """
        own = (e for e in self.effects if e.family == family and not e.refused)
        return tuple(sorted(own, key=_price))

    def error(self, settings: Settings) -> float:
        """The sum of the errors of all parts: what the settings' error is predicted to be."""
        return sum(e.error for e in self._of(settings))

    def bytes_saved(self, settings: Settings) -> int:
        """The sum of the bytes that all parts save, each counted as if it were alone."""
        return sum(e.bytes_saved for e in self._of(settings))

    def _of(self, settings: Settings) -> Iterator[Effect]:
        known = {(e.family, e.part, e.level): e for e in self.effects}
        for family, levels in settings.levels:
            yield from (known[family, part, level] for part, level in levels)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Sensitivity":
        """The inverse of `to_json`.

        Raises:
            KeyError, TypeError: it is none.
        """
        effects = tuple(Effect(**each) for each in value["effects"])
        return Sensitivity(effects, value["samples"], value["weight_bytes"])


def measure_sensitivity(
    space: Space,
    subject: Subject,
    say: Say,
    options: Levels | None = None,
    cache: Path | None = None,
) -> Sensitivity:
    """Simulate every level of every part; what was simulated before is not simulated again.

    Args:
        space: what can be chosen.
        subject: the model and its data.
        say: told what is being done.
        options: of families, where not their defaults; sensitivities are of these options.
        cache: as `simulate` takes it.

    Raises:
        ChildDied: onnxruntime or a pass of the preamble crashed, hung or ran out of memory.
        BudgetcError: the data, the metric or this machine is at fault.
    """
    given = options or {}

    def at(family: Family, levels: Mapping[str, Value]) -> Settings:
        return space.settings({family.name: levels}, {family.name: given.get(family.name, {})})

    wanted: dict[Settings, None] = {Settings(): None}
    for family, choice in space.choices():
        if family.stage == "codes":
            # The furthest comes first: what is measured for it, such as ranges, serves all the others.
            for level in reversed(choice.levels):
                wanted[at(family, _others_furthest(family, choice, level))] = None
    for family, choice in space.choices():
        for level in choice.levels[1:]:
            wanted[at(family, {choice.name: level})] = None
    recipes = [space.recipe(settings) for settings in wanted]
    found = dict(zip(wanted, simulate(subject, recipes, say, cache), strict=True))
    before = found[Settings()]
    effects = []
    for family, choice in space.choices():
        for level in choice.levels[1:]:
            alone = found[at(family, {choice.name: level})]
            last = None
            if family.stage == "codes":
                last = tuple(
                    found[at(family, _others_furthest(family, choice, each))]
                    for each in (choice.levels[0], level)
                )
            effects.append(_effect(family.name, choice.name, level, before, alone, last))
    return Sensitivity(tuple(effects), before.samples, before.weight_bytes)


def _others_furthest(family: Family, choice: Choice, level: Value) -> dict[str, Value]:
    return {c.name: level if c is choice else c.levels[-1] for c in family.choices}


def _effect(
    family: str,
    part: str,
    level: Value,
    before: Simulated,
    alone: Simulated,
    last: tuple[Simulated, ...] | None,
) -> Effect:
    if alone.refused:
        return Effect(family, part, level, 0.0, None, None, None, 0, alone.refused)
    error = alone.error - before.error
    if last is not None and not any(each.refused for each in last):
        without, within = last
        error = (error + within.error - without.error) / 2
    saved = before.weight_bytes - alone.weight_bytes
    return Effect(family, part, level, error, alone.drop, alone.low, alone.high, saved)


def _price(effect: Effect) -> tuple[bool, float]:
    if effect.bytes_saved <= 0:
        return True, effect.error
    return False, effect.error / effect.bytes_saved
