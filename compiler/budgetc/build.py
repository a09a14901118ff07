"""One recipe to one library: passes, lowering and code generation in supervised children, then the link."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_specs.errors import quoted
from budgetc_specs.recipe import Recipe

from budgetc.cache import cache_folder
from budgetc.emit.driver import Sources, write_sources
from budgetc.emit.header import interface
from budgetc.emit.link import Kind, library_file, link_library
from budgetc.learning import Learning, learners
from budgetc.load import Interface
from budgetc.lower.generated import GENERATED_FILE
from budgetc.lower.kernel_objects import object_file
from budgetc.lower.lowered import Lowered
from budgetc.model import Model, parse_model
from budgetc.worker import ChildDied, run_child

PASS_SECONDS = 600.0
CODE_SECONDS = 900.0
CHILD_BYTES = 8 * 2**30
TUNING_ATTEMPTS = 3

Say = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """What all candidates of one target share.

    Attributes:
        model: the model as the spec names it, normalised.
        model_file: its bytes on the disk, for children; those for further shapes lie beside it.
        calibration: samples for passes, or None.
        kind: the target's kind.
        capability: the target's sheet.
        name: name of the artefact.
        library: shared or static.
        trials: schedules to measure for each kernel at most.
        tuning: seconds that tuning may take; None leaves it to the trials.
        device: the address of the device that kernels are tuned on; None where that is this machine.
        records: folder with what was measured of kernels.
        kernels: folder with kernels that were compiled for other models.
        timings: folder with what single calls took in libraries.
        seconds: longest that generating the code may take, beside tuning.
        points: the point of every kernel as an earlier build chose it, `Built.points`; None lets this one choose.
        learning: what passes learn from that train, or None.
    """

    model: Model
    model_file: Path
    calibration: Path | None
    kind: str
    capability: Capability
    name: str
    library: Kind
    trials: int = 0
    tuning: float | None = None
    device: str | None = None
    records: Path = field(default_factory=lambda: cache_folder() / "records")
    kernels: Path = field(default_factory=lambda: cache_folder() / "kernels")
    timings: Path = field(default_factory=lambda: cache_folder() / "timings")
    seconds: float = CODE_SECONDS
    points: tuple[Mapping[str, Any], ...] | None = None
    learning: Learning | None = None


def library_kind(wanted: Kind, capability: Capability) -> Kind:
    """The kind of library for a target: a firmware is linked as a whole, so that there are no shared ones for it."""
    return "static" if capability.system == "bare" else wanted


@dataclass(frozen=True)
class Optimised:
    """A model after a recipe, and what each pass did."""

    recipe: Recipe
    model: Model
    ledger: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Linked:
    """A library, the calls behind each of its functions, and how it is called."""

    entries: tuple[Lowered, ...]
    library: Path
    header: Path
    interface: Interface

    @property
    def lowered(self) -> Lowered:
        """The first entry point."""
        return self.entries[0]


@dataclass(frozen=True)
class Built(Linked):
    """A linked library in a folder, not measured yet.

    Attributes:
        folder: with all that it was linked from.
        optimised: the model that it computes.
        schedules: what tuning found, of each kernel.
        seconds: what its parts took.
        grown: whether a compact one would be smaller.
        compact: whether it was built to be small first.
        points: what was chosen for each kernel: `kernel`, `task` and `point`, by which it is built again.
        tuned: where tuning was asked for, `how` points were chosen, in words, and `notes` of what was not as planned.
    """

    folder: Path
    optimised: Optimised
    schedules: tuple[Mapping[str, Any], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    grown: bool = False
    compact: bool = False
    points: tuple[Mapping[str, Any], ...] = ()
    tuned: Mapping[str, Any] = field(default_factory=dict)

    @property
    def quantized(self) -> bool:
        """Whether the model computes with integers."""
        return b"DequantizeLinear" in self.optimised.model.data


def run_passes(job: Job, recipe: Recipe, folder: Path, say: Say) -> Optimised:
    """Apply a recipe in a child.

    Raises:
        ChildDied: a pass crashed, hung or ran out of memory.
        BudgetcError: a pass refuses the model.
    """
    out = folder / "optimised.onnx"
    further = range(1, len(job.model.entries))
    written = [further_file(out, number) for number in further]
    answer = run_child(
        "budgetc.optimise:optimise",
        {
            "model": str(job.model_file),
            "source": str(job.model.path),
            "recipe": str(recipe),
            "capability": job.capability.model_dump(mode="json"),
            "calibration": str(job.calibration) if job.calibration else None,
            "out": str(out),
            "further": [
                [str(further_file(job.model_file, number)), str(file)]
                for number, file in zip(further, written, strict=True)
            ],
            "learning": job.learning.to_json() if job.learning else None,
        },
        timeout_s=PASS_SECONDS + learning_seconds(job, recipe),
        memory_bytes=CHILD_BYTES,
        progress=lambda message: say(message["stage"]),
    )
    model, *others = (parse_model(f.read_bytes(), job.model.path) for f in (out, *written))
    return Optimised(recipe, replace(model, further=tuple(others)), tuple(answer["ledger"]))


def learning_seconds(job: Job, recipe: Recipe) -> float:
    """What passes may take that train: their last epoch may end behind their time, and judging comes on top."""
    if job.learning is None:
        return 0.0
    return 2 * job.learning.seconds * len(learners(recipe))


def further_file(first: Path, number: int) -> Path:
    """Where the model for a further shape lies, beside the first."""
    return first.with_name(f"{first.stem}_{number}{first.suffix}")


def write_models(model: Model, file: Path) -> list[Path]:
    """Write the model for each of its shapes, and return the files."""
    files = [file, *(further_file(file, n) for n in range(1, len(model.entries)))]
    for each, path in zip(model.entries, files, strict=True):
        path.write_bytes(each.data)
    return files


def _generate(
    job: Job, models: Sequence[Path], folder: Path, say: Say, *, compact: bool
) -> Mapping[str, Any]:
    """Generate code in a child. One that dies while it tunes is started again: records say where it got to."""
    attempts = TUNING_ATTEMPTS if job.trials or job.tuning is not None else 1
    begin = time.monotonic()
    for attempt in range(1, attempts + 1):
        tuning = None if job.tuning is None else max(0.0, job.tuning + begin - time.monotonic())
        try:
            answer: Mapping[str, Any] = run_child(
                "budgetc.produce:produce",
                {
                    "model": str(models[0]),
                    "further": [str(file) for file in models[1:]],
                    "kind": job.kind,
                    "capability": job.capability.model_dump(mode="json"),
                    "trials": job.trials,
                    "tuning": tuning,
                    "device": job.device,
                    "records": str(job.records),
                    "folder": str(folder),
                    "compact": compact,
                    "kernels": str(job.kernels),
                    "schedules": [dict(each) for each in job.points or ()],
                },
                timeout_s=job.seconds + (tuning or 0.0),
                memory_bytes=CHILD_BYTES,
                progress=lambda message: say(message["stage"]),
            )
        except ChildDied as error:
            if attempt == attempts:
                raise
            say(f"{error.message}; going on from its records")
        else:
            return answer
    raise AssertionError("BUG: neither an answer nor an error")


def link_produced(
    folder: Path, name: str, capability: Capability, kind: Kind, cache: Path
) -> Linked:
    """Link what `budgetc.produce.produce` has left in a folder to a library there.

    Args:
        folder: with the kernels' objects, `weights.bin`, `lowered.json` and `generated.c` where nodes have no kernels.
        name: of the artefact.
        capability: the target's sheet; its `threads` are those of the library.
        kind: shared or static.
        cache: folder for zig's caches.

    Raises:
        SpecError: the target has no libraries of that kind.
        EnvironmentError_: zig is missing or the machine does not let it work.
        ModelError: the target lacks a function that the model needs.
        InternalError: what was produced does not compile or link.
    """
    lowered = json.loads((folder / "lowered.json").read_text())
    entries = tuple(Lowered.from_json(each) for each in lowered)
    weights = (folder / "weights.bin").read_bytes()
    written = write_sources(entries, weights, name, folder, capability.threads)
    library = folder / library_file(name, kind, capability)
    link_entries(entries, folder, written, library, capability, kind, cache)
    return Linked(entries, library, written.header, interface(entries, name, library.name))


def link_entries(
    entries: Sequence[Lowered],
    folder: Path,
    written: Sources,
    library: Path,
    capability: Capability,
    kind: Kind,
    cache: Path,
) -> None:
    """Link the driver's sources with what a folder has for the entries: objects of their kernels, and generated C.

    Raises:
        SpecError, EnvironmentError_, ModelError, InternalError: as `link_library`.
    """
    generated = folder / GENERATED_FILE
    link_library(
        [*written.sources, generated] if generated.exists() else written.sources,
        kernel_files(entries, folder),
        capability,
        kind,
        library,
        api=written.api,
        cache=cache,
        labels=_kernel_labels(entries),
    )


def kernel_files(entries: Sequence[Lowered], folder: Path) -> list[Path]:
    """The objects in a folder, in the order in which their kernels are first called; generated C has none."""
    names = dict.fromkeys(call.kernel for entry in entries for call in entry.calls)
    return [file for file in (folder / object_file(name) for name in names) if file.exists()]


def _kernel_labels(entries: Sequence[Lowered]) -> dict[str, str]:
    """What each kernel is first called for, in words for people."""
    found: dict[str, str] = {}
    for entry in entries:
        for call, layer in zip(entry.calls, entry.layers, strict=True):
            found.setdefault(call.kernel, f"the {layer.operator} layer {quoted(call.label)}")
    return found


def build(
    job: Job, optimised: Optimised, folder: Path, say: Say, *, compact: bool = False
) -> Built:
    """Lower and link an optimised model; a compact library does without what is faster by being larger.

    Raises:
        ChildDied: lowering or tuning crashed, hung or ran out of memory.
        TargetUnreachableError: there is no device to tune on, or none any more.
        BudgetcError: the model cannot be compiled, or this machine lacks a tool.
    """
    start = time.monotonic()
    models = write_models(optimised.model, folder / "optimised.onnx")
    answer = _generate(job, models, folder, say, compact=compact)
    compiled = time.monotonic()
    say("linking")
    linked = link_produced(folder, job.name, job.capability, job.library, cache_folder() / "zig")
    return Built(
        **vars(linked),
        folder=folder,
        optimised=optimised,
        schedules=tuple(answer["schedules"]),
        seconds={
            "tuning": answer["tuning"],
            "code": compiled - start - answer["tuning"],
            "link": time.monotonic() - compiled,
        },
        grown=answer["grown"],
        compact=compact,
        points=tuple(answer["points"]),
        tuned=answer["tuned"],
    )
