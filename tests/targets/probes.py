"""What tests look at inside tvm and LLVM: functions that the child calls."""

import re
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from budgetc_specs.capability import Capability
from kernel_runner import Job


def sections(path: Path) -> dict[str, bytes]:
    """The sections of a 64-bit little-endian ELF file that are in it, by name."""
    data = path.read_bytes()
    assert data[:5] == b"\x7fELF\x02"
    (table,) = struct.unpack_from("<Q", data, 0x28)
    size, count, names = struct.unpack_from("<HHH", data, 0x3A)
    headers = [struct.unpack_from("<IIQQQQ", data, table + i * size) for i in range(count)]
    strings = headers[names][4]
    found = {}
    for name, kind, _, _, offset, length in headers:
        end = data.index(b"\0", strings + name)
        if kind != 8:  # SHT_NOBITS
            found[data[strings + name : end].decode()] = data[offset : offset + length]
    return found


def scratch_of(job: Job) -> int:
    """Bytes of scratch memory that one kernel wants."""
    return job.family.build(job.task, job.capability, job.chosen, "kernel").scratch


def text_of(job: Job, folder: Path) -> bytes:
    """The machine code of one kernel."""
    from budgetc_targets.kernels.objects import emit_object

    kernel = job.family.build(job.task, job.capability, job.chosen, "kernel")
    emit_object([kernel.function], job.capability, folder / "kernel.o")
    return sections(folder / "kernel.o")[".text"]


def undefined_symbols(jobs: Sequence[Job], folder: Path) -> set[str]:
    """What an object of these kernels, all for one target, needs from outside."""
    from budgetc_targets.kernels.objects import emit_object

    kernels = [
        job.family.build(job.task, job.capability, job.chosen, f"kernel{i}")
        for i, job in enumerate(jobs)
    ]
    emit_object([k.function for k in kernels], jobs[0].capability, folder / "kernel.o")
    found = sections(folder / "kernel.o")
    table, strings = found[".symtab"], found[".strtab"]
    names = set()
    for at in range(24, len(table), 24):
        name, _, _, section = struct.unpack_from("<IBBH", table, at)
        if section == 0:
            names.add(strings[name : strings.index(b"\0", name)].decode())
    return names


def llvm_ir(functions: Sequence[Any], capability: Capability) -> str:
    """What LLVM is given for TIR functions, after our passes."""
    from budgetc_targets.kernels.objects import generate

    return str(generate(functions, capability).inspect_source("ll"))


def kernel_ir(job: Job) -> str:
    """The same for the kernel of a job."""
    kernel = job.family.build(job.task, job.capability, job.chosen, "kernel")
    return llvm_ir([kernel.function], job.capability)


def arithmetic(job: Job) -> list[str]:
    """The vector instructions in the code of a kernel for x86 that compute, by name, and "call" for each call."""
    from budgetc_targets.kernels.objects import generate

    kernel = job.family.build(job.task, job.capability, job.chosen, "kernel")
    code = str(generate([kernel.function], job.capability).inspect_source("s"))
    body = code.partition("\nkernel:")[2].partition(".Lfunc_end")[0]
    names = re.findall(r"^\s+(v[a-z]\w+|call)q?\s", body, re.MULTILINE)
    return [name for name in names if not name.startswith(("vmov", "vbroadcast", "vpbroadcast"))]


def signature(ir: str, name: str = "kernel") -> str:
    """The line that defines a function."""
    (line,) = re.findall(rf"^define .*@{name}\(.*$", ir, re.MULTILINE)
    return str(line)
