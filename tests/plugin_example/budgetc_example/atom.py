"""Intel's small cores with SSE only: a target is a sheet; kernels, code generator and linker are there."""

from collections.abc import Mapping
from typing import Any, ClassVar

from budgetc_specs.capability import Capability
from budgetc_targets.contract import Runner
from budgetc_targets.cpu import CpuTarget
from budgetc_targets.runners.qemu_user import QemuUser


class Atom(CpuTarget):
    """Linux on Intel Atom, from Goldmont on."""

    kind: ClassVar[str] = "atom"
    default_cpu: ClassVar[str] = "goldmont"

    @property
    def sheets(self) -> Mapping[str, Mapping[str, Any]]:
        """One CPU."""
        return {
            "goldmont": {
                "arch": "x86_64",
                "cpu": "goldmont",
                "llvm_triple": "x86_64-unknown-linux-gnu",
                "zig_target": "x86_64-linux-gnu.2.17",
                "vector_bytes": 16,
                "vector_registers": 16,
                "int8_dot": "maddwd128",
                "weight_bits": 8,
                "l1_bytes": 24 * 1024,
                "l2_bytes": 1024 * 1024,
                "native": False,
            }
        }

    def runner(self, capability: Capability) -> Runner:
        """Emulated: this machine is no Atom."""
        del capability
        return QemuUser("x86_64")
