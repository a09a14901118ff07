"""x86-64 processors by architecture level or model, from plain SSE2 to AVX512 with VNNI; linked for Linux."""

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

_LEVEL_FLAGS: dict[str, set[str]] = {
    "x86-64-v2": {"cx16", "popcnt", "sse4_1", "sse4_2", "ssse3"},
    "x86-64-v3": {"avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"},
    "x86-64-v4": {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"},
}

_WITH_VNNI = "x86-64-v4+avx512vnni"
_WITH_BF16 = f"{_WITH_VNNI}+avx512bf16"


@functools.cache
def machine_flags(cpuinfo: Path = Path("/proc/cpuinfo")) -> frozenset[str]:
    """CPU features of this machine as Linux names them; empty where they cannot be read."""
    if platform.machine() != "x86_64" or not cpuinfo.exists():
        return frozenset()
    for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
        if line.startswith("flags"):
            return frozenset(line.split(":", 1)[1].split())
    return frozenset()


def best_level(flags: frozenset[str]) -> str:
    """The highest entry of the table that a machine with these features can run."""
    level = "x86-64"
    for name, needed in _LEVEL_FLAGS.items():
        if not needed <= flags:
            break
        level = name
    if level == "x86-64-v4" and "avx512_vnni" in flags:
        return _WITH_BF16 if "avx512_bf16" in flags else _WITH_VNNI
    if level == "x86-64-v3" and "avx_vnni" in flags:
        return "x86-64-v3+avxvnni"
    return level


_ORDER = ("x86-64", "x86-64-v2", "x86-64-v3", "x86-64-v4", _WITH_VNNI, _WITH_BF16)


def _needed_level(sheet: Mapping[str, Any]) -> str:
    """The architecture level whose instructions a sheet's kernels use."""
    if sheet["cpu"].startswith("x86-64"):
        return str(sheet["cpu"]) + "".join(sheet.get("llvm_features", ()))
    if sheet.get("bfloat16_dot"):
        return _WITH_BF16
    return {
        "maddwd128": "x86-64-v2",
        "maddubs256": "x86-64-v3" if sheet["vector_bytes"] == 32 else "x86-64-v4",
        "vpdpbusd256": "x86-64-v3+avxvnni",
        "vpdpbusd512": _WITH_VNNI,
    }[sheet["int8_dot"]]


def runs_here(sheet: Mapping[str, Any], flags: frozenset[str]) -> bool:
    """Whether a machine with these features runs a sheet's code. A named model also needs its own machine's extras."""
    if not flags and platform.machine() != "x86_64":
        return False
    needed, have = _needed_level(sheet), best_level(flags)
    if "+avxvnni" in needed:
        return "avx_vnni" in flags
    return have in _ORDER[_ORDER.index(needed) :] if have in _ORDER else needed in _ORDER[:3]


class X86_64(CpuTarget):  # noqa: N801  the architecture's name
    """Linux on x86-64. The CPU decides the instructions, not the machine that compiles."""

    kind: ClassVar[str] = "x86-64"
    default_cpu: ClassVar[str] = "x86-64-v3"

    def runs_here(self, sheet: Mapping[str, Any]) -> bool:
        """Where the machine has the instructions."""
        return runs_here(sheet, machine_flags())

    def runner(self, capability: Capability) -> Runner:
        """Directly where this machine has the instructions, else under qemu."""
        if capability.native:
            return Local()
        vnni = capability.vector_bytes == 64 or capability.int8_dot.startswith("vpdpbusd")
        return QemuUser("x86_64", lacks="AVX-512 and VNNI" if vnni else "")
