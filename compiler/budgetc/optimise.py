"""Run a recipe's passes over a model; a function for a supervised child."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_specs.recipe import parse_recipe

from budgetc.child import report_progress
from budgetc.kitchen import Kitchen
from budgetc.learning import Learning
from budgetc.model import parse_model


def optimise(
    model: str,
    source: str,
    recipe: str,
    capability: dict[str, Any],
    calibration: str | None,
    out: str,
    further: Sequence[Sequence[str]] = (),
    learning: Mapping[str, Any] | None = None,
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
        learning: what passes learn from that train, as JSON, or None.

    Returns:
        `ledger`: for each pass its text, whether it changed the model, weight bytes after it, and its notes.

    Raises:
        ModelError: a pass refuses the model.
        SpecError: a pass needs data and there are none.
        EnvironmentError_: a pass trains, and the extra for it is not installed.
    """
    files = [(model, out), *further]
    models = [parse_model(Path(file).read_bytes(), source) for file, _ in files]
    sheet = Capability.model_validate(capability)
    lessons = None if learning is None else Learning.from_json(learning)
    kitchen = Kitchen(models, sheet, calibration, source, lessons, kept=0)

    def say(text: str) -> None:
        report_progress({"stage": text})

    made, ledger = kitchen.cook(parse_recipe(recipe), lambda step: say(f"pass {step}"), say)
    for (_, file), current in zip(files, made, strict=True):
        Path(file).write_bytes(current.data)
    return {"ledger": ledger}
