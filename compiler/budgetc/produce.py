"""An optimised model into object file, weights and call list; for a child, since it imports tvm."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_specs.errors import ModelError

from budgetc.child import report_progress
from budgetc.lower.lower import lower, write
from budgetc.lower.points import default_point, known_point, lean_point, one_by_one
from budgetc.registry import find_device, find_target
from budgetc.tuning.records import point_from_json, point_to_json
from budgetc.tuning.tuner import Effort, Tuner


def produce(
    model: str,
    kind: str,
    capability: dict[str, Any],
    trials: int,
    records: str,
    folder: str,
    tuning: float | None = None,
    device: str | None = None,
    compact: bool = False,
    further: Sequence[str] = (),
    kernels: str | None = None,
    schedules: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Lower, tune where asked for, and emit the kernels' objects, `weights.bin` and `lowered.json` into a folder.

    Args:
        model: file with the optimised model.
        kind: the target's kind.
        capability: the target's sheet as JSON.
        trials: schedules to measure for each distinct kernel at most; 0 takes the defaults, or with `tuning` sets no
            limit.
        records: folder with the tuning records.
        folder: where to write.
        tuning: seconds that tuning may take; None sets no limit but the trials.
        device: the address of the device to tune on; None tunes on this machine, where that runs the code.
        compact: do without kernels that are faster by being larger, and take the points of least code where no
            schedules are given.
        further: files with the model for further shapes of its inputs.
        kernels: folder with the kernels of earlier models; None compiles all anew.
        schedules: what another call returned as such, or as `points`: its points are taken, where nothing is tuned.

    Returns:
        `schedules`: the point that tuning chose for each kernel, and what was measured for it; `points`: the point of
        every kernel, whatever chose it; `grown`: whether it has kernels that it would not have if it were compact;
        `tuning`: seconds that it took; `tuned`: how points were chosen, and notes of what was not as planned.

    Raises:
        ModelError: an operator that cannot be compiled.
        TargetUnreachableError: there is no device to tune on, or none any more.
    """
    target, sheet = find_target(kind), Capability.model_validate(capability)
    report_progress({"stage": "lowering"})
    tuner, chosen = None, None
    if schedules:
        points = {each["task"]: point_from_json(each["point"]) for each in schedules}
        first = lean_point(sheet) if compact else default_point(sheet)
        chosen = one_by_one(known_point(lambda task: points.get(task.digest), sheet, first))
    if (trials or tuning is not None) and not compact:
        here = target.runner(sheet) if sheet.native else None
        runner = find_device(device) if device else here
        effort = Effort(trials, tuning)
        tuner = Tuner(target, sheet, runner, effort, Path(records), Path(folder))
    try:
        code = lower(
            [Path(f).read_bytes() for f in (model, *further)],
            target,
            sheet,
            tuner or chosen,
            compact=compact,
            kept=Path(kernels) if kernels else None,
        )
    except RecursionError as error:
        raise ModelError("the model nests its operators too deeply to be compiled") from error
    report_progress({"stage": "generating code"})
    write(code, Path(folder))
    (Path(folder) / "lowered.json").write_text(
        json.dumps([entry.to_json() for entry in code.entries])
    )
    return {
        "schedules": tuner.report() if tuner else [],
        "points": [
            {"kernel": task.kind, "task": task.digest, "point": point_to_json(point)}
            for task, point in code.points
        ],
        "grown": code.grown,
        "tuning": tuner.seconds if tuner else 0.0,
        "tuned": {"how": tuner.how, "notes": list(tuner.notes)} if tuner else {},
    }
