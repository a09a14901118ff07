"""The numbers of a convolution task as its loops see them."""

from dataclasses import astuple, dataclass, fields, replace
from typing import Any

from budgetc_targets.contract import Opened
from budgetc_targets.task import Access, Task


@dataclass(frozen=True)
class ConvolutionShape:
    """The task's numbers under the names that the loops use."""

    batch: int
    groups: int
    channels: int  # of one group, as the reduction sees them (a run counts as channels)
    filters: int  # of one group
    kh: int
    kw: int
    rows: int
    width: int
    stride: tuple[int, int]
    dilation: tuple[int, int]
    run: bool
    unit: int = 1  # channels that one step of the reduction takes

    @property
    def steps(self) -> int:
        """Steps over the channels, the last one padded with weights of zero."""
        return -(-self.channels // self.unit)


LONG = 16
"""More taps in a row than these are taken as one run too: each of them is code of its own otherwise."""


def shape_of(task: Task, unit: int) -> ConvolutionShape:
    """The numbers of a task for a reduction by so many channels a step."""
    x, y = task.inputs[0], task.output
    kh, kw = task.attribute("kernel")
    groups = task.attribute("groups")
    channels = x.shape[1] // groups
    dilation = task.attribute("dilation")
    run = groups == 1 and dilation[1] == 1 and kw > 1 and x.strides[3] == channels
    run = run and (channels % unit != 0 or kw > LONG)
    return ConvolutionShape(
        batch=y.shape[0],
        groups=groups,
        channels=channels * kw if run else channels,
        filters=y.shape[1] // groups,
        kh=kh,
        kw=1 if run else kw,
        rows=y.shape[2],
        width=y.shape[3],
        stride=task.attribute("stride"),
        dilation=dilation,
        run=run,
        unit=unit,
    )


Extent = Any
"""A size: an integer, or code that reads it from the table of an open task."""

UNROLLED = 4
"""A reduction of no more steps than this is written out."""


@dataclass(frozen=True)
class Sizes:
    """What the code of a 1x1 convolution depends on besides its point, where it is left open.

    Attributes:
        blocks: of filters.
        rows: of the output.
        tiles: of a row.
        last: the pixel at which the last of these begins.
        steps: of the reduction.
        x_row: elements of the input from one row of the output to the next.
        x_column: from one pixel of the output to the next.
        y_row: elements from one row of the output to the next.
        y_column: from one pixel to the next.
    """

    blocks: Extent
    rows: Extent
    tiles: Extent
    last: Extent
    steps: Extent
    x_row: Extent
    x_column: Extent
    y_row: Extent
    y_column: Extent


def sizes_of(task: Task, shape: ConvolutionShape, lanes: int, pixels: int, vectors: int) -> Sizes:
    """The sizes of a task at tiles of so many pixels and vectors."""
    x, y = task.inputs[0], task.output
    return Sizes(
        blocks=-(-shape.filters // lanes) // vectors,
        rows=shape.rows,
        tiles=-(-shape.width // pixels),
        last=shape.width - pixels,
        steps=shape.steps,
        x_row=shape.stride[0] * x.strides[2],
        x_column=shape.stride[1] * x.strides[3],
        y_row=y.strides[2],
        y_column=y.strides[3],
    )


FEW_JOBS = 16
"""Fewer rows than these are no even work for several threads: they share tiles instead."""


def sharing_of(task: Task, shape: ConvolutionShape, lanes: int, pixels: int, vectors: int) -> str:
    """What threads share out of a parallel task: its `rows`, `tiles` of its rows, or blocks of `filters`.

    They share filters where the weights are more than the activations. Threads that share pixels find them in their
    own caches, where the layer before left them. An open task says it itself, for all that run its code.
    """
    said = dict(task.attributes).get("sharing")
    if said is not None:
        return str(said)
    blocks = -(-shape.filters // lanes) // vectors
    weights = shape.kh * shape.steps * shape.kw * blocks * vectors * lanes * shape.unit
    whole = shape.groups * blocks
    if shape.groups * weights > task.inputs[0].extent and whole > 1:
        return "filters"
    tiled = shape.batch * shape.rows < FEW_JOBS and shape.width // pixels > 1
    return "tiles" if tiled else "rows"


_POINTWISE = {"kernel": (1, 1), "stride": (1, 1)}
"""What an open task says of itself: strides are sizes, and a kernel that is a run is channels of the reduction."""


def opened(
    task: Task, shape: ConvolutionShape, lanes: int, pixels: int, vectors: int
) -> Opened | None:
    """The task with its sizes left open; None where it is more than a 1x1 convolution of whole vectors of filters.

    Tiles of one size overlap at the end of a row, so a row is a tile at least, and its results may be computed twice.
    """
    x, y = task.inputs[0], task.output
    whole = shape.filters % lanes == 0 and shape.width >= pixels and not task.may_alias
    if not whole or shape.steps <= UNROLLED:
        return None
    if (shape.batch, shape.groups, shape.kh, shape.kw) != (1, 1, 1, 1):
        return None
    if any(a.strides[2] or a.strides[3] for a in task.operands):
        return None
    # Two filters at least: what there is one of has no stride in any index.
    filters, channels = max(2, lanes * vectors), shape.unit * 2 * UNROLLED

    def nominal(access: Access, count: int) -> Access:
        """Any size that lies alike."""
        extents = (1, count, 2, 2 * pixels)
        if access.strides[1] == 0 or access.strides[3] == 0:
            return Access(access.dtype, extents, access.strides)
        return Access(access.dtype, extents, (0, 1, extents[3] * count, count))

    sizes = sizes_of(task, shape, lanes, pixels, vectors)
    attributes = {**dict(task.attributes), **_POINTWISE, "open": True}
    tasks = 0
    if task.parallel:
        sharing = sharing_of(task, shape, lanes, pixels, vectors)
        tasks = {"filters": sizes.blocks, "tiles": sizes.rows * sizes.tiles, "rows": sizes.rows}[
            sharing
        ]
        attributes["sharing"] = sharing
    form = replace(
        task,
        inputs=(nominal(x, channels),),
        output=nominal(y, filters),
        operands=tuple(nominal(a, filters) for a in task.operands),
        attributes=tuple(attributes.items()),
        numbers=task.numbers + len(fields(sizes)),
    )
    return Opened(form, astuple(sizes), tasks)
