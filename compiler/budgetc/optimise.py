"""Run a recipe's passes over a model; a function for a supervised child."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_specs.recipe import parse_recipe

from budgetc.child import report_progress
from budgetc.kitchen import Kitchen
from budgetc.model import parse_model


def optimise(
    model: str,
    source: str,
    recipe: str,
    capability: dict[str, Any],
    calibration: str | None,
    out: str,
    further: Sequence[Sequence[str]] = (),
) -> dict[str, Any]:
    """Apply a recipe to a normalised model and write the result.

    Args:
        model: file with the normalised model.
        source: where the model came from, for messages.
        recipe: the recipe's text.
        capability: the target's sheet as JSON.
        calibration: .npz archive, or None.
        out: file to write.
        further: the same two files for each further shape of the model's inputs. What passes measure, they measure on
            the first.

    Returns:
        `ledger`: for each pass its text, whether it changed the model, weight bytes after it, and its notes.

    Raises:
        ModelError: a pass refuses the model.
        SpecError: a pass needs calibration data and there is none.
    """
    files = [(model, out), *further]
    models = [parse_model(Path(file).read_bytes(), source) for file, _ in files]
    sheet = Capability.model_validate(capability)
    kitchen = Kitchen(models, sheet, calibration, source, kept=0)
    made, ledger = kitchen.cook(
        parse_recipe(recipe), lambda step: report_progress({"stage": f"pass {step}"})
    )
    for (_, file), current in zip(files, made, strict=True):
        Path(file).write_bytes(current.data)
    return {"ledger": ledger}
