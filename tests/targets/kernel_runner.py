"""Compiles kernels of many tasks at once in a child process, runs them there, and hands back what they wrote.

Inputs end at a page that must not be read, so that a kernel which reads too far dies; outputs lie between guard
bytes. Tasks of another architecture are linked into one static program and run under qemu.
"""

import ctypes
import faulthandler
import mmap
import os
import pickle
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from budgetc.cache import cache_folder
from budgetc.child import keep_torch_from_tvm
from budgetc.emit.zig import Zig
from budgetc_specs.capability import Capability
from budgetc_targets.aarch64 import AArch64
from budgetc_targets.armv7 import ArmV7
from budgetc_targets.contract import Family, Opened, Opening, Point, Target
from budgetc_targets.cortex_m import CortexM
from budgetc_targets.expression import ACCUMULATOR, Const, Expr, Ref, apply
from budgetc_targets.kernels.families import cpu_families
from budgetc_targets.riscv64 import RiscV64
from budgetc_targets.task import Access, Task
from budgetc_targets.wasm32 import Wasm32
from budgetc_targets.x86_64 import X86_64
from emulated_dots import emulated_dots

Array = npt.NDArray[Any]

GUARD = 128
PATTERN = 0xA5
INTEGER_SLACK = 3
"""Bytes that an integer convolution may read past its input: the rest of the last four channels."""

AVX2 = X86_64().capability("x86-64-v3", 1)
SSE2 = X86_64().capability("x86-64", 1)
SSE4 = X86_64().capability("x86-64-v2", 1)
NEON = AArch64().capability("cortex-a72", 1)
DOTPROD = AArch64().capability("cortex-a76", 1)
I8MM = AArch64().capability("cortex-a710", 1)
ARMV7 = ArmV7().capability("cortex-a7", 1)
WASM = Wasm32().capability("simd128", 1)
SCALAR = RiscV64().capability("rv64gc", 1)
VECTOR = RiscV64().capability("rv64gcv", 1)
M4, M7, M33, M55 = (CortexM().capability(f"cortex-m{n}", 1) for n in (4, 7, 33, 55))
M0PLUS, M3 = (CortexM().capability(f"cortex-m{n}", 1) for n in ("0plus", "3"))
TARGETS: dict[str, Target] = {t.kind: t for t in (AArch64(), ArmV7(), RiscV64(), Wasm32())}
"""Kinds of hardware whose programs run under an emulator."""
WIDE = X86_64().capability("x86-64-v4+avx512vnni", 1)
"""Vectors of 512 bits with a dot product of bytes: every CPU with VNNI runs them."""
WIDE_BF16 = X86_64().capability("znver4", 1)
"""The same with a dot product of bfloat16 numbers, which fewer CPUs have."""
WIDE_EMULATED = WIDE_BF16.model_copy(update={"cpu": "x86-64-v3", "native": True})
"""The schedules of 512-bit vectors in instructions of 256; the dot product is spelt out (see `emulated_dots`)."""


@dataclass(frozen=True)
class Job:
    """One kernel to compile and call.

    Attributes:
        arrays: the task's inputs, then its operands; flat, as many elements as their accesses reach.
        ranges: for parallel tasks, the ranges to call with.
        alias: the operand whose memory the output is.
        done_by: the family, where it is not the one that targets offer for the kind.
        open: whether the kernel is the one for tasks of any size, which reads them.
    """

    name: str
    task: Task
    capability: Capability
    arrays: tuple[Array, ...]
    constants: Mapping[str, Array] = field(default_factory=dict)
    point: Point | None = None
    ranges: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    alias: int | None = None
    done_by: Family | None = None
    open: bool = False

    @property
    def opened(self) -> Opened:
        """The task with its sizes left open, where the job wants that."""
        if not self.open:
            return Opened(self.task, ())
        assert isinstance(self.family, Opening), self.name
        found = self.family.opened(self.task, self.capability, self.chosen)
        assert found, self.name
        return found

    @property
    def family(self) -> Family:
        if self.done_by:
            return self.done_by
        if self.capability.system == "bare":
            offered = [f for f in CortexM().families() if f.kind == self.task.kind]
            return next(
                (f for f in offered if f.refusal(self.task, self.capability) is None), offered[0]
            )
        return family(self.task.kind)

    @property
    def chosen(self) -> Point:
        return (
            self.family.space(self.task, self.capability)[0] if self.point is None else self.point
        )


