"""The search space of one model on one target: what installed passes offer, and recipes from settings."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from budgetc_passes.offer import STAGES, Stage
from budgetc_specs.capability import Capability
from budgetc_specs.errors import SpecError, did_you_mean, quoted
from budgetc_specs.recipe import Recipe, Step, Value, parse_recipe

from budgetc.learning import Learning
from budgetc.registry import find_pass, make_passes
from budgetc.search.settings import Levels, Settings
from budgetc.worker import run_child

PREAMBLE = (Step.of("clean"), Step.of("fuse"), Step.of("clean"))
"""What every recipe of a space begins with: the same function in fewer operations."""

OFFER_SECONDS = 600.0
OFFER_BYTES = 8 * 2**30


@dataclass(frozen=True)
class Choice:
    """One part of a model, its levels, and what it weighs in the cleaned and fused model.

    Attributes:
        name: as recipes name it.
        levels: the first leaves it as it is, the others follow by growing effect.
        nodes: names of the nodes that change with it.
        parameters: elements of the constants that change with it.
        float_bytes: their size as they are stored there.
        macs: multiply-accumulates of one inference in its nodes: products and convolutions.
    """

    name: str
    levels: tuple[Value, ...]
    nodes: tuple[str, ...]
    parameters: int
    float_bytes: int
    macs: int


@dataclass(frozen=True)
class Family:
    """What one pass offers for the model.

    Attributes:
        name: of the pass.
        stage: where in a recipe its step stands.
        choices: its parts, in the order of the graph.
        options: what is chosen once for all of them; the default is the first value.
    """

    name: str
    stage: Stage
    choices: tuple[Choice, ...]
    options: tuple[tuple[str, tuple[Value, ...]], ...] = ()

    def choice(self, part: str) -> Choice:
        """The choice of a part.

        Raises:
            SpecError: there is no such part.
        """
        named = {choice.name: choice for choice in self.choices}
        if part not in named:
            raise SpecError.of(
                f"{self.name} has no part {quoted(part)} in this model", did_you_mean(part, named)
            )
        return named[part]


@dataclass(frozen=True)
class Space:
    """Everything that can be chosen for one model on one target.

    Attributes:
        families: those that offer something, in the order in which their steps stand in a recipe.
        preamble: the steps before them.
        notes: what was left out and why, a sentence each.
    """

    families: tuple[Family, ...]
    preamble: tuple[Step, ...] = PREAMBLE
    notes: tuple[str, ...] = field(default=(), compare=False)

    def family(self, name: str) -> Family:
        """The family of that name.

        Raises:
            SpecError: none offers anything under that name.
        """
        named = {family.name: family for family in self.families}
        if name not in named:
            known = ", ".join(named) or "none"
            raise SpecError.of(
                f"{quoted(name)} offers nothing for this model",
                f"{did_you_mean(name, named)} the families that do: {known}.".strip(),
            )
        return named[name]

    def choices(self) -> Iterator[tuple[Family, Choice]]:
        """Every part of every family."""
        return ((family, choice) for family in self.families for choice in family.choices)

    def settings(self, levels: Levels, options: Levels | None = None) -> Settings:
        """Settings with these levels; what they do not name stays as it is.

        Raises:
            SpecError: a family, part, level, option or value is not of this space.
        """
        chosen = {
            name: {
                part: _one_of(level, self.family(name).choice(part).levels, f"{name}: {part}")
                for part, level in parts.items()
                if level != self.family(name).choice(part).levels[0]
            }
            for name, parts in levels.items()
        }
        given: dict[str, dict[str, Value]] = {}
        for name, values in (options or {}).items():
            known = dict(self.family(name).options)
            for option, value in values.items():
                if option not in known:
                    raise SpecError.of(
                        f"{name} does not offer the option {quoted(option)} to the search",
                        did_you_mean(option, known),
                    )
                chosen_value = _one_of(value, known[option], f"{name}: {option}")
                if chosen_value != known[option][0]:
                    given.setdefault(name, {})[option] = chosen_value
        return Settings.of(chosen, given)

    def uniform(self, family: str, level: Value, **options: Value) -> Settings:
        """One level for all parts of a family; where it is a number, the nearest that each part has.

        So `uniform("prune", 0.3)` means what the recipe `prune{ratio=0.3}` does: kept numbers are
        rounded there, and levels that differ in nothing are one level here. Of two that are equally
        near, the smaller one is taken.

        Raises:
            SpecError: the space has no such family, no such level or no such option.
        """
        chosen: dict[str, Value] = {}
        for choice in self.family(family).choices:
            numbers = [own for own in choice.levels if isinstance(own, int | float)]
            if isinstance(level, str | bool) or not numbers:
                chosen[choice.name] = level
            else:
                chosen[choice.name] = min(numbers, key=lambda own: abs(own - level))
        return self.settings({family: chosen}, {family: options})

    def furthest(self) -> Settings:
        """Every part of every family at its last level, by default options."""
        return self.settings(
            {f.name: {c.name: c.levels[-1] for c in f.choices} for f in self.families}
        )

    def full(self, settings: Settings, family: Family) -> dict[str, Value]:
        """The level of every part of a family."""
        own = dict(dict(settings.levels).get(family.name, ()))
        return {choice.name: own.get(choice.name, choice.levels[0]) for choice in family.choices}

    def recipe(self, settings: Settings) -> Recipe:
        """The recipe that brings the model to the settings.

        Raises:
            SpecError: the settings are not of this space, or a family's step is not one of its pass.
        """
        said = settings.to_json()
        self.settings(said["levels"], said["options"])
        steps = {stage: list[Step]() for stage in STAGES}
        for family in self.families:
            given = dict(dict(settings.options).get(family.name, ()))
            options = {name: given.get(name, values[0]) for name, values in family.options}
            kind: Any = find_pass(family.name)
            step = kind.step(self.full(settings, family), options)
            if step is not None:
                steps[family.stage].append(step)
        structure = [*steps["structure"], Step.of("clean")] if steps["structure"] else []
        return Recipe((*self.preamble, *structure, *steps["codes"], *steps["halves"]))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "preamble": str(Recipe(self.preamble)),
            "families": [asdict(family) for family in self.families],
            "notes": list(self.notes),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Space":
        """The inverse of `to_json`.

        Raises:
            KeyError: a key is missing.
        """
        families = tuple(
            Family(
                name=each["name"],
                stage=each["stage"],
                choices=tuple(
                    Choice(**{**c, "levels": tuple(c["levels"]), "nodes": tuple(c["nodes"])})
                    for c in each["choices"]
                ),
                options=tuple((name, tuple(values)) for name, values in each["options"]),
            )
            for each in value["families"]
        )
        return Space(families, parse_recipe(value["preamble"]).steps, tuple(value["notes"]))


def _one_of(value: Value, known: tuple[Value, ...], what: str) -> Value:
    """The value as the space writes it: 0 may stand for 0.0."""
    if value not in known:
        raise SpecError.of(
            f"{what} cannot be {quoted(value)}", f"it is one of {', '.join(map(str, known))}."
        )
    return known[known.index(value)]


def find_space(
    model_file: Path,
    source: Path,
    capability: Capability,
    *,
    calibrated: bool,
    preamble: tuple[Step, ...] = PREAMBLE,
    calibration: Path | None = None,
    learning: Learning | None = None,
) -> Space:
    """Ask every installed pass that is `Searchable` what it offers for a model.

    The passes run in a child, on the model as the preamble leaves it.

    Args:
        model_file: a normalised model, such as `Job.model_file`.
        source: where the model came from, for messages.
        capability: the target's sheet.
        calibrated: whether there is calibration data. Without it, families that need it are left out.
        preamble: what comes before; it leaves the model as the preamble of all spaces does, and may train.
        calibration: samples for its passes, or None.
        learning: what they learn from, or None.

    Raises:
        ChildDied: a pass crashed, hung or ran out of memory.
        BudgetcError: a pass of the preamble refuses the model, or a plugin is at fault.
    """
    answer = run_child(
        "budgetc.search.offers:list_offers",
        {
            "model": str(model_file),
            "source": str(source),
            "capability": capability.model_dump(mode="json"),
            "preamble": str(Recipe(preamble)),
            "calibrated": calibrated,
            "calibration": str(calibration) if calibration else None,
            "learning": learning.to_json() if learning else None,
        },
        timeout_s=OFFER_SECONDS,
        memory_bytes=OFFER_BYTES,
    )
    space = Space.from_json(answer)
    if calibrated:
        return space
    kept = tuple(family for family in space.families if not _needs_calibration(family))
    return Space(kept, space.preamble, space.notes)


def _needs_calibration(family: Family) -> bool:
    alone = Space((family,))
    furthest = {choice.name: choice.levels[-1] for choice in family.choices}
    made = make_passes(alone.recipe(alone.settings({family.name: furthest})))
    return any(each.needs().calibration for each in made)
