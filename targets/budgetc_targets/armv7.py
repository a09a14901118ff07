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

_NEON: dict[str, Any] = {
    "arch": "arm",
    "llvm_triple": "armv7a-unknown-linux-gnueabihf",
    "zig_target": "arm-linux-gnueabihf.2.17",
    "vector_bytes": 16,
    "vector_registers": 16,
    "int8_dot": "vmull128",
    "weight_bits": 8,
}

_CPUS: dict[str, dict[str, Any]] = {
    "cortex-a7": {**_NEON, "cpu": "cortex-a7", "zig_cpu": "cortex_a7"},
    "cortex-a9": {**_NEON, "cpu": "cortex-a9", "zig_cpu": "cortex_a9"},
    "cortex-a15": {**_NEON, "cpu": "cortex-a15", "zig_cpu": "cortex_a15", "l2_bytes": 1024 * 1024},
    "cortex-a53": {**_NEON, "cpu": "cortex-a53", "zig_cpu": "cortex_a53"},
}


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

    @property
    def sheets(self) -> Mapping[str, Mapping[str, Any]]:
        """Common cores; `cortex-a53` is one that runs 32-bit code."""
        here = platform.machine() == "armv7l"
        newer = here and best_cpu() == "cortex-a7"
        return {
            name: {
                **sheet,
                "native": (newer and name != "cortex-a53") or (here and name == "cortex-a9"),
            }
            for name, sheet in _CPUS.items()
        }

    def runner(self, capability: Capability) -> Runner:
        """Directly on such a machine, else under qemu's user-mode emulation."""
        return Local() if capability.native else QemuUser("arm", capability.cpu)
