"""Models by recipes, one after another, where what recipes have in common is done once."""

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

from budgetc_passes.contract import Evidence
from budgetc_specs.capability import Capability
from budgetc_specs.errors import SpecError
from budgetc_specs.recipe import Recipe, Step

from budgetc.data import load_data
from budgetc.model import Model
from budgetc.optimise import ledger_entry, run_pass
from budgetc.registry import make_passes

KEPT_MODELS = 8
"""Models after the beginning of a recipe that are kept for the next one."""

Dish = tuple[tuple[Model, ...], tuple[dict[str, Any], ...]]
"""The model for each of its shapes after some steps, and what each step did."""


class Kitchen:
    """Makes models by recipes. The first steps of a recipe, and ranges of activations, serve the next one too.

    Args:
        models: the normalised model for one shape or for several.
        capability: the target's sheet.
        calibration: .npz archive for passes, or None.
        source: where the model came from, for messages.
    """

    def __init__(
        self,
        models: Sequence[Model],
        capability: Capability,
        calibration: str | None,
        source: str,
    ) -> None:
        self._capability, self._source = capability, source
        self._data = load_data(calibration, models[0]) if calibration else None
        self._made: OrderedDict[tuple[Step, ...], Dish] = OrderedDict({(): (tuple(models), ())})
        self._evidence: OrderedDict[tuple[str, str], Evidence] = OrderedDict()

    def cook(self, recipe: Recipe) -> Dish:
        """The model after the recipe, for each of its shapes, and the ledger.

        Raises:
            ModelError: a pass refuses the model.
            SpecError: a pass does not exist, or needs calibration data and there are none.
        """
        passes = make_passes(recipe)
        known = next(n for n in range(len(passes), -1, -1) if recipe.steps[:n] in self._made)
        models, ledger = self._made[recipe.steps[:known]]
        self._made.move_to_end(recipe.steps[:known])
        for at in range(known, len(passes)):
            step, each = recipe.steps[at], passes[at]
            evidence = self._evidence_for(models[0], step, calibrated=each.needs().calibration)
            results = [run_pass(model, step, each, evidence, self._source) for model in models]
            models = tuple(model for model, _ in results)
            ledger = (*ledger, ledger_entry(str(step), models[0], results[0][1]))
            if at + 1 < len(passes):
                self._keep(recipe.steps[: at + 1], (models, ledger))
        return models, ledger

    def _keep(self, steps: tuple[Step, ...], dish: Dish) -> None:
        self._made[steps] = dish
        while len(self._made) > KEPT_MODELS:
            oldest = next(each for each in self._made if each)  # the model without a pass stays
            del self._made[oldest]

    def _evidence_for(self, model: Model, step: Step, *, calibrated: bool) -> Evidence:
        """Evidence with what the pass has measured of this very model before."""
        if not calibrated:
            return Evidence(self._capability)
        if self._data is None:
            raise SpecError.of(
                f"the pass {step.name} needs calibration data",
                'name it in the spec: "data: {calibration: calib.npz}".',
            )
        key = (model.digest, step.name)
        if key not in self._evidence:
            self._evidence[key] = Evidence(self._capability, self._data.samples)
        self._evidence.move_to_end(key)
        while len(self._evidence) > KEPT_MODELS:
            self._evidence.popitem(last=False)
        return self._evidence[key]
