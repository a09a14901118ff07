"""The code of convolution kernels: blocks of filters, rows, register tiles and their reduction."""

from dataclasses import fields
from typing import Any

from tvm import tirx

from budgetc_targets.contract import Kernel, Point
from budgetc_targets.kernels.arithmetic import Arithmetic
from budgetc_targets.kernels.convolution_shape import (
    UNROLLED,
    ConvolutionShape,
    Sizes,
    sharing_of,
)
from budgetc_targets.kernels.dot import DOTS
from budgetc_targets.kernels.epilogue import Epilogue
from budgetc_targets.kernels.jobs import spread
from budgetc_targets.kernels.tiles import knob, split_row
from budgetc_targets.kernels.writer import (
    Value,
    Writer,
    cast,
    integer,
    intrinsic,
    reinterpret,
    splat,
    stored_type,
)
from budgetc_targets.task import Task, is_open

BY_LANE = ("sdot", "usdot")
"""Dot products whose instruction takes one quad of a vector for all of its lanes."""


def build(
    task: Task, shape: ConvolutionShape, arithmetic: Arithmetic, point: Point, name: str
) -> Kernel:
    """The function for a task at one point of the family's space."""
    builder = _Builder(task, shape, arithmetic, point, name)
    extents = (shape.batch, shape.groups, builder.blocks, builder.rows)
    if not task.parallel:
        return spread(builder.writer, extents, builder.row, parallel=False)
    sharing = sharing_of(task, shape, builder.lanes, builder.pixels, builder.vectors)
    over = {"filters": [1, 2], "tiles": [0, 3, 4], "rows": [0, 3]}[sharing]
    if is_open(task):  # one picture and one group: there is nothing to divide by
        over = [d for d in over if d > 1]
    if sharing == "tiles":
        finer = (*extents, builder.tiles)
        return spread(builder.writer, finer, builder.tile, parallel=True, over=over)
    return spread(builder.writer, extents, builder.row, parallel=True, over=over)


