"""What recipes would come to, unbuilt: quality in onnxruntime, and the library predicted; a function for a child."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_specs.errors import BudgetcError, EnvironmentError_, SpecError
from budgetc_specs.recipe import parse_recipe

from budgetc.cache import cache_folder
from budgetc.child import report_progress
from budgetc.emit.link import Kind
from budgetc.kitchen import Kitchen
from budgetc.learning import Learning
from budgetc.model import Model, parse_model
from budgetc.predict.prediction import Prediction
from budgetc.predict.predictor import predict
from budgetc.search.judge import Judge


def foresee(
    *,
    model: str,
    source: str,
    recipes: Sequence[str],
    capability: dict[str, Any],
    kind: str,
    library: Kind,
    name: str,
    metric: str | None,
    metric_folder: str | None,
    samples: int,
    seed: int,
    surprised: bool,
    folder: str,  # noqa: ARG001  every task gets one
    calibration: str | None = None,
    validation: str | None = None,
    learning: Mapping[str, Any] | None = None,
    training: str | None = None,
    teacher: str | None = None,
    **further: str,
) -> list[dict[str, Any]]:
    """Apply recipes, predict their libraries and judge their outputs.

    What is found of a recipe is reported as soon as it is known, as `{"index", "found"}`; what a pass that trains says
    meanwhile, as `{"index", "stage"}`.

    Args:
        model: file with the normalised model.
        source: where it came from, for messages.
        recipes: as text.
        capability: the target's sheet as JSON.
        kind: the target's kind.
        library: shared or static.
        name: of the artefact.
        metric: as in `quality.metric` of a spec; None where the samples have no labels for it.
        metric_folder: where the metric's module is looked for as well.
        samples: of the validation data, at most.
        seed: which of them.
        surprised: whether surprise at labels is asked for.
        folder: of its own, not used.
        calibration: .npz archive for passes, or None.
        validation: .npz archive that quality is judged on; None for made-up inputs.
        learning: what passes learn from that train, as JSON, or None; its files are the next two.
        training: .npz archive that they learn from.
        teacher: the model that they learn from, or None.
        further: files with the model for further shapes of its inputs.

    Returns:
        For each recipe `refused`, or else `weight_bytes`, `ledger`, `taught` (seconds of each training), `error`,
        `samples`, `loss` where it is asked for and labels are classes, where there is a metric `drop`, `low`, `high`
        and `value`, and `predictions`: of the fastest library and, if it differs, of the compact one.

    Raises:
        SpecError: the data, the metric or a recipe is at fault.
    """
    sheet = Capability.model_validate(capability)
    given = parse_model(Path(model).read_bytes(), source)
    others = [parse_model(Path(file).read_bytes(), source) for file in further.values()]
    kept = cache_folder() / "judged"
    judge = Judge(
        given,
        validation,
        metric,
        metric_folder,
        samples,
        seed,
        kept,
        fixed_point=sheet.fixed_point,
        surprised=surprised,
    )
    lessons = None
    if learning is not None:
        lessons = Learning.from_json({**learning, "samples": training, "teacher": teacher})
    kitchen = Kitchen([given, *others], sheet, calibration, source, lessons)
    answers = []
    for index, text in enumerate(recipes):
        try:
            recipe = parse_recipe(text)
            made, ledger = kitchen.cook(recipe, says=functools.partial(_say, index))
            found: dict[str, Any] = {
                "weight_bytes": made[0].weight_bytes,
                "ledger": ledger,
                "taught": kitchen.taught(recipe),
                "predictions": [
                    each.to_json() for each in _predictions(made, kind, sheet, library, name)
                ],
                **judge.figures(made[0]),
            }
        except (SpecError, EnvironmentError_):
            raise
        except BudgetcError as error:
            found = {"refused": error.message}
        answers.append(found)
        report_progress({"index": index, "found": found})
    return answers


def _say(index: int, text: str) -> None:
    report_progress({"index": index, "stage": text})


def _predictions(
    models: Sequence[Model], kind: str, capability: Capability, library: Kind, name: str
) -> list[Prediction]:
    """The fastest library, and the compact one where it is another."""
    data = [model.data for model in models]
    first = predict(data, kind, capability, name=name, library=library)
    if not first.grown:
        return [first]
    return [first, predict(data, kind, capability, name=name, library=library, compact=True)]
