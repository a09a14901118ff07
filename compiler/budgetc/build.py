"""One recipe to one library: passes, lowering and code generation in supervised children, then the link."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_specs.recipe import Recipe

from budgetc.cache import cache_folder
from budgetc.emit.driver import write_sources
from budgetc.emit.header import interface
from budgetc.emit.link import Kind, link_library
from budgetc.load import Interface
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
        model_file: its bytes on the disk, for children.
        calibration: samples for passes, or None.
        kind: the target's kind.
        capability: the target's sheet.
        name: name of the artefact.
        library: shared or static.
        trials: schedules to measure for each kernel.
        seconds: longest that generating the code may take.
    """

    model: Model
    model_file: Path
    calibration: Path | None
    kind: str
    capability: Capability
    name: str
    library: Kind
    trials: int = 0
    seconds: float = CODE_SECONDS


@dataclass(frozen=True)
class Optimised:
    """A model after a recipe, and what each pass did."""

    recipe: Recipe
    model: Model
    ledger: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Linked:
    """A library, the calls behind it, and how it is called."""

    lowered: Lowered
    library: Path
    header: Path
    interface: Interface


@dataclass(frozen=True)
class Built:
    """A linked library in a folder, not measured yet. `grown` says whether a compact one would be smaller."""

    folder: Path
    optimised: Optimised
    lowered: Lowered
    library: Path
    header: Path
    interface: Interface
    schedules: tuple[Mapping[str, Any], ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    grown: bool = False

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
    answer = run_child(
        "budgetc.optimise:optimise",
        {
            "model": str(job.model_file),
            "source": str(job.model.path),
            "recipe": str(recipe),
            "capability": job.capability.model_dump(mode="json"),
            "calibration": str(job.calibration) if job.calibration else None,
            "out": str(out),
        },
        timeout_s=PASS_SECONDS,
        memory_bytes=CHILD_BYTES,
        progress=lambda message: say(message["stage"]),
    )
    model = parse_model(out.read_bytes(), job.model.path)
    return Optimised(recipe, model, tuple(answer["ledger"]))


def _generate(
    job: Job, model_file: Path, folder: Path, say: Say, *, compact: bool
) -> Mapping[str, Any]:
    """Generate code in a child. One that dies while it tunes is started again: records say where it got to."""
    attempts = TUNING_ATTEMPTS if job.trials else 1
    for attempt in range(1, attempts + 1):
        try:
            answer: Mapping[str, Any] = run_child(
                "budgetc.produce:produce",
                {
                    "model": str(model_file),
                    "kind": job.kind,
                    "capability": job.capability.model_dump(mode="json"),
                    "trials": job.trials,
                    "records": str(cache_folder() / "records"),
                    "folder": str(folder),
                    "compact": compact,
                },
                timeout_s=job.seconds,
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
        folder: with `kernels.o`, `weights.bin` and `lowered.json`.
        name: of the artefact.
        capability: the target's sheet; its `threads` are those of the library.
        kind: shared or static.
        cache: folder for zig's caches.

    Raises:
        EnvironmentError_: zig is missing or the machine does not let it work.
        InternalError: what was produced does not compile or link.
    """
    lowered = Lowered.from_json(json.loads((folder / "lowered.json").read_text()))
    weights = (folder / "weights.bin").read_bytes()
    sources = write_sources(lowered, weights, name, folder, capability.threads)
    library = folder / f"lib{name}{'.so' if kind == 'shared' else '.a'}"
    objects = [folder / "kernels.o"]
    link_library(sources.sources, objects, capability, kind, library, api=sources.api, cache=cache)
    return Linked(lowered, library, sources.header, interface(lowered, name, library.name))


def build(
    job: Job, optimised: Optimised, folder: Path, say: Say, *, compact: bool = False
) -> Built:
    """Lower and link an optimised model; a compact library does without what is faster by being larger.

    Raises:
        ChildDied: lowering or tuning crashed, hung or ran out of memory.
        BudgetcError: the model cannot be compiled, or this machine lacks a tool.
    """
    start = time.monotonic()
    model_file = folder / "optimised.onnx"
    model_file.write_bytes(optimised.model.data)
    answer = _generate(job, model_file, folder, say, compact=compact)
    compiled = time.monotonic()
    say("linking")
    linked = link_produced(folder, job.name, job.capability, job.library, cache_folder() / "zig")
    return Built(
        folder=folder,
        optimised=optimised,
        lowered=linked.lowered,
        library=linked.library,
        header=linked.header,
        interface=linked.interface,
        schedules=tuple(answer["schedules"]),
        seconds={"code": compiled - start, "link": time.monotonic() - compiled},
        grown=answer["grown"],
    )
