"""Kernels at several points as one program with a timer for each, and the memory that they work on."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Self

import numpy as np
from budgetc_specs.capability import Capability
from budgetc_specs.errors import BudgetcError
from budgetc_targets.contract import Array, Device, Kernel, Point, Runner, Target
from budgetc_targets.task import Access

from budgetc.cache import cache_folder
from budgetc.emit.zig import Zig
from budgetc.lower.points import Work
from budgetc.measure.conversation import BinaryError, Conversation
from budgetc.measure.harness import command_line
from budgetc.tuning.race import RACE_SECONDS, race

THIS_MACHINE = "this machine"
_GRACE_SECONDS = 30.0  # beyond the program's own limit; for its start and its files
_MEMORY = "memory.bin"
_SOURCES = ("race.c", "race.h")
_ALIGNMENT = 64
_SLACK = 128  # kernels may read a few bytes before and behind a tensor

_TIMER = """#define _GNU_SOURCE
#include "race.h"
#include <time.h>
static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}
"""


@dataclass
class _Memory:
    """Arrays one after another in a file, each at a cache line's start with room around it."""

    parts: list[tuple[int, Array]] = field(default_factory=list)
    size: int = _SLACK

    def add(self, array: Array) -> int:
        """The offset at which the array will lie."""
        at = self.size
        self.parts.append((at, array))
        self.size += -(-array.nbytes // _ALIGNMENT) * _ALIGNMENT + _SLACK
        return at

    def write(self, path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(self.size)
            for at, array in self.parts:
                if array.any():  # the rest of the file is zeros that take no space
                    file.seek(at)
                    file.write(np.ascontiguousarray(array).tobytes())


class Contenders:
    """Compiled kernels that can be raced, as a context manager.

    Args:
        command: what starts the program with the kernels; None where it cannot be run here.
        memory: file with what the kernels work on.
        count: number of kernels.
        machine: where it runs, if the program does not say more.

    Attributes:
        machines: what races ended on, in the order in which they first did.
    """

    def __init__(
        self, command: Sequence[str] | None, memory: Path, count: int, machine: str = THIS_MACHINE
    ) -> None:
        assert command is not None, "BUG: kernels are raced where programs cannot be run"
        self._command, self._memory, self._count = command, memory, count
        self._machine = machine
        self._talk: Conversation | None = None
        self.machines: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()

    def race(self, *numbers: int) -> list[list[float]]:
        """Nanoseconds of a call of each kernel, one number a round; some of the kernels, or all.

        The program goes on running where it went well, and is started anew, maybe on another device, where it did not.

        Raises:
            BinaryError: a kernel crashed or took too long.
            TargetUnreachableError: the device was not reached, or is lost.
        """
        try:
            if self._talk is None:
                talk = Conversation(self._command, "a kernel", RACE_SECONDS + _GRACE_SECONDS)
                self._talk = talk.__enter__()
                (talk.folder / _MEMORY).symlink_to(self._memory)
            samples = race(self._talk, _MEMORY, numbers or range(self._count))
        except BudgetcError as error:
            if isinstance(error, BinaryError):
                self._note()
            self._leave()
            raise
        self._note()
        return samples

    def _note(self) -> None:
        name = (self._talk.machine if self._talk else "") or self._machine
        if name not in self.machines:
            self.machines.append(name)

    def _leave(self) -> None:
        talk, self._talk = self._talk, None
        if talk is not None:
            talk.__exit__(None, None, None)


def compile_contenders(
    chosen: Sequence[tuple[Work, Point]],
    target: Target,
    capability: Capability,
    runner: Runner,
    folder: Path,
) -> Contenders:
    """Compile kernels at the given points into a folder. Imports tvm."""
    memory, arguments, kernels = _Memory(), [], []
    shared: dict[str, tuple[list[int], list[int], int]] = {}
    for i, (work, point) in enumerate(chosen):
        task = work.task
        kernel = work.family.build(task, capability, point, f"k{i}")
        if task.digest not in shared:
            numbers = [np.ones(task.numbers, np.float32)] if task.numbers else []
            behind = [*map(_numbers, task.operands), *numbers]
            shared[task.digest] = (
                [memory.add(_numbers(a)) for a in task.inputs],
                [memory.add(a) for a in behind],
                memory.add(_numbers(task.output)),
            )
        inputs, operands, output = shared[task.digest]
        packed = work.family.pack(task, capability, point, work.constants)
        scratch = [np.zeros(kernel.scratch, np.uint8)] if kernel.scratch else []
        arguments.append(
            [*inputs, *map(memory.add, packed), *operands, output, *map(memory.add, scratch)]
        )
        kernels.append(kernel)
    target.emit_object([k.function for k in kernels], capability, folder / "k.o")
    (folder / "t.c").write_text(_table(kernels, arguments))
    for name in _SOURCES:
        (folder / name).write_bytes(resources.files("budgetc.emit").joinpath(name).read_bytes())
    memory.write(folder / _MEMORY)
    alone = not capability.native
    triple = capability.alone_target if alone else capability.zig_target
    linked = ["race.c", "t.c", "k.o", "-lm", *(["-static"] if alone else [])]
    flags = (
        "-std=c23",
        "-O2",
        "-g0",
        "-s",
        "-fno-sanitize=all",
    )  # others have zig build another libc
    Zig(cache_folder() / "zig").run(
        "cc", "-target", triple, *flags, *linked, "-o", "race", cwd=folder
    )
    command = command_line(folder / "race", capability, runner, cache_folder())
    machine = runner.device if isinstance(runner, Device) else THIS_MACHINE
    return Contenders(command, folder / _MEMORY, len(kernels), machine)


def _table(kernels: Sequence[Kernel], arguments: Sequence[Sequence[int]]) -> str:
    """A function for each kernel that calls it n times and returns the nanoseconds, and the table of them."""
    lines, rows = [_TIMER], []
    for i, (kernel, offsets) in enumerate(zip(kernels, arguments, strict=True)):
        parallel = kernel.tasks > 0
        count = len(offsets)
        kinds = ["void *"] * count + ["int32_t"] * (2 if parallel else 0)
        given = [f"a[{k}]" for k in range(count)] + (["0", str(kernel.tasks)] if parallel else [])
        lines.append(f"void k{i}({', '.join(kinds)});")
        lines.append(
            f"static int64_t time{i}(void **a, int64_t n) {{ int64_t t = now(); "
            f"for (int64_t i = 0; i < n; i++) k{i}({', '.join(given)}); return now() - t; }}"
        )
        lines.append(f"static const int64_t at{i}[] = {{{', '.join(map(str, offsets))}}};")
        rows.append(f"{{time{i}, {count}, at{i}}}")
    lines.append(f"const contender contenders[] = {{{', '.join(rows)}}};")
    lines.append(f"const int32_t contender_count = {len(rows)};")
    return "\n".join(lines) + "\n"


def _numbers(access: Access) -> Array:
    """Random contents for a tensor as a kernel reaches it."""
    random = np.random.default_rng(0)
    dtype = np.dtype(access.dtype)
    if dtype.kind == "f":
        return random.standard_normal(access.extent).astype(dtype)
    return random.integers(0, 100, access.extent).astype(dtype)
