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

_SCALAR: dict[str, Any] = {
    "arch": "riscv64",
    "cpu": "generic-rv64",
    "llvm_triple": "riscv64-unknown-linux-gnu",
    "llvm_features": ("+m", "+a", "+f", "+d", "+c"),
    "llvm_abi": "lp64d",
    "zig_target": "riscv64-linux-gnu.2.27",
    "vector_bytes": 4,
    "vector_registers": 32,
    "int8_dot": "mla32",
    "weight_bits": 8,
}
# Two registers are used as one, which every vector unit of 128 bits or more has sixteen of. The standard has no dot
# product: the widest integers that are multiplied and summed in one instruction are s16.
_VECTOR: dict[str, Any] = {
    **_SCALAR,
    "llvm_features": (*_SCALAR["llvm_features"], "+v", "+zvl128b"),
    "vector_bytes": 32,
    "vector_registers": 16,
    "int8_dot": "vwmacc256",
}

_CPUS: dict[str, dict[str, Any]] = {"rv64gc": _SCALAR, "rv64gcv": _VECTOR}


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

    @property
    def sheets(self) -> Mapping[str, Mapping[str, Any]]:
        """Without vectors, and with those of version 1.0 of the extension, of 128 bits or more."""
        here = platform.machine() == "riscv64"
        vectors = here and best_cpu() == "rv64gcv"
        return {
            name: {**sheet, "native": vectors or (here and name == "rv64gc")}
            for name, sheet in _CPUS.items()
        }

    def runner(self, capability: Capability) -> Runner:
        """Directly on such a machine, else under qemu's user-mode emulation, with vectors of the least length."""
        if capability.native:
            return Local()
        vectors = capability.vector_bytes > 4
        return QemuUser("riscv64", "rv64,v=true,vext_spec=v1.0,vlen=128" if vectors else "rv64")
