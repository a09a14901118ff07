"""Direct convolution in registers, f32 and u8 x s8: any kernel, stride, dilation and groups, NHWC, and matrix products.

    y[n, o, h, w] = f(bias[o] + sum over i, a, b of x[n, i, h*sh + a*dh, w*sw + b*dw] * W[o, i, a, b])

A tile of `pixels` x `vectors` accumulators stays in registers over the whole reduction; weights are packed into the
order in which they are read, [block][kh][step][kw][vector][lane(, 4)]. Integer kernels take four channels a step. Where
the channel count is no multiple of four, the kw * channels of a row of taps, which lie side by side in memory, are taken
as one run, so first layers of one or three channels waste little; the weights beyond a run's end are zero.

A row-major matrix product x[m, k] @ W[k, o] is the same kernel over one row of m pixels with k channels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from budgetc_specs.capability import Capability

from budgetc_targets.contract import Array, Kernel, Point
from budgetc_targets.kernels.tiles import COSTS, TileCost, knob, rank_tiles, split_row
from budgetc_targets.task import Task


@dataclass(frozen=True)
class _Shape:
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
    integer: bool
    run: bool

    @property
    def unit(self) -> int:
        return 4 if self.integer else 1

    @property
    def steps(self) -> int:
        return -(-self.channels // self.unit)


def _shape(task: Task) -> _Shape:
    x, y = task.inputs[0], task.output
    kh, kw = task.attribute("kernel")
    groups = task.attribute("groups")
    channels = x.shape[1] // groups
    integer = x.dtype == "uint8"
    dilation = task.attribute("dilation")
    run = integer and groups == 1 and dilation[1] == 1 and kw > 1 and channels % 4 != 0
    run = run and x.strides[3] == channels
    return _Shape(
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
        integer=integer,
        run=run,
    )


def _dot_name(task: Task, capability: Capability) -> str:
    if task.inputs[0].dtype != "uint8":
        return "float"
    name = capability.int8_dot
    if name == "maddubs256" and task.attribute("weight_range") > 64:
        return "maddwd256"
    return name


def _lanes(task: Task, capability: Capability) -> int:
    name = _dot_name(task, capability)
    return capability.vector_bytes // 4 if name == "float" else int(name[-3:]) // 32


def _cost(task: Task, capability: Capability) -> TileCost:
    return COSTS[_dot_name(task, capability).rstrip("0123456789")]


class Convolution:
    """The convolution family."""

    kind: ClassVar[str] = "convolution"

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Activations must be NHWC with the channel innermost."""
        del capability
        x, y = task.inputs[0], task.output
        if x.dtype not in ("uint8", "float32"):
            return f"activations of type {x.dtype}"
        for access in (x, y):
            if access.shape[1] > 1 and access.strides[1] != 1:
                return "the channel is not the innermost dimension"
        return None

    def space(self, task: Task, capability: Capability) -> Sequence[Point]:
        """Register tiles, ranked by the issue-slot model."""
        shape = _shape(task)
        blocks = -(-shape.filters // _lanes(task, capability))
        return rank_tiles(
            shape.width, blocks, capability.vector_registers, _cost(task, capability)
        )

    def pack(
        self, task: Task, capability: Capability, point: Point, constants: Mapping[str, Array]
    ) -> Sequence[Array]:
        """Weights (filters, channels, kh, kw) into reading order, bias (filters,) padded to whole vectors."""
        from budgetc_targets.kernels.dot import DOTS

        shape, lanes, vectors = _shape(task), _lanes(task, capability), knob(point, "vectors")
        weight = np.asarray(constants["weight"])
        bias = np.asarray(constants["bias"])
        if shape.integer:
            offset = DOTS[_dot_name(task, capability)].offset
            sums = weight.astype(np.int64).reshape(len(weight), -1).sum(axis=1)
            bias = (bias.astype(np.int64) + offset * sums).astype(np.int32)
        filters = -(-shape.filters // lanes) * lanes
        if shape.run:  # (o, i, kh, kw) -> (o, kw * i, kh, 1): the order of a row in memory
            weight = weight.transpose(0, 3, 1, 2).reshape(len(weight), -1, shape.kh, 1)
        grouped = weight.reshape(shape.groups, shape.filters, shape.channels, shape.kh, shape.kw)
        padded = np.zeros(
            (shape.groups, filters, shape.steps * shape.unit, shape.kh, shape.kw), weight.dtype
        )
        padded[:, : shape.filters, : shape.channels] = grouped
        tiled = padded.reshape(
            shape.groups,
            filters // (vectors * lanes),
            vectors,
            lanes,
            shape.steps,
            shape.unit,
            shape.kh,
            shape.kw,
        )
        packed = tiled.transpose(0, 1, 6, 4, 7, 2, 3, 5)
        padded_bias = np.zeros((shape.groups, filters), bias.dtype)
        padded_bias[:, : shape.filters] = bias.reshape(shape.groups, shape.filters)
        return [np.ascontiguousarray(packed), padded_bias]

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code at one point of the space."""
        return _Builder(task, capability, point, name).build()


class _Builder:
    def __init__(self, task: Task, capability: Capability, point: Point, name: str) -> None:
        from budgetc_targets.kernels.dot import DOTS
        from budgetc_targets.kernels.epilogue import Epilogue
        from budgetc_targets.kernels.writer import Writer

        self.task, self.shape, self.lanes = task, _shape(task), _lanes(task, capability)
        self.vectors, self.pixels = knob(point, "vectors"), knob(point, "pixels")
        self.blocks = -(-self.shape.filters // self.lanes) // self.vectors
        self.dot = DOTS[_dot_name(task, capability)] if self.shape.integer else None
        self.accumulator = "int32" if self.shape.integer else "float32"
        shape, width = self.shape, self.vectors * self.lanes
        self.writer = Writer(name, may_alias=task.may_alias)
        self.x = self.writer.pointer("x", task.inputs[0].dtype, task.inputs[0].extent)
        reduction = shape.kh * shape.steps * shape.kw
        self.block_elements = reduction * width * shape.unit
        self.weights = self.writer.pointer(
            "weights",
            "int8" if shape.integer else "float32",
            shape.groups * self.blocks * self.block_elements,
        )
        self.bias = self.writer.pointer(
            "bias", self.accumulator, shape.groups * self.blocks * width
        )
        self.epilogue = Epilogue(self.writer, task, channel_axis=1)
        self.acc = self.writer.local("acc", self.accumulator, self.pixels * width)

    def build(self) -> Kernel:
        w, shape = self.writer, self.shape
        jobs = shape.batch * shape.groups * self.blocks * shape.rows
        if self.task.parallel:
            begin, end = w.scalar("begin"), w.scalar("end")
            with w.loop("job", end - begin, begin) as job:
                row = job % shape.rows
                outer = job // shape.rows
                block, group = outer % self.blocks, outer // self.blocks % shape.groups
                self._row(outer // (self.blocks * shape.groups), group, block, row)
            return Kernel(w.finish(), jobs)
        with (
            w.loop("n", shape.batch) as n,
            w.loop("g", shape.groups) as g,
            w.loop("o", self.blocks) as o,
            w.loop("h", shape.rows) as h,
        ):
            self._row(n, g, o, h)
        return Kernel(w.finish())

    def _row(self, n: object, g: object, o: object, h: object) -> None:
        for first, count, pixels in split_row(self.shape.width, self.pixels):
            with self.writer.loop(f"t{first}", count) as t:
                self._tile(n, g, o, h, t * pixels + first, pixels)

    def _tile(self, n, g, o, h, column, pixels: int) -> None:  # type: ignore[no-untyped-def]
        """One register tile: bias in, the whole reduction, the epilogue out."""
        w, shape, lanes, x = self.writer, self.shape, self.lanes, self.task.inputs[0]
        block = g * self.blocks + o
        width = self.vectors * lanes
        for v in range(self.vectors):
            start = w.load(self.bias, block * width + v * lanes, lanes)
            for p in range(pixels):
                w.store(self.acc, (p * self.vectors + v) * lanes, start, lanes)
        origin = (
            n * x.strides[0]
            + g * self.shape.channels
            + h * (shape.stride[0] * x.strides[2])
            + column * (shape.stride[1] * x.strides[3])
        )
        few = shape.kh * shape.steps * shape.kw <= 4
        with w.loop("kh", shape.kh, unroll=few) as kh:
            row = origin + kh * (shape.dilation[0] * x.strides[2])
            with w.loop("c", shape.steps, unroll=few) as c:
                for kw in range(shape.kw):
                    step = ((kh * shape.steps + c) * shape.kw + kw) * (width * shape.unit)
                    at = row + kw * (shape.dilation[1] * x.strides[3]) + c * shape.unit
                    self._step(block * self.block_elements + step, at, pixels)
        for v in range(self.vectors):
            self._store_vector(v, pixels, (n, g * shape.filters, h, column), o)

    def _store_vector(self, v: int, pixels: int, origin, o) -> None:  # type: ignore[no-untyped-def]
        """The epilogue of vector v of every pixel; only the very last vector of a group can be a part of one."""
        lanes, tail = self.lanes, self.shape.filters % self.lanes
        n, first, h, column = origin
        channel = first + o * (self.vectors * lanes) + v * lanes

        def store(count: int) -> None:
            for p in range(pixels):
                place, index = (p * self.vectors + v) * lanes, (n, channel, h, column + p)
                if count == lanes:
                    self.epilogue.store(self.acc, place, index, lanes)
                else:
                    self.epilogue.store_part(self.acc, place, index, count)

        if not tail or v < self.vectors - 1:
            store(lanes)
        elif self.blocks == 1:
            store(tail)
        else:
            with self.writer.when(o < self.blocks - 1):
                store(lanes)
            with self.writer.when(o == self.blocks - 1):
                store(tail)

    def _step(self, weights_at, x_at, pixels: int) -> None:  # type: ignore[no-untyped-def]
        """One step of the reduction for the whole tile."""
        from budgetc_targets.kernels.writer import intrinsic, reinterpret, splat

        w, shape, lanes = self.writer, self.shape, self.lanes
        wide = lanes * shape.unit
        loaded = [w.load(self.weights, weights_at + v * wide, wide) for v in range(self.vectors)]
        for p in range(pixels):
            at = x_at + p * (shape.stride[1] * self.task.inputs[0].strides[3])
            if shape.integer:
                quad = reinterpret(w.load(self.x, at, 4), "int32", 1)
                x = reinterpret(splat(quad, lanes), "uint8", wide)
            else:
                x = splat(w.load(self.x, at), lanes)
            for v in range(self.vectors):
                place = (p * self.vectors + v) * lanes
                acc = w.load(self.acc, place, lanes)
                if self.dot:
                    value = self.dot.accumulate(acc, x, loaded[v])
                else:
                    value = intrinsic("llvm.fmuladd", "float32", lanes, x, loaded[v], acc)
                w.store(self.acc, place, value, lanes)