class _Builder:
    def __init__(
        self, task: Task, shape: ConvolutionShape, arithmetic: Arithmetic, point: Point, name: str
    ) -> None:
        self.task, self.shape, self.arithmetic = task, shape, arithmetic
        self.lanes = arithmetic.lanes
        self.vectors, self.pixels = knob(point, "vectors"), knob(point, "pixels")
        self.blocks: Any = -(-shape.filters // self.lanes) // self.vectors
        self.rows, self.steps = shape.rows, shape.steps
        self.dot = DOTS.get(arithmetic.name)
        # Beyond the last channel is another number: an integer meets a weight of zero, but a float may be a NaN.
        self.alone = arithmetic.halves and shape.channels % shape.unit > 0
        # One load of a whole vector serves as many steps as it has quads, each a lane of it.
        by_lane = arithmetic.kind in BY_LANE and not is_open(task)
        self.side = self.lanes if by_lane and shape.steps % self.lanes == 0 else 1
        width = self.vectors * self.lanes
        self.writer = Writer(name, may_alias=task.may_alias)
        self.x = self.writer.pointer("x", task.inputs[0].dtype, task.inputs[0].extent)
        self.block_elements = shape.kh * shape.steps * shape.kw * width * shape.unit
        whole = shape.groups * self.blocks
        weights = whole * self.block_elements
        self.weights = self.writer.pointer("weights", arithmetic.weights, weights)
        self.bias = self.writer.pointer("bias", arithmetic.sums, whole * width)
        self.epilogue = Epilogue(self.writer, task, channel_axis=1)
        x = task.inputs[0]
        self.x_row = shape.stride[0] * x.strides[2]
        self.x_column = shape.stride[1] * x.strides[3]
        self.sizes: Sizes | None = None
        self.tiles: Any = shape.width // self.pixels
        if is_open(task):
            self._open(Sizes(*self.epilogue.numbers.last(len(fields(Sizes)))))
        self.acc = self.writer.local("acc", arithmetic.sums, self.pixels * width)

    def _open(self, sizes: Sizes) -> None:
        """Sizes that the code was written for are read instead."""
        self.sizes, self.blocks, self.rows, self.steps = (
            sizes,
            sizes.blocks,
            sizes.rows,
            sizes.steps,
        )
        self.x_row, self.x_column, self.tiles = sizes.x_row, sizes.x_column, sizes.tiles
        self.block_elements = sizes.steps * (self.vectors * self.lanes * self.shape.unit)
        self.epilogue.strides = (0, 1, sizes.y_row, sizes.y_column)

    def row(self, n: Value, g: Value, o: Value, h: Value) -> None:
        """One row of the output, for one block of filters."""
        if self.sizes:
            with self.writer.loop("t", self.sizes.tiles) as t:
                column = tirx.min(t * self.pixels, self.sizes.last)
                self._tile(n, g, o, h, column, self.pixels)
            return
        for first, count, pixels in split_row(self.shape.width, self.pixels):
            with self.writer.loop(f"t{first}", count) as t:
                self._tile(n, g, o, h, t * pixels + first, pixels)

    def tile(self, n: Value, g: Value, o: Value, h: Value, t: Value) -> None:
        """One whole tile of a row; the last one brings the rest of the row with it, or overlaps the one before it."""
        if self.sizes:
            self._tile(n, g, o, h, tirx.min(t * self.pixels, self.sizes.last), self.pixels)
            return
        self._tile(n, g, o, h, t * self.pixels, self.pixels)
        tiles, rest = divmod(self.shape.width, self.pixels)
        if rest:
            with self.writer.when(tirx.EQ(t, tiles - 1)):
                self._tile(n, g, o, h, tirx.IntImm("int32", tiles * self.pixels), rest)

    def _tile(self, n: Value, g: Value, o: Value, h: Value, column: Value, pixels: int) -> None:
        """One register tile: bias in, the whole reduction, the epilogue out."""
        w, shape, lanes, x = self.writer, self.shape, self.lanes, self.task.inputs[0]
        block = g * self.blocks + o
        width = self.vectors * lanes
        for v in range(self.vectors):
            start = w.load(self.bias, block * width + v * lanes, lanes)
            for p in range(pixels):
                w.store(self.acc, (p * self.vectors + v) * lanes, start, lanes)
        origin = n * x.strides[0] + g * shape.channels + h * self.x_row + column * self.x_column
        few = not self.sizes and shape.kh * shape.steps * shape.kw <= UNROLLED
        side = self.side

        def steps(row: Value, kh: Value, c: Value, *, alone: bool = False) -> None:
            for kw in range(shape.kw):
                at = row + kw * (shape.dilation[1] * x.strides[3]) + c * (side * shape.unit)
                taken = self._taken(at, pixels, alone=alone)
                for q in range(side):
                    step = (kh * self.steps + c * side + q) * shape.kw + kw
                    step = step * (width * shape.unit)
                    self._step(block * self.block_elements + step, taken, pixels, q)

        with w.loop("kh", shape.kh, unroll=few) as kh:
            row = origin + kh * (shape.dilation[0] * x.strides[2])
            count = self.steps - 1 if self.alone else self.steps
            with w.loop("c", count // side if side > 1 else count, unroll=few) as c:
                steps(row, kh, c)
            if self.alone:
                steps(row, kh, integer(count), alone=True)
        for v in range(self.vectors):
            self._store_vector(v, pixels, (n, g * shape.filters, h, column), o)

    def _store_vector(
        self, v: int, pixels: int, origin: tuple[Value, Value, Value, Value], o: Value
    ) -> None:
        """The epilogue of vector v of every pixel; only a group's very last vector can be a part."""
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
            with self.writer.when(tirx.LT(o, self.blocks - 1)):
                store(lanes)
            with self.writer.when(tirx.EQ(o, self.blocks - 1)):
                store(tail)

    def _taken(self, x_at: Value, pixels: int, *, alone: bool) -> list[Value]:
        """The activations of each pixel for as many steps as are taken side by side; alone, of one channel and none."""
        w, shape, lanes = self.writer, self.shape, self.lanes
        wide = lanes * shape.unit
        found = []
        for p in range(pixels):
            at = x_at + self.x_column * p
            if self.side > 1:
                found.append(w.hold(w.load(self.x, at, wide)))
            elif lanes > 1 and shape.unit > 1:
                word = reinterpret(w.load(self.x, at, shape.unit), "int32", 1)
                if alone:
                    word = cast(w.load(self.x, at), "int32", 1)
                element = stored_type(self.task.inputs[0].dtype)
                found.append(reinterpret(splat(word, lanes), element, wide))
            elif lanes == 1 or self.arithmetic.integer:
                found.append(w.load(self.x, at, shape.unit))
            else:
                found.append(splat(w.load(self.x, at), lanes))
        return found

    def _step(self, weights_at: Value, taken: list[Value], pixels: int, q: int) -> None:
        """One step of the reduction for the whole tile, number `q` of those taken side by side."""
        w, shape, lanes = self.writer, self.shape, self.lanes
        wide = lanes * shape.unit
        loaded = [w.load(self.weights, weights_at + v * wide, wide) for v in range(self.vectors)]
        for p in range(pixels):
            x = taken[p]
            if self.side > 1:
                x = tirx.Shuffle([x], [4 * q + byte for byte in range(4)] * lanes)
            for v in range(self.vectors):
                place = (p * self.vectors + v) * lanes
                acc = w.load(self.acc, place, lanes)
                if self.dot:
                    value = self.dot(acc, x, loaded[v])
                else:
                    value = intrinsic("llvm.fmuladd", "float32", lanes, x, loaded[v], acc)
                w.store(self.acc, place, value, lanes)
