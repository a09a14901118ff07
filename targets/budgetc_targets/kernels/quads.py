"""Which depthwise tasks can be done by quads of rows over whole blocks of bytes, and how their numbers are packed.

A block is as many bytes as a vector register holds, four accumulators' worth of channels. Four rows of a column are
interleaved byte by byte inside each 128-bit lane, so that one dot product sums up to four taps. Accumulator k of a
block then holds channels 16 l + 4 k + j (lane l of 128 bits, j < 4); weights and bias are packed in that order, and
packing the results to bytes inside the lanes puts the channels back in theirs.

Fewer channels than a block are no obstacle where a row is dense and its stride 1: neighbouring pixels lie side by
side like channels, and the weights repeat.
"""

from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from budgetc_targets.contract import Array, Opened, Point
from budgetc_targets.expression import slots
from budgetc_targets.kernels.arithmetic import Arithmetic
from budgetc_targets.kernels.tiles import COSTS, point
from budgetc_targets.task import Access, Task

UNIT = 4
"""Rows that one dot product sums."""


@dataclass(frozen=True)
class Quads:
    """A depthwise task as rows of blocks.

    Attributes:
        block: bytes that are worked on together, four to a 32-bit lane.
        repeat: pixels side by side in a block, 1 where the channels fill blocks of their own.
        blocks: blocks of channels.
        units: blocks along a row of the output, for one block of channels.
        pair: whether four rows of the input can serve two rows of the output.
    """

    block: int
    repeat: int
    blocks: int
    units: int
    pair: bool

    @property
    def lanes(self) -> int:
        """32-bit accumulators in a vector."""
        return self.block // 4


Extent = Any
"""A size: an integer, or code that reads it from the table of an open task."""


@dataclass(frozen=True)
class Sizes:
    """What the code of a task depends on besides its point, where it is left open.

    Attributes:
        blocks: of channels.
        pairs: rows of the output, or pairs of them.
        last_row: where the last of these begins.
        tiles: of a row.
        last_column: where the last of these begins.
        x_row: elements from one row of the input to the next.
        x_column: from one pixel to the next.
        y_row: from one row of the output to the next.
        y_column: from one pixel to the next.
    """

    blocks: Extent
    pairs: Extent
    last_row: Extent
    tiles: Extent
    last_column: Extent
    x_row: Extent
    x_column: Extent
    y_row: Extent
    y_column: Extent


