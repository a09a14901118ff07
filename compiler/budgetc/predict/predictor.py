"""The whole of a prediction: a model is lowered as for a build, and everything but the weights is linked."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_specs.errors import ModelError

from budgetc.build import CHILD_BYTES, Job, Optimised, Say, write_models
from budgetc.cache import cache_folder
from budgetc.child import report_progress
from budgetc.emit.header import workspace_bytes
from budgetc.emit.link import Kind
from budgetc.lower.lower import lower
from budgetc.predict.footprint import footprint
from budgetc.predict.latency import Clockwork
from budgetc.predict.prediction import Entry, Prediction
from budgetc.predict.timings import Timings
from budgetc.registry import find_target
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

    Raises:
        ModelError: an operator that cannot be compiled.
        EnvironmentError_: zig is missing or the machine does not let it work.
    """
    begin = time.monotonic()
    target, cache = find_target(kind), cache_folder()
    try:
        code = lower(models, target, capability, compact=compact, kept=kernels or cache / "kernels")
    except RecursionError as error:
        raise ModelError("the model nests its operators too deeply to be compiled") from error
    new = code.objects.missing
    taken = footprint(code, capability, name, library, cache / "zig")
    measured = Timings(timings or cache / "timings", target, capability)
    clock = Clockwork(measured.read() if capability.native else [], capability)
    entries = []
    for lowered in code.entries:
        layers, latency, interval = clock.expect(lowered.layers)
        entries.append(Entry(workspace_bytes(lowered), latency, interval, layers))
    return Prediction(
        size=taken.size,
        static=taken.static,
        stack=taken.stack,
        grown=code.grown,
        entries=tuple(entries),
        compiled=new,
        seconds=time.monotonic() - begin,
    )


def predict_files(
    models: Sequence[str],
    kind: str,
    capability: dict[str, Any],
    name: str,
    library: Kind,
    compact: bool,
    kernels: str,
    timings: str,
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
        },
        timeout_s=job.seconds,
        memory_bytes=CHILD_BYTES,
        progress=lambda message: say(message["stage"]),
    )
    return Prediction.from_json(answer)
