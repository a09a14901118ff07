"""Recipes that are looked at on their own: the float model, and plain static int8."""

from budgetc_specs.recipe import Recipe, Step

from budgetc.search.space import PREAMBLE


def float_recipe() -> Recipe:
    """Cleaned and fused: the same function in fewer operations."""
    return Recipe(PREAMBLE)


def int8_recipe(**options: str) -> Recipe:
    """Static int8; by default with min-max calibration."""
    return Recipe((*PREAMBLE, Step.of("quantize", **options)))
