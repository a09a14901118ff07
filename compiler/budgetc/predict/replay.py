"""The calls of an artefact timed one by one: its library is built once more, which must give the same bytes."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_specs.errors import EnvironmentError_

from budgetc.build import CHILD_BYTES, CODE_SECONDS, Job, link_produced, write_models
from budgetc.cache import cache_folder
from budgetc.emit.link import Kind
from budgetc.load import Array
from budgetc.model import Model
from budgetc.predict.profile import Call, profile
from budgetc.registry import find_target
from budgetc.worker import run_child


def replay(
    library: Path,
    manifest: Mapping[str, Any],
    model: Model,
    capability: Capability,
    inputs: Mapping[str, Array],
    entry: int = 0,
) -> list[Call]:
    """Time every call of a library of which only its optimised model and its manifest are left.

    Args:
        library: of the artefact.
        manifest: of the artefact, with the points of tuned kernels.
        model: its optimised model, for all of its shapes.
        capability: the target's sheet; its code runs on this machine.
        inputs: by name, arrays with samples on axis 0, of which the first is run.
        entry: position of the entry point.

    Raises:
        EnvironmentError_: what is built now is another library, as by another version of a tool.
        ChildDied: generating the code crashed, hung or ran out of memory.
        BinaryError: the library crashed or hung.
    """
    kind: Kind = "shared" if library.suffix == ".so" else "static"
    with tempfile.TemporaryDirectory(prefix="budgetc-replay-") as temporary:
        folder = Path(temporary)
        models = write_models(model, folder / "optimised.onnx")
        job = Job(model, models[0], None, capability.target, capability, manifest["name"], kind)
        for compact in (False, True):
            run_child(
                "budgetc.produce:produce",
                {
                    "model": str(models[0]),
                    "further": [str(file) for file in models[1:]],
                    "kind": capability.target,
                    "capability": capability.model_dump(mode="json"),
                    "trials": 0,
                    "records": str(job.records),
                    "folder": str(folder),
                    "compact": compact,
                    "kernels": str(job.kernels),
                    "schedules": [] if compact else list(manifest.get("schedules", ())),
                },
                timeout_s=CODE_SECONDS,
                memory_bytes=CHILD_BYTES,
            )
            linked = link_produced(folder, job.name, capability, kind, cache_folder() / "zig")
            if linked.library.read_bytes() == library.read_bytes():
                runner = find_target(capability.target).runner(capability)
                calls = profile(linked, folder, job, runner, inputs, entry)
                if calls is not None:
                    return calls
    raise EnvironmentError_(
        f"the layers of {library} cannot be timed: built once more, it is another library",
        "compile the model again; the artefact was made by other versions of the tools.",
    )
