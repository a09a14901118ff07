"""Run a recipe's passes over a model; a function for a supervised child."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from budgetc_passes.contract import Evidence, Pass, PassError, PassResult
from budgetc_specs.capability import Capability
from budgetc_specs.errors import ModelError, SpecError
from budgetc_specs.recipe import Step, parse_recipe

from budgetc.child import report_progress
from budgetc.data import load_data
from budgetc.model import Model, parse_model
from budgetc.registry import make_passes


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
    steps = parse_recipe(recipe)
    ledger = []
    for step, each in zip(steps.steps, make_passes(steps), strict=True):
        report_progress({"stage": f"pass {step}"})
        if each.needs().calibration:
            if calibration is None:
                raise SpecError.of(
                    f"the pass {each.name} needs calibration data",
                    'name it in the spec: "data: {calibration: calib.npz}".',
                )
            data = load_data(calibration, models[0])
            evidence = Evidence(sheet, data.samples)
        else:
            evidence = Evidence(sheet)
        results = []
        for index, current in enumerate(models):
            models[index], result = run_pass(current, step, each, evidence, source)
            results.append(result)
        first = results[0]
        ledger.append(ledger_entry(str(step), models[0], first))
    for (_, file), current in zip(files, models, strict=True):
        Path(file).write_bytes(current.data)
    return {"ledger": ledger}


def run_pass(
    model: Model, step: Step, each: Pass, evidence: Evidence, source: str
) -> tuple[Model, PassResult]:
    """Run one pass of a recipe; the model that it makes is checked as if it came from outside.

    Raises:
        ModelError: the pass refuses the model.
    """
    proto = onnx.load_model_from_string(model.data)
    try:
        result = each.run(ir.from_proto(proto), evidence)
    except PassError as error:
        raise ModelError(f"{source}: pass {step}: {error}") from error
    return (_reread(result.model, source, str(step)) if result.modified else model), result


def _reread(model: ir.Model, source: str, step: str) -> Model:
    """What a pass made, checked as if it came from outside."""
    proto = ir.to_proto(model)
    try:
        return parse_model(proto.SerializeToString(), source)
    except ModelError as error:
        raise ModelError(f"BUG: pass {step} made an invalid model: {error.message}") from error


def ledger_entry(step: str, model: Model, result: PassResult) -> dict[str, Any]:
    """What a step did, as the ledger has it; `model` is what it left."""
    return {
        "pass": step,
        "modified": result.modified,
        "weight_bytes": model.weight_bytes,
        "parameters": model.parameter_count,
        "notes": [{"kind": n.kind, "node": n.node, "text": n.text} for n in result.notes],
    }
