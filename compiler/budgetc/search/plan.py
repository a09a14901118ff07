"""The candidates of a target, from the least loss of quality to the smallest, and what rules one out unbuilt."""

from collections.abc import Iterator
from typing import Literal

from budgetc_specs.budgets import Budgets
from budgetc_specs.recipe import Recipe, Step
from budgetc_specs.units import format_bytes

from budgetc.model import Model

PRUNE_RATIOS = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75)

_FLOAT = (Step.of("clean"), Step.of("fuse"), Step.of("clean"))


def float_recipe() -> Recipe:
    """Cleaned and fused: the same function in fewer operations."""
    return Recipe(_FLOAT)


def int8_recipe(**options: str) -> Recipe:
    """Static int8; by default with min-max calibration."""
    return Recipe((*_FLOAT, Step.of("quantize", **options)))


def candidates(
    passes: Recipe | Literal["auto"], *, calibrated: bool, quantized: bool = False
) -> Iterator[Recipe]:
    """Recipes in the order in which they are tried; the first that keeps all budgets is taken.

    Without calibration data there is nothing to quantize with, and pruned float models take the place of pruned
    int8 ones. A model that is quantized already is taken as it is: its codes are somebody's choice.
    """
    if passes != "auto":
        yield passes
        return
    yield float_recipe()
    if quantized:
        return
    if calibrated:
        for calibration in ("minmax", "mse", "percentile"):
            yield int8_recipe(calibration=calibration)
    for ratio in PRUNE_RATIOS:
        steps = (*_FLOAT, Step.of("prune", ratio=ratio), Step.of("clean"))
        if calibrated:
            yield Recipe((*steps, Step.of("quantize", calibration="mse")))
        else:
            yield Recipe(steps)


def out_of_reach(model: Model, budgets: Budgets) -> str | None:
    """Why no library with this model's weights can keep the size budget, or None if one might."""
    if budgets.size and model.weight_bytes > budgets.size.max_bytes:
        return (
            f"its weights alone take {format_bytes(model.weight_bytes)}, the size budget is "
            f"{format_bytes(budgets.size.max_bytes)}"
        )
    return None
