"""Runs compiled kernels as one firmware on an emulated board, and counts the instructions of each."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from budgetc.cache import cache_folder
from budgetc.emit.firmware.image import link_firmware
from budgetc.emit.zig import Zig
from budgetc_targets.cortex_m import CortexM
from budgetc_targets.runners.qemu_system import QemuSystem
from kernel_runner import GUARD, PATTERN, Array, Job, Written

_FIRMWARE = """
#include "board.h"
extern unsigned char heap_start[];
static unsigned char *at;
static int in;
static unsigned char *next(unsigned size) {
    unsigned char *memory = at;
    at += (size + 15 + 16) & ~15u;
    if (read_host(in, memory, size) != size) leave(9);
    return memory;
}
static void paint(unsigned char *memory, unsigned size, unsigned char value) { while (size--) *memory++ = value; }
"""


@dataclass(frozen=True)
class Kernel:
    """A compiled job: its number, the object that has it, the arrays of its call, and its bytes of scratch memory."""

    number: int
    job: Job
    path: Path
    arrays: Sequence[Array]
    scratch: int

    @property
    def size(self) -> int:
        """Bytes of the output."""
        output = self.job.task.output
        return output.extent * np.dtype(output.dtype).itemsize


def run_as_firmware(kernels: Sequence[Kernel], folder: Path) -> dict[str, Written]:
    """All jobs of a core without an operating system as one firmware on an emulated board."""
    capability = kernels[0].job.capability
    runner = CortexM().runner(capability)
    assert isinstance(runner, QemuSystem)
    source, body, given = [_FIRMWARE], [], b""
    for kernel in kernels:
        i, job, arrays, size = kernel.number, kernel.job, kernel.arrays, kernel.size
        pointers = len(arrays) + 1 + bool(kernel.scratch)
        source.append(f"void kernel{i}({', '.join(['void *'] * pointers)});")
        given += b"".join(a.tobytes() for a in arrays)
        names = [f"a{n}" for n in range(len(arrays))]
        body.append("{ at = heap_start;")
        body += [f"void *{n} = next({a.nbytes});" for n, a in zip(names, arrays, strict=True)]
        body.append(f"unsigned char *y = at; at += {size + 2 * GUARD + 64};")
        body.append(f"paint(y, {size + 2 * GUARD}, {PATTERN});")
        if job.alias is not None:
            position = len(arrays) - len(job.task.operands) + job.alias
            body.append(
                f"for (int i = 0; i < {size}; i++) y[{GUARD} + i] = ((unsigned char *)a{position})[i];"
            )
            names[position] = f"y + {GUARD}"
        names.append(f"y + {GUARD}")
        if kernel.scratch:
            names.append("(void *)(((uintptr_t)at + 63) & ~63u)")
        body.append("uint64_t t[4]; t[0] = ticks(); twenty_thousand_nops(); t[1] = ticks();")
        body.append(f"kernel{i}({', '.join(names)}); t[2] = ticks();")
        body.append("t[3] = (t[2] - t[1]) * 20000 / (t[1] - t[0]);")
        body.append(f"write_host(out, t + 3, 8); write_host(out, y, {size + 2 * GUARD}); }}")
    source.append(
        'int main(void) { in = open_host("in.bin", FROM_FILE); int out = open_host("out.bin", TO_FILE);'
    )
    source.append("\n".join(body) + "close_host(out); return 0; }")
    (folder / "in.bin").write_bytes(given)
    (folder / "kernels.c").write_text("\n".join(source))
    program = folder / "firmware.elf"
    parts = sorted({kernel.path for kernel in kernels})
    zig = Zig(cache_folder() / "zig")
    link_firmware(
        [folder / "kernels.c"], parts, capability, runner.memory_map, program, zig, ["-w"]
    )
    command = runner.command(program)
    assert command, "ask `emulated()` first"
    subprocess.run(command, cwd=folder, timeout=200, check=True, stdin=subprocess.DEVNULL)
    out, results, at = (folder / "out.bin").read_bytes(), {}, 0
    for kernel in kernels:
        size, job = kernel.size, kernel.job
        count = int.from_bytes(out[at : at + 8], "little")
        piece = np.frombuffer(out[at + 8 : at + 8 + size + 2 * GUARD], np.uint8)
        at += 8 + size + 2 * GUARD
        intact = bool((piece[:GUARD] == PATTERN).all() and (piece[GUARD + size :] == PATTERN).all())
        memory = piece[GUARD : GUARD + size].copy().view(job.task.output.dtype)
        results[job.name] = Written(memory, intact, count)
    assert at == len(out)
    return results
