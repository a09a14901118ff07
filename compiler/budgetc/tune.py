"""Autotuning: measure the points of a kernel's space on this machine and remember the fastest.

All points of one kernel are compiled into one library and timed in turns, round after round, so that a machine that
slows down slows them all; the point with the least median wins, and the default stays unless another is clearly faster.
Runs in the child that generates code, because it imports tvm and executes what it made.
"""

import ctypes
import hashlib
import json
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from budgetc_specs.capability import Capability
from budgetc_targets.contract import Array, Family, Point, Target
from budgetc_targets.task import Access, Task

from budgetc.cache import cache_folder
from budgetc.child import report_progress
from budgetc.emit.zig import Zig
from budgetc.store import write_atomic

ROUNDS = 9
ROUND_NS = 300_000  # long enough for the clock, short enough for many rounds
WORTH = 0.98  # another point must beat the default by more than noise
SLACK = 64

_TIMER = """#include <stdint.h>
#include <time.h>
static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
"""


class Tuner:
    """Chooses points by measurement.

    Args:
        target: whose kernels are tuned; its code must run on this machine, else defaults are taken.
        capability: the target's sheet.
        trials: points to measure for each kernel at most.
        folder: where records are kept, one file for each kernel and sheet.
    """

    def __init__(self, target: Target, capability: Capability, trials: int, folder: Path) -> None:
        self._target, self._capability, self._trials = target, capability, trials
        sheet = hashlib.sha256(capability.model_dump_json().encode()).hexdigest()[:12]
        self._folder = folder / sheet
        self._chosen: dict[str, dict[str, Any]] = {}

    def choose(self, family: Family, task: Task, constants: Mapping[str, Array]) -> Point:
        """The fastest known point of a task's space, measured now where it is not known yet."""
        space = list(family.space(task, self._capability))[: max(1, self._trials)]
        if len(space) == 1 or not self._capability.native:
            return space[0]
        if task.digest not in self._chosen:
            record = self._recall(task, space) or self._measure(family, task, space, constants)
            self._chosen[task.digest] = record
        best = tuple((str(k), int(v)) for k, v in self._chosen[task.digest]["point"])
        return best if best in space else space[0]

    def report(self) -> list[dict[str, Any]]:
        """What was chosen for each kernel, with the nanoseconds of every point."""
        return list(self._chosen.values())

    def _recall(self, task: Task, space: Sequence[Point]) -> dict[str, Any] | None:
        path = self._folder / f"{task.digest}.json"
        try:
            record: dict[str, Any] = json.loads(path.read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None
        # A record without times was begun by a process that died over it: leave that kernel alone.
        known = {tuple((k, v) for k, v in point) for point, _ in record.get("times", ())}
        return record if "times" not in record or known >= set(space) else None

    def _measure(
        self, family: Family, task: Task, space: Sequence[Point], constants: Mapping[str, Array]
    ) -> dict[str, Any]:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{task.digest}.json"
        begun = {"kernel": task.kind, "task": task.digest, "point": [list(k) for k in space[0]]}
        write_atomic(path, json.dumps(begun).encode())
        report_progress({"stage": f"tuning {task.kind} ({len(space)} schedules)"})
        with tempfile.TemporaryDirectory(prefix="budgetc-tune-") as folder:
            library, buffers = self._library(family, task, space, constants, Path(folder))
            times = _race(library, buffers)
        fastest = min(range(len(space)), key=times.__getitem__)
        if times[fastest] > WORTH * times[0]:
            fastest = 0
        record = {
            **begun,
            "point": [list(k) for k in space[fastest]],
            "times": [[[list(k) for k in p], t] for p, t in zip(space, times, strict=True)],
        }
        write_atomic(path, json.dumps(record).encode())
        return record

    def _library(
        self,
        family: Family,
        task: Task,
        space: Sequence[Point],
        constants: Mapping[str, Array],
        folder: Path,
    ) -> tuple[ctypes.CDLL, list[list[Array]]]:
        """One library with every point, and each point's arguments."""
        kernels = [
            family.build(task, self._capability, point, f"k{i}") for i, point in enumerate(space)
        ]
        self._target.emit_object([k.function for k in kernels], self._capability, folder / "k.o")
        inputs = [_numbers(a) for a in task.inputs]
        operands = [_numbers(a) for a in task.operands]
        numbers = [_padded(np.ones(task.numbers, np.float32))] if task.numbers else []
        output = _numbers(task.output)
        buffers: list[list[Array]] = []
        for point, kernel in zip(space, kernels, strict=True):
            packed = [_padded(a) for a in family.pack(task, self._capability, point, constants)]
            scratch = [_padded(np.zeros(kernel.scratch, np.uint8))] if kernel.scratch else []
            buffers.append([*inputs, *packed, *operands, *numbers, output, *scratch])
        (folder / "t.c").write_text(
            _timer_source([len(b) for b in buffers], [k.tasks for k in kernels])
        )
        Zig(cache_folder() / "zig").run(
            "cc", "-target", self._capability.zig_target, "-O2", "-shared", "-fno-sanitize=all",
            "t.c", "k.o", "-lm", "-o", "t.so", cwd=folder,
        )  # fmt: skip
        return ctypes.CDLL(str(folder / "t.so")), buffers


def _timer_source(pointers: Sequence[int], tasks: Sequence[int]) -> str:
    """A function for each kernel that calls it n times and returns the nanoseconds."""
    lines = [_TIMER]
    for i, (count, parallel) in enumerate(zip(pointers, tasks, strict=True)):
        kinds = ["void *"] * count + ["int32_t"] * (2 if parallel else 0)
        arguments = [f"a[{k}]" for k in range(count)] + (["0", str(parallel)] if parallel else [])
        lines.append(f"void k{i}({', '.join(kinds)});")
        lines.append(
            f"int64_t time{i}(void **a, int64_t n) {{ int64_t t = now(); "
            f"for (int64_t i = 0; i < n; i++) k{i}({', '.join(arguments)}); return now() - t; }}"
        )
    return "\n".join(lines) + "\n"


def _race(library: ctypes.CDLL, buffers: Sequence[Sequence[Array]]) -> list[float]:
    """Median nanoseconds of a call, for each kernel, taken in turns."""
    entries = []
    for i, arrays in enumerate(buffers):
        function = getattr(library, f"time{i}")
        function.restype = ctypes.c_int64
        pointers = (ctypes.c_void_p * len(arrays))(*(a.ctypes.data for a in arrays))
        once = max(1, function(pointers, ctypes.c_int64(1)))
        entries.append((function, pointers, max(1, ROUND_NS // once)))
    samples: list[list[float]] = [[] for _ in entries]
    for turn in range(ROUNDS):
        order = range(len(entries)) if turn % 2 else reversed(range(len(entries)))
        for i in order:
            function, pointers, count = entries[i]
            samples[i].append(function(pointers, ctypes.c_int64(count)) / count)
    return [statistics.median(s) for s in samples]


def _numbers(access: Access) -> Array:
    """Random contents for a tensor as a kernel reaches it."""
    random = np.random.default_rng(0)
    dtype = np.dtype(access.dtype)
    if dtype.kind == "f":
        return _padded(random.standard_normal(access.extent).astype(dtype))
    return _padded(random.integers(0, 100, access.extent).astype(dtype))


def _padded(array: Array) -> Array:
    """A contiguous copy at a cache line's start, with room behind it for whole-vector reads."""
    raw = np.zeros(array.nbytes + 2 * SLACK, np.uint8)
    start = -raw.ctypes.data % SLACK
    copy = raw[start : start + array.nbytes].view(array.dtype)
    copy[:] = array.reshape(-1)
    return copy