def sizes_of(task: Task, quads: Quads, pixels: int, rows: int) -> Sizes:
    """The sizes of a task at tiles of so many blocks and rows."""
    x, y = task.inputs[0], task.output
    return Sizes(
        blocks=quads.blocks,
        pairs=-(-y.shape[2] // rows),
        last_row=y.shape[2] - rows,
        tiles=-(-quads.units // pixels),
        last_column=y.shape[3] - pixels * quads.repeat,
        x_row=x.strides[2],
        x_column=x.strides[3],
        y_row=y.strides[2],
        y_column=y.strides[3],
    )


def opened(task: Task, quads: Quads, pixels: int, rows: int) -> Opened | None:
    """The task with its sizes left open; None where it has pictures or operands of their own strides."""
    x, y = task.inputs[0], task.output
    if task.parallel or y.shape[0] != 1 or y.shape[2] < rows:
        return None
    if any(a.strides[2] or a.strides[3] for a in task.operands):
        return None
    # Two blocks would be one of twice the width, where vectors hold that.
    channels = 3 * quads.block if quads.repeat == 1 else y.shape[1]

    def nominal(access: Access) -> Access:
        """Any size that makes the same quads."""
        shape = (1, channels, 2 * UNIT, 2 * quads.repeat * pixels)
        if access.strides[1] == 0 or access.strides[3] == 0:
            return Access(access.dtype, shape, access.strides)
        return Access(access.dtype, shape, (0, 1, shape[3] * channels, channels))

    attributes = {**dict(task.attributes), "groups": channels}
    sizes = astuple(sizes_of(task, quads, pixels, rows))
    form = replace(
        task,
        inputs=(nominal(x),),
        output=nominal(y),
        operands=tuple(nominal(a) for a in task.operands),
        attributes=(*attributes.items(), ("open", True)),
        numbers=task.numbers + len(sizes),
    )
    return Opened(form, sizes)


def quad_space(task: Task, quads: Quads, arithmetic: Arithmetic) -> list[Point]:
    """Runs by the issue slots that they take, then a tile; tiles alone where no column serves two blocks of a row.

    Measured, more accumulators than those of two blocks spill, and more pixels of a tile pay with a stride only.
    """
    rows, sizes = (2, (1, 2)) if quads.pair else (1, (2, 3, 1, 4))
    tiles = [point(pixels=p, rows=rows) for p in sizes if p * quads.repeat <= task.output.shape[3]]
    if not carried(task, quads):
        return tiles
    # What two runs have put by is no result, so rows that threads compute twice must be whole.
    whole = not task.parallel or task.output.shape[2] % 2 == 0
    choices = [(1, 1), (1, 2)]
    if quads.pair and whole and arithmetic.kind in _PACKED and arithmetic.lanes > 4:
        choices.append((2, 2))
    ranked = [(_cost(task, arithmetic, r, runs), point(rows=r, runs=runs)) for r, runs in choices]
    return [found for _, found in sorted(ranked)] + tiles[:1]


_PACKED = ("vpdpbusd", "maddubs")
"""Dot products beside which x86 packs words to bytes."""


def _cost(task: Task, arithmetic: Arithmetic, rows: int, runs: int) -> float:
    """Issue slots for one block of channels, as half of them are where two pipes do all and one does the products."""
    _, _, height, width = task.output.shape
    kw: int = task.attribute("kernel")[1]
    stride: int = task.attribute("stride")[1]
    beyond = sum(range(kw - stride, 0, -stride))  # taps of pixels that no row has
    products = rows * UNIT * (width * kw + beyond) * COSTS[arithmetic.kind].dot
    interleaving = 2 * UNIT * (width * stride + kw - stride)
    scaling = rows * UNIT * width
    ending = rows * width * (UNIT * (slots(task.expression) - 2) + 3)
    busiest = max(products + scaling, (products + interleaving + ending) / 2)
    return -(-height // rows) * (busiest + runs * _RUN)


_RUN = 9.0
"""Cycles before a run's first result, and after its last."""


def runs_of(point: Point) -> int:
    """Runs that share the accumulators of a block; 0 where a row is done by tiles instead."""
    return dict(point).get("runs", 0)


def pixels_of(point: Point) -> int:
    """Blocks of a tile; a run goes from one to the next."""
    return dict(point).get("pixels", 1)


def carried(task: Task, quads: Quads) -> int:
    """Pixels whose sums a run carries on from one to the next: those that saw some of their columns already."""
    if quads.repeat > 1 or task.attribute("dilation")[1] > 1:
        return 0
    kw: int = task.attribute("kernel")[1]
    stride: int = task.attribute("stride")[1]
    return (kw - 1) // stride


def quads_of(task: Task, arithmetic: Arithmetic) -> Quads | None:
    """The task as rows of blocks, or None where it is not of that kind."""
    x, y = task.inputs[0], task.output
    kh, _ = task.attribute("kernel")
    stride, dilation = task.attribute("stride"), task.attribute("dilation")
    if arithmetic.taps != UNIT:
        return None
    if y.dtype != "uint8" or kh > UNIT or task.may_alias:
        return None
    block, channels, width = 4 * arithmetic.lanes, y.shape[1], y.shape[3]
    pair = kh < UNIT and stride[0] == 1 and dilation[0] == 1 and y.shape[2] > 1
    if channels % block == 0:
        repeat, units = 1, width
    elif block % channels == 0 and channels % 4 == 0 and stride[1] == 1:
        repeat = block // channels
        units = -(-width // repeat)
        dense = x.strides[3] == y.strides[3] == channels
        if width < repeat or not dense:
            return None
    else:
        return None
    if not all(_follows(a, channels, repeat) for a in task.operands):
        return None
    return Quads(block, repeat, max(1, channels // block), units, pair)


def _follows(operand: Access, channels: int, repeat: int) -> bool:
    """Whether an operand is one number, one for each channel, or laid out like the output."""
    _, channel, _, column = operand.strides
    if channel == 0:
        return column == 0 or repeat == 1
    if operand.dtype not in ("float32", "uint8", "int8") or channel != 1:
        return False
    return repeat == 1 or column == channels or (column == 0 and operand.dtype == "float32")


def channel_order(lanes: int) -> npt.NDArray[np.intp]:
    """Which channel of a block each lane of its four accumulators holds, as (4, lanes)."""
    accumulator, lane = np.mgrid[0:4, 0:lanes]
    order: npt.NDArray[np.intp] = 16 * (lane // 4) + 4 * accumulator + lane % 4
    return order


def pack_weights(weight: Array, quads: Quads, rows: int) -> Array:
    """(channels, 1, kh, kw) as [block][output row][column][accumulator][lane][row of the input]."""
    channels, _, kh, kw = weight.shape
    taps = np.zeros((channels, rows, kw, UNIT), np.int8)
    for r in range(rows):
        taps[:, r, :, r : r + kh] = weight[:, 0].transpose(0, 2, 1)
    return _blocks(taps, quads).transpose(0, 3, 4, 1, 2, 5)


def pack_bias(bias: Array, quads: Quads) -> Array:
    """(channels,) as [block][accumulator][lane]."""
    return _blocks(bias, quads)


def _blocks(per_channel: Array, quads: Quads) -> Array:
    """(channels, ...) as (blocks, 4, lanes, ...), repeated where a block holds several pixels."""
    repeated = np.concatenate([per_channel] * quads.repeat)
    split = repeated.reshape(quads.blocks, quads.block, *per_channel.shape[1:])
    return split[:, channel_order(quads.lanes)]
