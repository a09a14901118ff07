"""64-bit RISC-V processors, with and without the vector extension; linked for Linux."""

import functools
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from budgetc_specs.capability import Capability

from budgetc_targets.contract import Runner
from budgetc_targets.cpu import CpuTarget
from budgetc_targets.runners.local import Local
from budgetc_targets.runners.qemu_user import QemuUser

_WORD = 4  # bytes of a vector where there are none


@functools.cache
def best_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The entry of the table that this machine can run."""
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line[:3] == "isa"]
    standard = [name.partition("_")[0] for name in names]
    return "rv64gcv" if standard and all("v" in name[4:] for name in standard) else "rv64gc"


class RiscV64(CpuTarget):
    """Linux on 64-bit RISC-V."""

    kind: ClassVar[str] = "riscv64"
    default_cpu: ClassVar[str] = "rv64gc"

    def runs_here(self, sheet: Mapping[str, Any]) -> bool:
        """Where the machine is such a one and has the vectors of a sheet that has some."""
        vectors = sheet["vector_bytes"] > _WORD
        return platform.machine() == "riscv64" and (not vectors or best_cpu() == "rv64gcv")

    def runner(self, capability: Capability) -> Runner:
        """Directly on such a machine, else under qemu's user-mode emulation, with vectors of the least length."""
        if capability.native:
            return Local()
        vectors = capability.vector_bytes > _WORD
        return QemuUser("riscv64", "rv64,v=true,vext_spec=v1.0,vlen=128" if vectors else "rv64")
