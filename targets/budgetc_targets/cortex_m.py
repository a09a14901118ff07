"""Arm Cortex-M cores without an operating system: kernels in flash, one arena in RAM."""

from collections.abc import Sequence
from typing import ClassVar

from budgetc_specs.capability import Capability

from budgetc_targets.contract import Family, MemoryMap, Region, Runner
from budgetc_targets.cpu import CpuTarget
from budgetc_targets.kernels.depthwise_words import DepthwiseWords
from budgetc_targets.kernels.families import cpu_families
from budgetc_targets.runners.qemu_system import QemuSystem

_NO_MEMORY = MemoryMap(rom=Region(0, 0), ram=Region(0, 0))
_LEFT_OUT = ("winograd", "single-filter")


class CortexM(CpuTarget):
    """Firmware on Cortex-M cores: a static library, which needs no operating system.

    Size is the flash that a linked firmware takes more, memory its static data, the arena and the stack. qemu runs it
    on emulated boards, and counts instructions, which are no cycles. Cores without a floating-point unit compute
    quantised models in integers alone.
    """

    kind: ClassVar[str] = "cortex-m"
    default_cpu: ClassVar[str] = "cortex-m4"

    def families(self) -> Sequence[Family]:
        """Those that need no vectors, or do with short ones; what is faster by more code is left out."""
        return (DepthwiseWords(), *(f for f in cpu_families() if f.kind not in _LEFT_OUT))

    def runner(self, capability: Capability) -> Runner:
        """As firmware of a board that qemu emulates."""
        machine = self.files.sheet(capability.cpu).machine if capability.cpu in self.files else None
        if machine is None:
            return QemuSystem("arm", "", _NO_MEMORY, core=capability.cpu)
        memory = MemoryMap(
            rom=Region(machine.rom, machine.rom_size),
            ram=Region(machine.ram, machine.ram_size),
            vectors=machine.vectors,
        )
        return QemuSystem("arm", machine.name, memory, core=capability.cpu)
