"""What the budgets imply for one target, before anything is built: needs, bounds, choices, expected figures."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_specs.recipe import Recipe
from budgetc_specs.units import format_bytes, format_seconds

from budgetc.build import Job
from budgetc.figures import Figures, Limits
from budgetc.model import Model
from budgetc.result import Bound
from budgetc.search.bounds import find_bounds
from budgetc.search.knobs import Knobs
from budgetc.search.ladder import Cost, Gain
from budgetc.search.simulations import Simulated, Simulations
from budgetc.search.space import Family, Space
from budgetc.search.study import first_points

POINTS = 6
"""Candidates whose figures are predicted."""


@dataclass(frozen=True)
class Need:
    """What a budget asks of the model or of the hardware.

    Attributes:
        budget: which.
        what: such as "bits per weight, at most".
        value: how much.
        text: the same for people, with what the model takes as it is.
    """

    budget: str
    what: str
    value: float
    text: str


@dataclass(frozen=True)
class Expected:
    """A candidate and what is expected of it; no figures where it was refused, and why."""

    recipe: str
    origin: str
    figures: Figures | None
    excess: Mapping[str, float]
    refusal: str = ""


@dataclass(frozen=True)
class Plan:
    """What is known of one target without a build.

    Attributes:
        target: its name in the spec.
        capability: its sheet.
        needs: what the budgets ask for.
        bounds: what no candidate can go below.
        space: what can be chosen.
        points: candidates and what is expected of them.
        validation: which data quality is judged on.
        notes: what else is worth knowing.
    """

    target: str
    capability: Capability
    needs: tuple[Need, ...]
    bounds: tuple[Bound, ...]
    space: Space
    points: tuple[Expected, ...]
    validation: str
    notes: tuple[str, ...] = ()

    @property
    def out_of_reach(self) -> tuple[Bound, ...]:
        """The bounds that are beyond their budgets."""
        return tuple(bound for bound in self.bounds if bound.beyond)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, in bytes, seconds and fractions."""
        return {
            "target": self.target,
            "capability": self.capability.model_dump(mode="json"),
            "needs": [asdict(need) for need in self.needs],
            "bounds": [{**asdict(bound), "beyond": bound.beyond} for bound in self.bounds],
            "space": [_family_json(family) for family in self.space.families],
            "points": [asdict(point) for point in self.points],
            "validation": self.validation,
            "notes": list(self.notes),
        }


def make_plan(
    target: str,
    job: Job,
    space: Space,
    limits: Limits,
    simulations: Simulations,
    validation: str,
    recipe: Recipe | None = None,
) -> Plan:
    """Predict a few candidates that stand for the space, and hold the budgets against them.

    Args:
        target: its name in the spec.
        job: what all candidates share.
        space: what can be chosen.
        limits: the budgets.
        simulations: tell what candidates would be.
        validation: which data quality is judged on.
        recipe: the only one that a spec allows; None leaves the choice to the search.

    Raises:
        SpecError, EnvironmentError_: the spec or this machine is at fault.
    """
    knobs = Knobs(space, _size_of_level(space), _size_of_level(space))
    furthest = space.furthest()
    proposals = [p for p in first_points(space, knobs, POINTS - 1) if p.settings != furthest]
    named = [(space.recipe(p.settings), p.origin) for p in proposals]
    named.append((space.recipe(furthest), "every pass at its most"))
    if recipe is not None:
        named = [named[0], (recipe, "the recipe of the spec")]
    found = simulations.simulate([recipe for recipe, _ in named])
    points = [_expected(s, origin, limits) for s, (_, origin) in zip(found, named, strict=True)]
    return Plan(
        target=target,
        capability=job.capability,
        needs=needs(job.model, found[0], limits),
        bounds=find_bounds(found, limits),
        space=space,
        points=tuple(points),
        validation=validation,
        notes=space.notes,
    )


def needs(model: Model, as_it_is: Simulated, limits: Limits) -> tuple[Need, ...]:
    """What each budget asks for, beside what the cleaned and fused model takes.

    Args:
        model: the model as the spec names it.
        as_it_is: what is known of it after cleaning and fusing.
        limits: the budgets.
    """
    found = []
    budgets = limits.budgets
    macs = sum(int(layer["macs"]) for layer in as_it_is.layers)
    figures = as_it_is.choices[-1] if as_it_is.choices else None
    code = figures.size - as_it_is.weight_bytes if figures else 0
    if budgets.size and model.parameter_count:
        bits = max(0.0, (budgets.size.max_bytes - code) * 8 / model.parameter_count)
        text = (
            f"{bits:.3g} bits for each of {model.parameter_count:,} weights, beside "
            f"{format_bytes(code)} of code; they have 32"
        )
        found.append(Need("size", "bits per weight, at most", bits, text))
    if budgets.memory and figures:
        share = budgets.memory.max_bytes / figures.memory
        text = f"{share:.0%} of the {format_bytes(figures.memory)} that one inference of the float model takes"
        if as_it_is.arena_bound:
            text += (
                f"; its workspace of {format_bytes(as_it_is.arena)} cannot be below "
                f"{format_bytes(as_it_is.arena_bound)} in any order of its calls"
            )
        found.append(Need("memory", "share of the float model's memory", share, text))
    seconds = limits.seconds
    if seconds is not None and macs:
        pace = macs / seconds
        text = (
            f"{macs:,} multiply-accumulates in {format_seconds(seconds)}: {pace / 1e9:.3g} billion "
            f"a second"
        )
        if figures and figures.latency:
            text += f"; the float model is expected to do {macs / figures.latency / 1e9:.3g}"
        found.append(Need("latency", "multiply-accumulates a second, at least", pace, text))
        moved = as_it_is.weight_bytes / seconds
        text = (
            f"{format_bytes(as_it_is.weight_bytes)} of float weights are read by each inference: "
            f"{moved / 1e9:.3g} GB a second"
        )
        found.append(Need("latency", "bytes of weights read a second", moved, text))
    return tuple(found)


def _expected(simulated: Simulated, origin: str, limits: Limits) -> Expected:
    figures = simulated.figures(limits)
    excess = limits.excess(figures) if figures else {}
    named = {str(name): part for name, part in excess.items()}
    return Expected(str(simulated.recipe), origin, figures, named, simulated.refusal)


def _size_of_level(space: Space) -> Cost | Gain:
    """Sensitivities take longer than a plan may: levels stand in for what they cost and save."""
    weights = {(f.name, c.name): c.float_bytes for f, c in space.choices()}

    def measure(family: str, part: str, level: Any) -> float:
        levels = space.family(family).choice(part).levels
        return weights[family, part] * levels.index(level) / (len(levels) - 1)

    return measure


def _family_json(family: Family) -> dict[str, Any]:
    return {
        "name": family.name,
        "stage": family.stage,
        "parts": [
            {
                "name": choice.name,
                "levels": list(choice.levels),
                "parameters": choice.parameters,
                "macs": choice.macs,
            }
            for choice in family.choices
        ],
        "options": {name: list(values) for name, values in family.options},
    }
