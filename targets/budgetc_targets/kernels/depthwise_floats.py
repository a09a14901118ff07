"""Which tiles a depthwise convolution of floats is computed by: rows and pixels whose taps share what they read.

A vector of channels of one element of the input is a factor of up to kh * kw sums. A tile of some rows and pixels loads
it once for all of its own, so that loads are fewer than multiply-adds and stay in their shadow; a tile of 2 rows by 4
pixels of a 3x3 kernel takes 24 loads for 72 multiply-adds, one row of 8 takes 72 where each reads for itself.
"""

from collections.abc import Sequence
from functools import cached_property

from budgetc_specs.capability import Capability

from budgetc_targets.contract import Point
from budgetc_targets.kernels.tiles import point
from budgetc_targets.task import Task

MOST_ROWS = 4
MOST_PIXELS = 8
MOST_SUMS = 16
MOST_POINTS = 6

_LOAD = 0.25
"""Issue slots of a load beside multiply-adds."""
_FAR_LOAD = 2.0
"""The same where pixels lie so far apart that those of a tile have but two sets of the level 1 cache to themselves."""
_SETS = 16
"""The part of a level 1 cache of eight ways that lies between such pixels."""
_STORE = 0.3
_ROUND = 3.0
"""Of the loop around a tile."""
_FROM_MEMORY = 1.0
"""More of a multiply-add whose weight found no register; what LLVM reads ahead takes some of them, too."""
_SPARE = 4
"""Registers for that."""
_ENOUGH = 4
"""Sums that keep the multiply-adds busy; fewer wait for each other, though tiles overlap."""
_NEARLY = 1.08
"""Costs that differ by less are one to the model: of such tiles the smallest is taken, for its code."""


class FloatTile:
    """What the sums of a tile of the output read of the input."""

    def __init__(self, task: Task, rows: int, pixels: int) -> None:
        self.kernel: tuple[int, int] = task.attribute("kernel")
        self.stride: tuple[int, int] = task.attribute("stride")
        self.dilation: tuple[int, int] = task.attribute("dilation")
        self.rows, self.pixels = rows, pixels
        self.pixel_bytes = 4 * task.inputs[0].strides[3]

    def readers(self, pixels: int) -> dict[tuple[int, int], list[tuple[int, int, int]]]:
        """By row and column of the input, in memory's order: (row, pixel, number of the tap) of each reader."""
        (kh, kw), (sh, sw), (dh, dw) = self.kernel, self.stride, self.dilation
        found: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        for r in range(self.rows):
            for p in range(pixels):
                for a in range(kh):
                    for b in range(kw):
                        at = (r * sh + a * dh, p * sw + b * dw)
                        found.setdefault(at, []).append((r, p, a * kw + b))
        return dict(sorted(found.items()))

    @cached_property
    def loads(self) -> int:
        """Elements of the input that are read."""
        return len(self.readers(self.pixels))

    @property
    def live_weights(self) -> int:
        """Taps in use while one row of the input is read."""
        kh, kw = self.kernel
        return min(kh, self.rows) * kw

    def cost(self, registers: int, l1_bytes: int) -> float:
        """Issue slots for one vector of channels."""
        way = l1_bytes // _SETS  # 0 where a core has no cache
        load = _FAR_LOAD if way and self.pixel_bytes % way == 0 else _LOAD
        sums, taps = self.rows * self.pixels, self.kernel[0] * self.kernel[1]
        homeless = max(0, sums + self.live_weights + _SPARE - registers)
        share = min(1.0, homeless / self.live_weights)
        starved = max(1.0, (sums + _ENOUGH) / (2 * sums))
        products = sums * taps * (1 + _FROM_MEMORY * share) * starved
        return products + self.loads * load + sums * _STORE + _ROUND


def job_rows(task: Task, rows: int) -> int:
    """Bands of so many rows of the output, the last of which may overlap the one before it."""
    height: int = task.output.shape[2]
    return -(-height // rows)


def float_space(task: Task, capability: Capability) -> Sequence[Point]:
    """Tiles ranked by the slots of the thread that has most of them; a few, the best guess first.

    Measured on Zen 4, the first of 3x3 kernels is within a tenth of the fastest tile.
    """
    registers, l1_bytes = capability.vector_registers, capability.l1_bytes
    threads = capability.threads if task.parallel else 1
    batch, _, height, width = task.output.shape
    ranked: list[tuple[float, int, Point]] = []
    for rows in range(1, min(height, MOST_ROWS) + 1):
        if task.may_alias and height % rows:
            continue  # a row that is computed twice would read its own result
        for pixels in range(1, min(width, MOST_PIXELS) + 1):
            sums = rows * pixels
            if sums > 1 and sums + 3 > min(registers, MOST_SUMS + 3):
                continue
            bands = -(-batch * job_rows(task, rows) // threads)
            across = -(-width // pixels)
            price = bands * across * FloatTile(task, rows, pixels).cost(registers, l1_bytes)
            ranked.append((price, sums, point(lines=rows, pixels=pixels)))
    best = min(ranked)[0]
    ranked.sort(key=lambda r: (best, r[1], r[0]) if r[0] <= _NEARLY * best else (r[0], r[1], r[0]))
    return [found for _, _, found in ranked[:MOST_POINTS]]