@dataclass(frozen=True)
class Written:
    """What a kernel wrote: its output's memory from first to last element, and whether the guards are as they were."""

    memory: Array
    intact: bool
    instructions: int = 0  # where an emulator has counted them

    def view(self, access: Access) -> Array:
        """The output in its own shape."""
        size = self.memory.dtype.itemsize
        strides = [s * size for s in access.strides]
        return np.lib.stride_tricks.as_strided(self.memory, access.shape, strides)


def family(kind: str) -> Family:
    return next(f for f in cpu_families() if f.kind == kind)


def dense(dtype: str, shape: Sequence[int]) -> Access:
    """Row-major."""
    strides = [int(np.prod(shape[d + 1 :])) for d in range(len(shape))]
    return Access(dtype, tuple(shape), tuple(strides))


def nhwc(dtype: str, shape: Sequence[int], row: int | None = None) -> Access:
    """Index (n, c, h, w) with the channel innermost; `row` leaves a border between rows."""
    _, c, h, w = shape
    row = row or w * c
    return Access(dtype, tuple(shape), (h * row, 1, row, c))


def spread(access: Access, values: Array, fill: int = 0) -> Array:
    """Values of the access's shape as its flat memory."""
    memory = np.full(access.extent, fill, access.dtype)
    size = memory.dtype.itemsize
    view = np.lib.stride_tricks.as_strided(memory, access.shape, [s * size for s in access.strides])
    view[...] = values
    return memory


def requantise(scale: int = 0, zero: int = 0) -> Expr:
    """The integer epilogue: accumulator times a side input, rounded to even, moved, clamped to u8."""
    rounded = apply("round_int", apply("mul", apply("to_float", ACCUMULATOR), Ref(scale)))
    moved = apply("add", rounded, Const(zero, "int32")) if zero else rounded
    return apply("min", apply("max", moved, Const(0, "int32")), Const(255, "int32"))


def requantised(sums: Array, scale: Array, zero: int = 0) -> Array:
    """The same in numpy, for sums with the channel last."""
    rounded = np.rint(sums.astype(np.float32) * scale) + zero
    return np.clip(rounded, 0, 255).astype(np.uint8)


class Child:
    """A process that has imported tvm and forks for every request, so that a crash ends one request only."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", "import kernel_runner; kernel_runner.serve()"],
            cwd=Path(__file__).parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Child":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()

    def call(self, function: Callable[..., Any], *arguments: object, folder: Path) -> Any:
        """A module's function, called there with pickled arguments; `folder` holds what goes to and fro."""
        assert self._process.stdin
        assert self._process.stdout
        (folder / "request").write_bytes(pickle.dumps((function, arguments)))
        print(folder, file=self._process.stdin, flush=True)
        status = self._process.stdout.readline().strip()
        last = (folder / "log").read_text().strip().splitlines()[-30:]
        assert status == "0", f"the child ended with {status or 'silence'}:\n" + "\n".join(last)
        return pickle.loads((folder / "answer").read_bytes())


def serve() -> None:
    """The child: for every folder named on standard input, answer its request in a fork."""
    keep_torch_from_tvm()
    import budgetc_targets.kernels.objects  # noqa: F401  tvm, once

    for line in sys.stdin:
        folder = Path(line.strip())
        pid = os.fork()
        if pid == 0:
            log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
            os.dup2(log, 1)
            os.dup2(log, 2)
            faulthandler.enable()
            status = 1
            try:
                function, arguments = pickle.loads((folder / "request").read_bytes())
                (folder / "answer").write_bytes(pickle.dumps(function(*arguments)))
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def compile_objects(jobs: Sequence[Job], folder: Path) -> dict[str, list[tuple[int, Path]]]:
    """One object for each capability: (number of the job, object) by program. Imports tvm."""
    from budgetc_targets.kernels.objects import emit_object

    by_capability: dict[Capability, list[int]] = {}
    for i, job in enumerate(jobs):
        reason = job.family.refusal(job.task, job.capability)
        assert reason is None, f"{job.name}: {reason}"
        by_capability.setdefault(job.capability, []).append(i)
    objects: dict[str, list[tuple[int, Path]]] = {}
    for number, (capability, members) in enumerate(by_capability.items()):
        path = folder / f"kernels{number}.o"
        with emulated_dots() if capability == WIDE_EMULATED else nullcontext():
            kernels = [
                jobs[i].family.build(jobs[i].opened.task, capability, jobs[i].chosen, f"kernel{i}")
                for i in members
            ]
            emit_object([k.function for k in kernels], capability, path)
        for i, kernel in zip(members, kernels, strict=True):
            TASKS[i], SCRATCH[i] = kernel.tasks or jobs[i].opened.tasks, kernel.scratch
        # A program is for one core, so that an instruction which that lacks is a crash.
        place = "here" if capability.arch == "x86_64" else f"{number}"
        objects.setdefault(place, []).extend((i, path) for i in members)
    return objects


