"""Arm Cortex-M cores with a floating-point unit, without an operating system: kernels in flash, one arena in RAM."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from budgetc_specs.capability import Capability

from budgetc_targets.contract import Family, MemoryMap, Region, Runner
from budgetc_targets.cpu import CpuTarget
from budgetc_targets.kernels.depthwise_words import DepthwiseWords
from budgetc_targets.kernels.families import cpu_families
from budgetc_targets.runners.qemu_system import QemuSystem

_BARE: dict[str, Any] = {
    "arch": "thumb",
    "system": "bare",
    "zig_target": "thumb-freestanding-eabihf",
    "vector_bytes": 4,
    "vector_registers": 13,
    "weight_bits": 8,
    "l1_bytes": 0,
    "l2_bytes": 0,
    "native": False,
}

# zig's bare names of the cores have no floating-point unit: their numbers would be computed in software, silently.
_CPUS: dict[str, dict[str, Any]] = {
    "cortex-m0plus": {
        **_BARE,
        "zig_target": "thumb-freestanding-eabi",
        "cpu": "cortex-m0plus",
        "llvm_triple": "thumbv6m-unknown-none-eabi",
        "zig_cpu": "cortex_m0plus",
        "float_unit": "none",
        "vector_registers": 8,
        "int8_dot": "mla32",
    },
    "cortex-m3": {
        **_BARE,
        "zig_target": "thumb-freestanding-eabi",
        "cpu": "cortex-m3",
        "llvm_triple": "thumbv7m-unknown-none-eabi",
        "zig_cpu": "cortex_m3",
        "float_unit": "none",
        "int8_dot": "mla32",
    },
    "cortex-m4": {
        **_BARE,
        "cpu": "cortex-m4",
        "llvm_triple": "thumbv7em-unknown-none-eabihf",
        "zig_cpu": "cortex_m4+vfp4d16sp",
        "float_unit": "single",
        "int8_dot": "smlad32",
    },
    "cortex-m7": {
        **_BARE,
        "cpu": "cortex-m7",
        "llvm_triple": "thumbv7em-unknown-none-eabihf",
        "zig_cpu": "cortex_m7+fp_armv8d16",
        "float_unit": "double",
        "int8_dot": "smlad32",
    },
    "cortex-m33": {
        **_BARE,
        "cpu": "cortex-m33",
        "llvm_triple": "thumbv8m.main-unknown-none-eabihf",
        "zig_cpu": "cortex_m33+fp_armv8d16sp",
        "float_unit": "single",
        "int8_dot": "smlad32",
    },
    "cortex-m55": {
        **_BARE,
        "cpu": "cortex-m55",
        "llvm_triple": "thumbv8.1m.main-unknown-none-eabihf",
        "zig_cpu": "cortex_m55+mve_fp+fp_armv8d16",
        "float_unit": "double",
        "vector_bytes": 16,
        "vector_registers": 8,
        "int8_dot": "vmladava32",
    },
}

_MPS2 = MemoryMap(rom=Region(0, 4 << 20), ram=Region(0x2000_0000, 4 << 20))
_MPS3 = MemoryMap(rom=Region(0x0100_0000, 2 << 20), ram=Region(0x2100_0000, 4 << 20))

_MPS2_SECURE = MemoryMap(
    rom=Region(0x1000_0000, 4 << 20), ram=Region(0x3800_0000, 4 << 20), vectors=0x1000_0000
)

_MACHINES: dict[str, tuple[str, MemoryMap]] = {
    "cortex-m0plus": ("mps2-an385", _MPS2),
    "cortex-m3": ("mps2-an385", _MPS2),
    "cortex-m4": ("mps2-an386", _MPS2),
    "cortex-m7": ("mps2-an500", _MPS2),
    "cortex-m33": ("mps2-an505", _MPS2_SECURE),
    "cortex-m55": ("mps3-an547", _MPS3),
}


_LEFT_OUT = ("winograd", "single-filter")


class CortexM(CpuTarget):
    """Firmware on Cortex-M cores with a floating-point unit: a static library, which needs no operating system.

    Size is the flash that a linked firmware takes more, memory its static data, the arena and the stack. qemu runs it
    on emulated boards, and counts instructions, which are no cycles.
    """

    kind: ClassVar[str] = "cortex-m"
    default_cpu: ClassVar[str] = "cortex-m4"

    @property
    def sheets(self) -> Mapping[str, Mapping[str, Any]]:
        """The cores."""
        return _CPUS

    def families(self) -> Sequence[Family]:
        """Those that need no vectors, or do with short ones; what is faster by more code is left out."""
        return (DepthwiseWords(), *(f for f in cpu_families() if f.kind not in _LEFT_OUT))

    def runner(self, capability: Capability) -> Runner:
        """As firmware of a board that qemu emulates."""
        machine, memory = _MACHINES.get(capability.cpu, ("", _MPS2))
        return QemuSystem("arm", machine, memory, core=capability.cpu)
