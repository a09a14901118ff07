"""Intel's small cores with SSE only: a target is a sheet; kernels, code generator and linker are there."""

from typing import ClassVar

from budgetc_specs.capability import Capability
from budgetc_targets.contract import Runner
from budgetc_targets.cpu import CpuTarget
from budgetc_targets.runners.qemu_user import QemuUser


class Atom(CpuTarget):
    """Linux on Intel Atom, from Goldmont on."""

    kind: ClassVar[str] = "atom"
    default_cpu: ClassVar[str] = "goldmont"

    def runner(self, capability: Capability) -> Runner:
        """Emulated: this machine is no Atom."""
        del capability
        return QemuUser("x86_64")