TASKS: dict[int, int] = {}
"""How many parallel tasks the kernel of a job spans, by the job's number."""

SCRATCH: dict[int, int] = {}
"""How many bytes of scratch memory the kernel of a job takes."""


def _zig(*arguments: str | Path) -> None:
    # Stripped as programs of budgetc are, so that one libc, which takes half a minute to build, serves both.
    Zig(cache_folder() / "zig").run("cc", "-g0", "-s", *arguments)


def _call_arrays(job: Job) -> list[Array]:
    """Arrays in the order of the C parameters, without the output."""
    inputs = len(job.task.inputs)
    packed = job.family.pack(job.task, job.capability, job.chosen, job.constants)
    arrays = [*job.arrays[:inputs], *packed, *job.arrays[inputs:]]
    accesses = [*job.task.inputs, *job.task.operands]
    for access, array in zip(accesses, job.arrays, strict=True):
        assert array.dtype == access.dtype, job.name
        assert array.size == access.extent, job.name
    if job.open:
        arrays.append(np.array(job.opened.sizes, np.int32))
    return [np.ascontiguousarray(a).reshape(-1) for a in arrays]


def _ranges(job: Job, tasks: int) -> list[tuple[int, int]]:
    return [(round(a * tasks), round(b * tasks)) for a, b in job.ranges if tasks]


