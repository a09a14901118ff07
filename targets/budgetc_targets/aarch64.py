"""64-bit ARM processors with NEON, with the int8 dot products that the CPU has; linked for Linux."""

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


@functools.cache
def best_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The entry of the table that this machine can run."""
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    features = {w for line in text.splitlines() if "Features" in line for w in line.split()}
    if {"asimddp", "i8mm"} <= features:
        return "generic+i8mm"
    return "generic+dotprod" if "asimddp" in features else "generic"


_ORDER = {"generic": "widening128", "generic+dotprod": "sdot128", "generic+i8mm": "usdot128"}
"""Each machine has the dot products before its own."""


class AArch64(CpuTarget):
    """Linux on 64-bit ARM."""

    kind: ClassVar[str] = "aarch64"
    default_cpu: ClassVar[str] = "generic"

    def runs_here(self, sheet: Mapping[str, Any]) -> bool:
        """Where the machine has the dot product."""
        known = list(_ORDER.values())
        have = known.index(_ORDER[best_cpu()]) if platform.machine() == "aarch64" else -1
        return known.index(sheet["int8_dot"]) <= have

    def runner(self, capability: Capability) -> Runner:
        """Directly on such a machine, else under qemu's user-mode emulation."""
        return Local() if capability.native else QemuUser("aarch64", capability.cpu)
