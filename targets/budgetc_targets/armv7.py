"""32-bit ARM processors with NEON, ARMv7-A and ARMv8-A in its 32-bit state; linked for Linux, hard-float."""

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
    """The entry of the table that this machine can run; one that it surely cannot is the least."""
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    features = {w for line in text.splitlines() if "Features" in line for w in line.split()}
    return "cortex-a7" if {"neon", "vfpv4", "idiva"} <= features else "cortex-a9"


class ArmV7(CpuTarget):
    """Linux on 32-bit ARM with NEON. Its vectors take numbers below the normal ones for zero."""

    kind: ClassVar[str] = "armv7"
    default_cpu: ClassVar[str] = "cortex-a7"

    def runs_here(self, sheet: Mapping[str, Any]) -> bool:
        """Where the machine is such a one; `cortex-a53` is one that runs 32-bit code."""
        if platform.machine() != "armv7l":
            return False
        newer: bool = best_cpu() == "cortex-a7" and sheet["cpu"] != "cortex-a53"
        return newer or bool(sheet["cpu"] == "cortex-a9")

    def runner(self, capability: Capability) -> Runner:
        """Directly on such a machine, else under qemu's user-mode emulation."""
        return Local() if capability.native else QemuUser("arm", capability.cpu)
