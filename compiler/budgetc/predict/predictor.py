"""The whole of a prediction: a model is lowered as for a build, and everything but the weights is linked."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_specs.errors import ModelError
from budgetc_targets.contract import Point
from budgetc_targets.task import Task

from budgetc.build import CHILD_BYTES, Job, Optimised, Say, write_models
from budgetc.cache import cache_folder
from budgetc.child import report_progress
from budgetc.emit.header import workspace_bytes
from budgetc.emit.link import Kind
from budgetc.lower.lower import lower
from budgetc.lower.points import Chooser, default_point, known_point, one_by_one
from budgetc.predict.footprint import footprint
from budgetc.predict.latency import Clockwork
from budgetc.predict.prediction import Entry, Prediction
from budgetc.predict.timings import timings_of
from budgetc.registry import find_target
from budgetc.tuning.records import Records
from budgetc.worker import run_child


def predict(
    models: Sequence[bytes],
    kind: str,
    capability: Capability,
    *,
    name: str = "model",
    library: Kind = "shared",
    compact: bool = False,
    kernels: Path | None = None,
    timings: Path | None = None,
    records: Path | None = None,
) -> Prediction:
    """What the library of an optimised model will be; for a child, since it imports tvm where kernels are new.

    Args:
        models: the optimised model for one shape or for several.
        kind: the target's kind.
        capability: the target's sheet.
        name: of the artefact; it stands in the library.
        library: shared or static.
        compact: as `budgetc.lower.lower.lower` has it.
        kernels: folder with compiled kernels, to which new ones are added; by default that of all builds.
        timings: folder with measured kernels; by default that of all builds.
        records: folder with what tuning has measured, where the build will tune: its fastest points are taken. Kernels
            that were not tuned yet are predicted at their default.

    Raises:
        ModelError: an operator that cannot be compiled.
        EnvironmentError_: zig is missing or the machine does not let it work.
    """
    begin = time.monotonic()
    target, cache = find_target(kind), cache_folder()
    choose = _tuned(Records(records, capability), capability) if records and not compact else None
    kept = kernels or cache / "kernels"
    try:
        code = lower(models, target, capability, choose, compact=compact, kept=kept)
    except RecursionError as error:
        raise ModelError("the model nests its operators too deeply to be compiled") from error
    new = code.objects.missing
    taken = footprint(code, capability, name, library, cache / "zig")
    clock = Clockwork(timings_of(timings or cache / "timings", kind, capability), capability)
    entries = []
    for lowered in code.entries:
        layers, latency, interval = clock.expect(lowered.layers)
        arena, bound = workspace_bytes(lowered), lowered.arena_order_bound
        entries.append(Entry(arena, latency, interval, layers, bound))
    return Prediction(
        size=taken.size,
        static=taken.static,
        stack=taken.stack,
        grown=code.grown,
        entries=tuple(entries),
        compiled=new,
        seconds=time.monotonic() - begin,
    )


def _tuned(records: Records, capability: Capability) -> Chooser:
    def fastest(task: Task) -> Point | None:
        return records.recall(task.kind, task.digest).point

    return one_by_one(known_point(fastest, capability, default_point(capability)))


def predict_files(
    models: Sequence[str],
    kind: str,
    capability: dict[str, Any],
    name: str,
    library: Kind,
    compact: bool,
    kernels: str,
    timings: str,
    records: str | None = None,
) -> dict[str, Any]:
    """`predict` as the function of a child: files and JSON in, JSON out."""
    report_progress({"stage": "predicting"})
    return predict(
        [Path(file).read_bytes() for file in models],
        kind,
        Capability.model_validate(capability),
        name=name,
        library=library,
        compact=compact,
        kernels=Path(kernels),
        timings=Path(timings),
        records=Path(records) if records else None,
    ).to_json()


def run_prediction(
    job: Job, optimised: Optimised, folder: Path, say: Say, *, compact: bool = False
) -> Prediction:
    """What `budgetc.build.build` would make of an optimised model, told by a child.

    Args:
        job: what all candidates share.
        optimised: the model after its recipe.
        folder: where to put the model for the child.
        say: is told what is going on.
        compact: as for `build`.

    Raises:
        ChildDied: lowering crashed, hung or ran out of memory.
        BudgetcError: the model cannot be compiled, or this machine lacks a tool.
    """
    answer = run_child(
        "budgetc.predict.predictor:predict_files",
        {
            "models": [str(f) for f in write_models(optimised.model, folder / "optimised.onnx")],
            "kind": job.kind,
            "capability": job.capability.model_dump(mode="json"),
            "name": job.name,
            "library": job.library,
            "compact": compact,
            "kernels": str(job.kernels),
            "timings": str(job.timings),
            "records": str(job.records) if job.trials or job.tuning is not None else None,
        },
        timeout_s=job.seconds,
        memory_bytes=CHILD_BYTES,
        progress=lambda message: say(message["stage"]),
    )
    return Prediction.from_json(answer)