class _Pages:
    """Memory that ends where reading is a fault."""

    def __init__(self, size: int) -> None:
        whole = -(-max(size, 1) // mmap.PAGESIZE) * mmap.PAGESIZE
        self._map = mmap.mmap(-1, whole + mmap.PAGESIZE)
        self._start = ctypes.addressof(ctypes.c_char.from_buffer(self._map))
        libc = ctypes.CDLL(None, use_errno=True)
        end = ctypes.c_void_p(self._start + whole)
        assert libc.mprotect(end, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
        self.address = self._start + whole - size

    def fill(self, content: bytes) -> None:
        ctypes.memmove(self.address, content, len(content))


def _run_here(job: Job, function: Any, tasks: int, scratch: int) -> Written:
    arrays = _call_arrays(job)
    kept: list[_Pages] = []
    for position, array in enumerate(arrays):
        slack = INTEGER_SLACK if position == 0 and job.task.kind == "convolution" else 0
        pages = _Pages(array.nbytes + slack * (array.dtype == np.uint8))
        pages.fill(array.tobytes())
        kept.append(pages)
    size = job.task.output.extent * np.dtype(job.task.output.dtype).itemsize
    buffer = np.full(size + 2 * GUARD, PATTERN, np.uint8)
    target = buffer.ctypes.data + GUARD
    pointers = [p.address for p in kept]
    if job.alias is not None:
        position = len(arrays) - len(job.task.operands) + job.alias
        content = arrays[position].tobytes()
        ctypes.memmove(target, content, min(len(content), size))
        pointers[position] = target
    pointers.append(target)
    if scratch:
        pages = _Pages(scratch)
        pages.fill(b"\xff" * scratch)  # floats of it are NaN
        assert pages.address % 64 == 0
        kept.append(pages)
        pointers.append(pages.address)
    for call in _ranges(job, tasks) or [()]:
        function(*map(ctypes.c_void_p, pointers), *map(ctypes.c_int, call))
    intact = bool((buffer[:GUARD] == PATTERN).all() and (buffer[GUARD + size :] == PATTERN).all())
    return Written(buffer[GUARD : GUARD + size].view(job.task.output.dtype).copy(), intact)


_MAIN = """
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static unsigned char *next(long size, long slack) {
    unsigned char *memory = malloc(size + slack + 1);
    if (fread(memory, 1, size, stdin) != (size_t)size) exit(9);
    return memory;
}
"""


def _run_elsewhere(
    jobs: Sequence[Job], objects: Sequence[tuple[int, Path]], folder: Path
) -> dict[str, Written]:
    """All jobs of a capability in one static program under an emulator."""
    capability = jobs[objects[0][0]].capability
    source, body, stdin = [_MAIN], [], b""
    sizes = []
    for i, _ in objects:
        job, tasks = jobs[i], TASKS[i]
        arrays = _call_arrays(job)
        size = job.task.output.extent * np.dtype(job.task.output.dtype).itemsize
        sizes.append(size)
        pointers = len(arrays) + 1 + bool(SCRATCH[i])
        parameters = ", ".join(["void *"] * pointers + ["int", "int"] * bool(tasks))
        source.append(f"void kernel{i}({parameters});")
        stdin += b"".join(a.tobytes() for a in arrays)
        names = [f"a{n}" for n in range(len(arrays))]
        body.append(
            "{"
            + "".join(
                f"void *{n} = next({a.nbytes}, 3);" for n, a in zip(names, arrays, strict=True)
            )
        )
        body.append(
            f"unsigned char *y = malloc({size + 2 * GUARD}); memset(y, {PATTERN}, {size + 2 * GUARD});"
        )
        names.append(f"y + {GUARD}")
        if SCRATCH[i]:
            names.append("scratch")
            body.append(f"void *scratch = aligned_alloc(64, {SCRATCH[i]});")
            body.append(f"memset(scratch, 0xff, {SCRATCH[i]});")
        calls = [[*names, *map(str, r)] for r in (_ranges(job, tasks) or [()])]
        body.extend(f"kernel{i}({', '.join(call)});" for call in calls)
        body.append(f"fwrite(y, 1, {size + 2 * GUARD}, stdout);}}")
    source.append("int main(void) {" + "\n".join(body) + "return 0;}")
    (folder / "main.c").write_text("\n".join(source))
    program = folder / "program"
    paths = sorted({path for _, path in objects})
    _zig(
        "-target",
        capability.alone_target,
        "-static",
        "-O1",
        "-w",
        "-o",
        program,
        folder / "main.c",
        *paths,
        "-lm",
    )
    command = TARGETS[capability.target].runner(capability).command(program)
    assert command, "ask its runner first"
    out = subprocess.run(command, input=stdin, capture_output=True, timeout=200, check=True).stdout
    results, at = {}, 0
    for (i, _), size in zip(objects, sizes, strict=True):
        piece = np.frombuffer(out[at : at + size + 2 * GUARD], np.uint8)
        at += size + 2 * GUARD
        intact = bool((piece[:GUARD] == PATTERN).all() and (piece[GUARD + size :] == PATTERN).all())
        memory = piece[GUARD : GUARD + size].copy().view(jobs[i].task.output.dtype)
        results[jobs[i].name] = Written(memory, intact)
    assert at == len(out)
    return results


def run(jobs: Sequence[Job], folder: Path) -> dict[str, Written]:
    """Compile, link, call. For the child."""
    assert len({j.name for j in jobs}) == len(jobs), "two jobs of one name"
    results: dict[str, Written] = {}
    began = time.monotonic()
    objects = compile_objects(jobs, folder)
    print(f"compiled {len(jobs)} in {time.monotonic() - began:.1f} s", file=sys.stderr)
    here = objects.pop("here", [])
    if here:
        library = folder / "kernels.so"
        _zig("-shared", "-o", library, *sorted({path for _, path in here}), "-lm")
        loaded = ctypes.CDLL(str(library))
        for i, _ in here:
            print("running", jobs[i].name, jobs[i].chosen, file=sys.stderr, flush=True)
            function = getattr(loaded, f"kernel{i}")
            results[jobs[i].name] = _run_here(jobs[i], function, TASKS[i], SCRATCH[i])
    for members in objects.values():
        if jobs[members[0][0]].capability.system == "bare":
            from kernel_firmware import Kernel, run_as_firmware

            kernels = [
                Kernel(i, jobs[i], path, _call_arrays(jobs[i]), SCRATCH[i]) for i, path in members
            ]
            results |= run_as_firmware(kernels, folder)
        else:
            results |= _run_elsewhere(jobs, members, folder)
    return results
