"""The figures after each step of a recipe that a strategy came to: as it is, larger, trained, smaller, in codes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from budgetc_passes.offer import Growing
from budgetc_specs.recipe import Recipe, Step

from budgetc.learning import learners
from budgetc.registry import find_pass
from budgetc.search.explorer import Candidate
from budgetc.search.space import PREAMBLE, Space
from budgetc.strategy.halving import reached
from budgetc.strategy.way import epochs_of, words
from budgetc.strategy_record import StepKind, StrategyStep

_HOUSEKEEPING = ("clean", "fuse")


@dataclass(frozen=True)
class Stair:
    """One step of a recipe: those of one kind that follow each other.

    Attributes:
        kind: which.
        steps: of the recipe.
        recipe: that ends with it.
        epochs: that were trained so far.
    """

    kind: StepKind
    steps: tuple[Step, ...]
    recipe: Recipe
    epochs: int


def stairs(recipe: Recipe, space: Space) -> list[Stair]:
    """The steps of a recipe, the model as it is first."""
    found = [Stair("float", (), Recipe(PREAMBLE), 0)]
    trained = {step.name for step in learners(recipe)}
    epochs = 0
    for at, step in enumerate(recipe.steps, 1):
        kind = _kind(step, space, trained, [stair.kind for stair in found])
        if kind is None:
            continue
        epochs += epochs_of(step) if step.name in trained else 0
        again = found[-1].kind == kind
        steps = (*found[-1].steps, step) if again else (step,)
        found[-1 if again else len(found) :] = [Stair(kind, steps, _whole(recipe, at), epochs)]
    return found


def _kind(
    step: Step, space: Space, trained: set[str], before: Sequence[StepKind]
) -> StepKind | None:
    if step.name in _HOUSEKEEPING:
        return None
    if step.name in trained:
        if "coded" in before:
            return "tuned"
        return "raised" if "grown" in before and "shrunk" not in before else "trained"
    if isinstance(find_pass(step.name), Growing):
        return "grown"
    stage = next((f.stage for f in space.families if f.name == step.name), "structure")
    return "coded" if stage == "codes" else "shrunk"


def _whole(recipe: Recipe, count: int) -> Recipe:
    """The first steps of a recipe, folded and cleaned as all of it will be."""
    steps = recipe.steps[:count]
    if any(step.name == "fuse" for step in steps):
        return Recipe(steps)
    shrunk = (Step.of("clean"),) if recipe.steps[count : count + 1] == (Step.of("clean"),) else ()
    return Recipe((*steps, *shrunk, Step.of("fuse"), Step.of("clean")))


def climbed(found: Sequence[Stair], seen: Mapping[Recipe, Candidate]) -> tuple[StrategyStep, ...]:
    """The record of the steps.

    Args:
        found: the steps.
        seen: what is known of their recipes.
    """
    return tuple(
        StrategyStep(
            kind=stair.kind,
            text=words(stair.steps),
            recipe=str(stair.recipe),
            epochs=stair.epochs,
            reached=reached(seen[stair.recipe]),
        )
        for stair in found
    )
