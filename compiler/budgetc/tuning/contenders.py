"""Kernels at several points as one library with a timer for each, and the memory that they work on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from budgetc_specs.capability import Capability
from budgetc_targets.contract import Array, Kernel, Point, Target
from budgetc_targets.task import Access

from budgetc.cache import cache_folder
from budgetc.emit.zig import Zig
from budgetc.lower.points import Work
from budgetc.worker import run_child

RACE_SECONDS = 120.0
RACE_BYTES = 4 * 2**30
_ALIGNMENT = 64
_SLACK = 128  # kernels may read a few bytes before and behind a tensor

_TIMER = """#include <stdint.h>
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


@dataclass(frozen=True)
class Contenders:
    """Compiled kernels that can be raced; `arguments` are offsets into the memory, by kernel."""

    folder: Path
    arguments: Mapping[int, Sequence[int]]

    def only(self, *numbers: int) -> "Contenders":
        """Some of them."""
        return Contenders(self.folder, {i: self.arguments[i] for i in numbers})

    def race(self) -> list[list[float]]:
        """Nanoseconds of a call of each kernel, one number a round.

        Raises:
            ChildDied: a kernel crashed or took too long.
        """
        samples: list[list[float]] = run_child(
            "budgetc.tuning.race:race",
            {
                "library": str(self.folder / "t.so"),
                "memory": str(self.folder / "memory.bin"),
                "numbers": list(self.arguments),
                "arguments": list(self.arguments.values()),
            },
            timeout_s=RACE_SECONDS,
            memory_bytes=RACE_BYTES,
        )
        return samples


def compile_contenders(
    chosen: Sequence[tuple[Work, Point]], target: Target, capability: Capability, folder: Path
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
    (folder / "t.c").write_text(_timers(kernels, [len(a) for a in arguments]))
    memory.write(folder / "memory.bin")
    Zig(cache_folder() / "zig").run(
        "cc", "-target", capability.zig_target, "-O2", "-shared", "-fno-sanitize=all",
        "t.c", "k.o", "-lm", "-o", "t.so", cwd=folder,
    )  # fmt: skip
    return Contenders(folder, dict(enumerate(arguments)))


def _timers(kernels: Sequence[Kernel], pointers: Sequence[int]) -> str:
    """A function for each kernel that calls it n times and returns the nanoseconds."""
    lines = [_TIMER]
    for i, (kernel, count) in enumerate(zip(kernels, pointers, strict=True)):
        parallel = kernel.tasks > 0
        kinds = ["void *"] * count + ["int32_t"] * (2 if parallel else 0)
        given = [f"a[{k}]" for k in range(count)] + (["0", str(kernel.tasks)] if parallel else [])
        lines.append(f"void k{i}({', '.join(kinds)});")
        lines.append(
            f"int64_t time{i}(void **a, int64_t n) {{ int64_t t = now(); "
            f"for (int64_t i = 0; i < n; i++) k{i}({', '.join(given)}); return now() - t; }}"
        )
    return "\n".join(lines) + "\n"


def _numbers(access: Access) -> Array:
    """Random contents for a tensor as a kernel reaches it."""
    random = np.random.default_rng(0)
    dtype = np.dtype(access.dtype)
    if dtype.kind == "f":
        return random.standard_normal(access.extent).astype(dtype)
    return random.integers(0, 100, access.extent).astype(dtype)
