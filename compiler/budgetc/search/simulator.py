"""What recipes do to the answers of a model, by onnxruntime; a function for a supervised child.

Hundreds of recipes for one model share most of their work: the model after a common beginning is made
once, ranges of activations are collected once for each model that a pass is run on, and the float model
answers once.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_specs.errors import BudgetcError, EnvironmentError_, SpecError
from budgetc_specs.recipe import parse_recipe

from budgetc.child import report_progress
from budgetc.kitchen import Kitchen
from budgetc.model import parse_model
from budgetc.search.judge import Judge


def simulate_recipes(
    model: str,
    source: str,
    capability: dict[str, Any],
    recipes: Sequence[str],
    calibration: str | None,
    validation: str | None,
    metric: str | None,
    folder: str | None,
    samples: int,
    seed: int,
) -> None:
    """Run each recipe's model on some of the validation samples, beside the float model.

    What is found of a recipe is reported as progress, so that nothing is lost when the work ends early:
    `{"begun": index}`, then `{"index", "found"}` with `refused`, why it cannot be, or else `error`,
    `weight_bytes`, `samples` and, where there is a metric, `drop`, `low` and `high`.

    Args:
        model: file with a normalised model.
        source: where it came from, for messages.
        capability: the target's sheet as JSON.
        recipes: as text.
        calibration: .npz archive for passes, or None.
        validation: .npz archive that quality is judged on; None for made-up inputs.
        metric: as in `quality.metric` of a spec; None where the samples have no labels for it.
        folder: where the metric's module is looked for as well.
        samples: of the validation data, at most.
        seed: which of them.

    Raises:
        SpecError: the data, the metric or a recipe is at fault.
    """
    sheet = Capability.model_validate(capability)
    given = parse_model(Path(model).read_bytes(), source)
    judge = Judge(given, validation, metric, folder, samples, seed, fixed_point=sheet.fixed_point)
    kitchen = Kitchen([given], sheet, calibration, source)
    for index, text in enumerate(recipes):
        report_progress({"begun": index})
        try:
            (made,), _ = kitchen.cook(parse_recipe(text))
            found = {"weight_bytes": made.weight_bytes, **judge.figures(made)}
        except (SpecError, EnvironmentError_):
            raise
        except BudgetcError as error:
            found = {"refused": error.message}
        report_progress({"index": index, "found": found})
