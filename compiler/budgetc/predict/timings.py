"""What single kernel calls took on this machine: JSON lines, a file for each machine, sheet and code generator."""

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import filelock
from budgetc_specs.capability import Capability
from budgetc_targets.contract import Point, Target

from budgetc.lower.kernel_objects import generator_key
from budgetc.lower.lowered import Layer
from budgetc.machine import machine_fingerprint
from budgetc.registry import find_target
from budgetc.store import write_atomic

KEPT = 9
"""Measurements of one kernel that are kept, the latest ones: their median forgets what disturbed a few."""


@dataclass(frozen=True)
class Timing:
    """One kernel in one library.

    Attributes:
        operator: see `Layer`; so are `bits`, `form`, `point`, `work`, `moved`, `slots` and `parallel`.
        seconds: of a call.
    """

    operator: str
    bits: int
    form: str
    point: Point
    work: int
    moved: int
    slots: int
    parallel: bool
    seconds: float

    @staticmethod
    def of(layer: Layer, seconds: float) -> "Timing":
        """What was measured of a layer."""
        return Timing(
            layer.operator,
            layer.bits,
            layer.form,
            layer.point,
            layer.work,
            layer.moved,
            layer.slots,
            layer.parallel,
            seconds,
        )

    @property
    def key(self) -> tuple[str, Point]:
        """Calls that have it in common take the same time."""
        return self.form, self.point

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Timing":
        """The inverse of `dataclasses.asdict`.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        point = tuple((str(name), int(knob)) for name, knob in value["point"])
        return Timing(**{**value, "point": point, "seconds": float(value["seconds"])})


class Timings:
    """The measurements of one sheet on this machine.

    Args:
        folder: of all sheets.
        target: whose kernels they are.
        capability: the sheet.
    """

    def __init__(self, folder: Path, target: Target, capability: Capability) -> None:
        self._file = folder / f"{machine_fingerprint()}-{generator_key(target, capability)}.jsonl"

    def read(self) -> list[Timing]:
        """All of them, the oldest first; lines that are none are left out."""
        try:
            lines = self._file.read_text(encoding="utf-8").splitlines()
        except OSError:
            return []
        found = []
        for line in lines:
            with contextlib.suppress(KeyError, TypeError, ValueError):
                found.append(Timing.from_json(json.loads(line)))
        return found

    def add(self, timings: Iterable[Timing]) -> None:
        """Add measurements; of one kernel the latest `KEPT` stay. Safe beside other processes that do the same."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(f"{self._file}.lock"):
            by_kernel: dict[tuple[str, Point], list[Timing]] = {}
            for timing in (*self.read(), *timings):
                by_kernel.setdefault(timing.key, []).append(timing)
            lines = [json.dumps(asdict(t)) for same in by_kernel.values() for t in same[-KEPT:]]
            write_atomic(self._file, "".join(f"{line}\n" for line in lines).encode())


def timings_of(folder: Path, kind: str, capability: Capability) -> list[Timing]:
    """What was measured of a target's kernels on this machine; nothing where its code does not run here.

    Args:
        folder: of all sheets.
        kind: the target's kind.
        capability: its sheet.
    """
    return Timings(folder, find_target(kind), capability).read() if capability.native else []
