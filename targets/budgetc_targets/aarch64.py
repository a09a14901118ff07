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

_NEON: dict[str, Any] = {
    "arch": "aarch64",
    "llvm_triple": "aarch64-unknown-linux-gnu",
    "zig_target": "aarch64-linux-gnu.2.17",
    "vector_bytes": 16,
    "vector_registers": 32,
    "int8_dot": "widening128",
    "weight_bits": 8,
}
_DOTPROD: dict[str, Any] = {**_NEON, "int8_dot": "sdot128"}
# The extension brings a dot product of unsigned by signed bytes, so that activations stay as they are.
_I8MM: dict[str, Any] = {**_NEON, "int8_dot": "usdot128"}

_CPUS: dict[str, dict[str, Any]] = {
    "generic": {**_NEON, "cpu": "generic"},
    "generic+dotprod": {**_DOTPROD, "cpu": "generic", "llvm_features": ("+dotprod",)},
    "generic+i8mm": {**_I8MM, "cpu": "generic", "llvm_features": ("+dotprod", "+i8mm")},
    "cortex-a53": {**_NEON, "cpu": "cortex-a53"},
    "cortex-a57": {**_NEON, "cpu": "cortex-a57", "l2_bytes": 2 * 1024 * 1024},
    "cortex-a72": {**_NEON, "cpu": "cortex-a72", "l2_bytes": 1024 * 1024},
    "cortex-a76": {**_DOTPROD, "cpu": "cortex-a76", "l1_bytes": 64 * 1024},
    "cortex-a78": {**_DOTPROD, "cpu": "cortex-a78", "l1_bytes": 64 * 1024},
    "neoverse-n1": {**_DOTPROD, "cpu": "neoverse-n1", "l1_bytes": 64 * 1024},
    "cortex-a510": {**_I8MM, "cpu": "cortex-a510"},
    "cortex-a710": {**_I8MM, "cpu": "cortex-a710", "l1_bytes": 64 * 1024},
    "neoverse-v1": {**_I8MM, "cpu": "neoverse-v1", "l1_bytes": 64 * 1024, "l2_bytes": 1024 * 1024},
    "neoverse-n2": {**_I8MM, "cpu": "neoverse-n2", "l1_bytes": 64 * 1024, "l2_bytes": 1024 * 1024},
}


@functools.cache
def best_cpu(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """The entry of the table that this machine can run."""
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    features = {w for line in text.splitlines() if "Features" in line for w in line.split()}
    if {"asimddp", "i8mm"} <= features:
        return "generic+i8mm"
    return "generic+dotprod" if "asimddp" in features else "generic"


_ORDER = ("widening128", "sdot128", "usdot128")
"""Each machine has the dot products before its own."""


class AArch64(CpuTarget):
    """Linux on 64-bit ARM."""

    kind: ClassVar[str] = "aarch64"
    default_cpu: ClassVar[str] = "generic"

    @property
    def sheets(self) -> Mapping[str, Mapping[str, Any]]:
        """Common cores."""
        here = platform.machine() == "aarch64"
        have = _ORDER.index(_CPUS[best_cpu()]["int8_dot"]) if here else -1
        return {
            name: {**sheet, "native": _ORDER.index(sheet["int8_dot"]) <= have}
            for name, sheet in _CPUS.items()
        }

    def runner(self, capability: Capability) -> Runner:
        """Directly on such a machine, else under qemu's user-mode emulation."""
        return Local() if capability.native else QemuUser("aarch64", capability.cpu)
