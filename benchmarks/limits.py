"""The peaks of one core, as limits.c measures them: operations a second, and bytes a second from each cache."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from budgetc.registry import find_target

from benchmarks.machine import build_program, pinned

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_FAR = 256 << 20


@dataclass(frozen=True)
class Level:
    """A level of memory: what fits into it, in bytes, and bytes a second that a core reads from it."""

    name: str
    size: int
    read: float


@dataclass(frozen=True)
class Limits:
    """Operations a second (a multiply-add is two; 0 where there is no such instruction), and levels by size."""

    float_ops: float
    bf16_ops: float
    int8_ops: float
    levels: tuple[Level, ...]

    def level(self, size: int) -> Level:
        """The nearest level that holds so many bytes."""
        return next((level for level in self.levels if size <= level.size), self.levels[-1])

    def peak(self, precision: str) -> float:
        """Operations a second in float, bf16 or int8."""
        return {"float": self.float_ops, "bf16": self.bf16_ops, "int8": self.int8_ops}[precision]

    def bound(self, operations: float, moved: int, precision: str) -> float:
        """Least seconds: whichever takes longer, computing at the peak or moving each byte once."""
        peak = self.peak(precision)
        computing = operations / peak if peak else 0.0
        return max(computing, moved / self.level(moved).read)


def highest(found: Sequence[Limits]) -> Limits:
    """The highest of each figure: a limit is what was reached once, whatever disturbed the other measurements."""
    levels = zip(*(each.levels for each in found), strict=True)
    return Limits(
        float_ops=max(each.float_ops for each in found),
        bf16_ops=max(each.bf16_ops for each in found),
        int8_ops=max(each.int8_ops for each in found),
        levels=tuple(max(same, key=lambda level: level.read) for same in levels),
    )


def measure_limits(seconds: float = 0.2) -> Limits:
    """Measure them on the processor that single-threaded measurements are pinned to."""
    sheet = find_target("host").capability(None, 1)
    sizes = {"L1": sheet.l1_bytes, "L2": sheet.l2_bytes}
    third = _third_level()
    if third > sheet.l2_bytes:
        sizes["L3"] = third
    # Half of a cache: the rest holds what is not the buffer. Of a shared one a guest may own less still.
    buffers = [*(min(size // 2, 8 << 20) for size in sizes.values()), _FAR]
    program = build_program(Path(__file__).with_name("limits.c"), ["-ffp-contract=fast"])
    with pinned(1):
        done = subprocess.run(
            [str(program), str(seconds), *map(str, buffers)],
            capture_output=True,
            text=True,
            check=True,
        )
    found = json.loads(done.stdout)
    levels = zip([*sizes.items(), ("memory", 1 << 62)], found["read"], strict=True)
    return Limits(
        float_ops=found["float_ops"],
        bf16_ops=found["bf16_ops"],
        int8_ops=found["int8_ops"],
        levels=tuple(Level(name, size, read) for (name, size), read in levels),
    )


def _third_level() -> int:
    """Bytes of the third cache, 0 where the machine does not say."""
    for folder in sorted(_CACHES.glob("index*")):
        if (folder / "level").read_text().strip() == "3":
            text = (folder / "size").read_text().strip()
            return int(text.rstrip("KM")) << (20 if text.endswith("M") else 10)
    return 0
