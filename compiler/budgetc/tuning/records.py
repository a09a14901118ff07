"""What was measured of each kernel's points: a file for each kernel and sheet, so that nothing is measured twice."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from budgetc_specs.capability import Capability
from budgetc_targets.contract import Point

from budgetc.store import write_atomic


@dataclass(frozen=True)
class Record:
    """One kernel's measurements.

    Attributes:
        kernel: kind of its task.
        task: the task's digest.
        times: nanoseconds of a call at each point that was measured, in the order of measurement; None where the code
            could not be made or crashed.
        point: the fastest; None where the default was not measured, or does not work.
        fruitless: how many points were measured since one was faster.
        machines: what measured them, by the names of runners and devices, in the order in which they first did.
    """

    kernel: str
    task: str
    times: Mapping[Point, float | None]
    point: Point | None = None
    fruitless: int = 0
    machines: tuple[str, ...] = ()

    def measured(
        self,
        times: Mapping[Point, float | None],
        fastest: Point | None,
        machines: Sequence[str] = (),
    ) -> "Record":
        """The record with more points, or newer times; without a `fastest` the new points were fruitless."""
        known = {**self.times, **times}
        by = tuple(dict.fromkeys([*self.machines, *machines]))
        if fastest is None:
            vain = len(known) - len(self.times)
            return replace(self, times=known, fruitless=self.fruitless + vain, machines=by)
        return replace(self, times=known, point=fastest, fruitless=0, machines=by)

    @property
    def nanoseconds(self) -> float:
        """A call of the kernel at its fastest point; 0 where that is not known."""
        return (self.times.get(self.point) or 0.0) if self.point is not None else 0.0

    def to_json(self) -> dict[str, Any]:
        """As a file has it."""
        return {
            "kernel": self.kernel,
            "task": self.task,
            "point": None if self.point is None else point_to_json(self.point),
            "times": [[point_to_json(p), t] for p, t in self.times.items()],
            "fruitless": self.fruitless,
            "machines": list(self.machines),
        }

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> "Record":
        """The record of a file.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        return Record(
            kernel=str(data["kernel"]),
            task=str(data["task"]),
            times={point_from_json(p): None if t is None else float(t) for p, t in data["times"]},
            point=None if data["point"] is None else point_from_json(data["point"]),
            fruitless=int(data["fruitless"]),
            machines=tuple(map(str, data.get("machines", ()))),
        )


class Records:
    """The records of one sheet.

    Args:
        folder: of all sheets.
        capability: the sheet.
    """

    def __init__(self, folder: Path, capability: Capability) -> None:
        sheet = hashlib.sha256(capability.model_dump_json().encode()).hexdigest()[:12]
        self._folder = folder / sheet

    def recall(self, kernel: str, task: str) -> Record:
        """What is known of a kernel; nothing where there is no file, or none that can be read."""
        try:
            return Record.from_json(json.loads(self._file(task).read_text()))
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            return Record(kernel, task, {})

    def keep(self, record: Record) -> None:
        """Write a record; whoever is interrupted leaves the one before or this one."""
        self._folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self._file(record.task), json.dumps(record.to_json()).encode())

    def _file(self, task: str) -> Path:
        return self._folder / f"{task}.json"


def point_to_json(point: Point) -> list[list[str | int]]:
    """A point as a file has it."""
    return [list(knob) for knob in point]


def point_from_json(knobs: Any) -> Point:
    """The inverse of `point_to_json`.

    Raises:
        TypeError, ValueError: it is no point.
    """
    return tuple((str(name), int(value)) for name, value in knobs)
