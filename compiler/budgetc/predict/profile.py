"""The calls of a built library timed one by one, in their places, and what is learnt from it for later predictions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from budgetc_targets.contract import Runner

from budgetc.build import Job, Linked, link_entries
from budgetc.cache import cache_folder
from budgetc.emit.driver import probe_symbol, write_sources
from budgetc.load import Array, Interface
from budgetc.lower.lowered import Layer, Lowered
from budgetc.predict.timings import Timing, Timings
from budgetc.registry import find_target
from budgetc.run import start_native

SECONDS = 0.4
"""How long inferences are timed."""

LEAST, MOST = 20, 5000
"""Inferences."""


@dataclass(frozen=True)
class Call:
    """What one kernel call took.

    Attributes:
        layer: what it is for.
        seconds: of the kernel.
        filling: seconds of setting memory before it.
    """

    layer: Layer
    seconds: float
    filling: float

    @property
    def total(self) -> float:
        """Seconds of both."""
        return self.seconds + self.filling

    def to_json(self) -> dict[str, Any]:
        """The layer as a result has it, its seconds with those of the filling."""
        names = ("layer", "operator", "kernel", "bits", "sparsity", "weight_bytes", "macs")
        return {
            **{name: getattr(self.layer, name) for name in names},
            "seconds": self.total,
        }


def profile(
    linked: Linked,
    folder: Path,
    job: Job,
    runner: Runner,
    inputs: Mapping[str, Array],
    entry: int = 0,
) -> list[Call] | None:
    """Time every call of a library; None where its code does not run on this machine directly.

    The same objects are linked once more, with a driver that takes the time between calls. What taking it costs is
    taken off, and of all inferences the faster half counts.

    Args:
        linked: the library.
        folder: in which it was built, with its objects and weights.
        job: as which it was built.
        runner: starts programs of the target.
        inputs: by name, arrays with samples on axis 0, of which the first is run.
        entry: position of the entry point.

    Raises:
        BinaryError: the library crashed or hung.
        EnvironmentError_: zig is missing or the machine does not let it work.
    """
    if not job.capability.native:
        return None
    library = _probed(linked, folder, job)
    interface: Interface = linked.interface.entries[entry]
    harness = start_native(library, interface, job.capability, runner)
    if harness is None:
        return None
    with harness:
        harness.load(inputs)
        once = float(np.median(harness.profile(5, probe_symbol(job.name)).sum(axis=1))) * 1e-9
        count = min(MOST, max(LEAST, int(SECONDS / max(once, 1e-9))))
        moments = harness.profile(count, probe_symbol(job.name))
    return _calls(linked.entries[entry], moments * 1e-9)


def remember(job: Job, calls: Sequence[Call]) -> None:
    """Keep what calls took, for predictions to come."""
    timings = Timings(job.timings, find_target(job.kind), job.capability)
    timings.add(Timing.of(call.layer, call.seconds) for call in calls if call.seconds > 0)


def _probed(linked: Linked, folder: Path, job: Job) -> Path:
    place = folder / "profile"
    place.mkdir(exist_ok=True)
    weights = (folder / "weights.bin").read_bytes()
    threads = job.capability.threads
    written = write_sources(linked.entries, weights, job.name, place, threads, probed=True)
    library = place / f"lib{job.name}.so"
    cache = cache_folder() / "zig"
    link_entries(linked.entries, folder, written, library, job.capability, "shared", cache)
    return library


def _calls(lowered: Lowered, moments: Any) -> list[Call]:
    """From seconds between moments, one row an inference: the clock alone, then filling and kernel of each call."""
    totals = moments.sum(axis=1)
    usual = moments[totals <= np.median(totals)]
    cost = float(moments[:, 0].min())
    seconds = np.maximum(0.0, usual.mean(axis=0) - cost)[1:].reshape(-1, 2)
    return [
        Call(layer, float(kernel), float(filling) if call.fills else 0.0)
        for call, layer, (filling, kernel) in zip(
            lowered.calls, lowered.layers, seconds, strict=True
        )
    ]
