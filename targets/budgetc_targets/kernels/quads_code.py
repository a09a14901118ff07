"""The code of depthwise kernels by quads of rows, interleaved once for two rows of the output.

Along a row go tiles of some blocks, or runs: a run takes one column after the other, adds it to the sums of every
pixel that sees it, and carries those that wait for more on to the next pixel, so that a column is read once. Two runs
share the accumulators of a block, so that the weights of either stay in registers all along the row; what the first
has is put by where the second's results will join it.
"""

from collections.abc import Callable
from dataclasses import fields

from tvm import tirx

from budgetc_targets.contract import Kernel, Point
from budgetc_targets.expression import ACCUMULATOR, Apply, Const, Expr
from budgetc_targets.kernels.arithmetic import Arithmetic
from budgetc_targets.kernels.dot import DOTS
from budgetc_targets.kernels.epilogue import offset
from budgetc_targets.kernels.evaluate import evaluate, widen
from budgetc_targets.kernels.jobs import spread
from budgetc_targets.kernels.numbers import Numbers
from budgetc_targets.kernels.quads import (
    UNIT,
    Quads,
    Sizes,
    carried,
    channel_order,
    pixels_of,
    runs_of,
    sizes_of,
)
from budgetc_targets.kernels.tiles import knob
from budgetc_targets.kernels.writer import Value, Writer, cast, intrinsic, reinterpret, splat
from budgetc_targets.task import Access, Task, is_open


def build(task: Task, arithmetic: Arithmetic, quads: Quads, point: Point, name: str) -> Kernel:
    """The function for a task at one point of the family's space."""
    builder = _Builder(task, arithmetic, quads, point, name)
    batch, sizes = task.output.shape[0], builder.sizes
    extents = (batch, sizes.pairs, sizes.blocks)
    few = task.parallel and batch * sizes.pairs < FEW_JOBS and quads.blocks > 1
    over = (0, 1, 2) if few else (0, 1)  # pixels where the layer before left them
    return spread(builder.writer, extents, builder.row, parallel=task.parallel, over=over)


Part = tuple[int, ...]
"""Accumulators of a block."""

FEW_JOBS = 4
"""Fewer pairs of rows than these are no even work for several threads: they share blocks too."""

PACKS = {
    16: ("llvm.x86.avx512.packssdw.512", "llvm.x86.avx512.packuswb.512"),
    8: ("llvm.x86.avx2.packssdw", "llvm.x86.avx2.packuswb"),
    4: ("llvm.x86.sse2.packssdw.128", "llvm.x86.sse2.packuswb.128"),
}
"""x86's saturating packs by the lanes of an accumulator; they clamp and restore the order at once."""


class _Builder:
    def __init__(
        self, task: Task, arithmetic: Arithmetic, quads: Quads, point: Point, name: str
    ) -> None:
        self.task, self.quads, self.name = task, quads, arithmetic.name
        self.lanes, self.block = quads.lanes, quads.block
        self.rows, self.runs = knob(point, "rows"), runs_of(point)
        self.pixels = pixels_of(point)
        self.kh, self.kw = task.attribute("kernel")
        self.writer = writer = Writer(name)
        self.x = writer.pointer("x", "uint8", task.inputs[0].extent)
        self.weights_block = self.rows * self.kw * UNIT * self.block
        self.weights = writer.pointer("weights", "int8", quads.blocks * self.weights_block)
        self.bias = writer.pointer("bias", "int32", quads.blocks * self.block)
        self.operands = [
            writer.pointer(f"operand{i}", a.dtype, a.extent) for i, a in enumerate(task.operands)
        ]
        self.numbers = Numbers(writer, task)
        self.sizes = sizes_of(task, quads, self.pixels, self.rows)
        self.open = is_open(task)
        if self.open:
            self.sizes = Sizes(*self.numbers.last(len(fields(Sizes))))
        self.output = writer.pointer("y", "uint8", task.output.extent)
        self.carried = carried(task, quads) if self.runs else 0
        tiles = self.rows * (self.pixels + self.carried)
        self.acc = writer.local("acc", "int32", tiles * self.block)
        packs = self.lanes in PACKS and arithmetic.name.startswith(("vpdpbusd", "maddubs"))
        unclamped = _without_clamp(task.expression) if packs else None
        self.saturating = unclamped is not None
        self.expression = unclamped or task.expression

    def row(self, n: Value, pair: Value, b: Value) -> None:
        """A row of the output, or two, for one block of channels."""
        w, sizes, (height, width) = self.writer, self.sizes, self.task.output.shape[2:]
        h = pair * self.rows
        if self.open or height % self.rows:
            h = tirx.min(h, sizes.last_row)
        pixels = self.pixels * self.quads.repeat
        readers = self._readers()
        for part in _parts(self.runs):
            ready = self._begin(n, b, h, readers, part)
            with w.loop("t", sizes.tiles) as t:
                column = t * pixels
                if not self.carried and (self.open or width % pixels):
                    column = tirx.min(column, sizes.last_column)
                origin = w.let("origin", self._origin(n, b, h, column))
                self._start(b, range(self.carried, self.carried + self.pixels), part)
                for at in sorted(readers):
                    if at >= ready:
                        self._column(b, origin, at, readers[at], part)
                for p in range(self.pixels):
                    for r in range(self.rows):
                        self._store(n, b, h + r, column + p * self.quads.repeat, r, p, part)
                self._carry(part)

    def _readers(self) -> dict[int, list[tuple[int, int]]]:
        """By column from a tile's first one: (pixel, tap) of each reader, pixels that sums are carried for included."""
        sw, dw = self.task.attribute("stride")[1], self.task.attribute("dilation")[1]
        step = sw * self.quads.repeat
        users: dict[int, list[tuple[int, int]]] = {}
        for p in range(self.pixels + self.carried):
            for tap in range(self.kw):
                at = p * step + tap * dw
                if p < self.pixels or at < self.kw:
                    users.setdefault(at, []).append((p, tap))
        return users

    def _begin(
        self, n: Value, b: Value, h: Value, readers: dict[int, list[tuple[int, int]]], part: Part
    ) -> int:
        """What a row's first tile finds carried over; the first column that every tile reads itself."""
        if not self.carried:
            return 0
        ready: int = self.kw - self.task.attribute("stride")[1]
        self._start(b, range(self.carried), part)
        origin = self.writer.let("begin", self._origin(n, b, h, 0))
        for at in range(ready):
            self._column(b, origin, at, readers[at], part)
        return ready

    def _carry(self, part: Part) -> None:
        """Hand the sums of the next pixels on."""
        w = self.writer
        for p in range(self.carried):
            for r in range(self.rows):
                for k in part:
                    waiting = w.load(self.acc, self._place(r, p + 1, k), self.lanes)
                    w.store(self.acc, self._place(r, p, k), waiting, self.lanes)

    def _start(self, b: Value, pixels: range, part: Part) -> None:
        """Sums that are the bias so far."""
        w = self.writer
        for k in part:
            start = w.load(self.bias, b * self.block + k * self.lanes, self.lanes)
            for p in pixels:
                for r in range(self.rows):
                    w.store(self.acc, self._place(r, p, k), start, self.lanes)

    def _origin(self, n: Value, b: Value, h: Value, column: Value) -> Value:
        x, sizes, (sh, sw) = self.task.inputs[0], self.sizes, self.task.attribute("stride")
        origin = n * x.strides[0] + h * sh * sizes.x_row + column * sw * sizes.x_column
        return origin + b * self.block

    def _column(
        self, b: Value, origin: Value, at: int, readers: list[tuple[int, int]], part: Part
    ) -> None:
        quads = self._interleaved(origin, at, part)
        for p, tap in readers:
            self._accumulate(b, quads, p, tap, part)

    def _place(self, row: int, pixel: int, k: int) -> int:
        return ((row * (self.pixels + self.carried) + pixel) * UNIT + k) * self.lanes

    def _interleaved(self, origin: Value, column: int, part: Part) -> list[Value]:
        """A column of four rows of a block, as the activations of some of its accumulators."""
        sizes, size = self.sizes, self.block
        dh = self.task.attribute("dilation")[0]
        used = self.kh + self.rows - 1
        # A row beyond the taps meets weights of zero: any row that may be read will do.
        at = sizes.x_column * column
        lines = [sizes.x_row * (min(r, used - 1) * dh) + at for r in range(UNIT)]
        w = self.writer
        rows = [w.hold(w.load(self.x, origin + line, size)) for line in lines]
        quads: list[Value] = []
        for half in sorted({k // 2 for k in part}):
            order = _unpack(size, 1, upper=half == 1)
            both = [w.hold(tirx.Shuffle(rows[i : i + 2], order)) for i in (0, 2)]
            orders = (_unpack(size, 2, upper=upper) for upper in (False, True))
            quads += [w.hold(tirx.Shuffle(both, order)) for order in orders]
        return quads

    def _accumulate(self, b: Value, quads: list[Value], pixel: int, tap: int, part: Part) -> None:
        w = self.writer
        for r in range(self.rows):
            for k, x in zip(part, quads, strict=True):
                at = ((r * self.kw + tap) * UNIT + k) * self.block
                weight = w.load(self.weights, b * self.weights_block + at, self.block)
                place = self._place(r, pixel, k)
                acc = w.load(self.acc, place, self.lanes)
                w.store(self.acc, place, DOTS[self.name](acc, x, weight), self.lanes)

    def _store(
        self, n: Value, b: Value, h: Value, column: Value, row: int, pixel: int, part: Part
    ) -> None:
        """The epilogue of accumulators of a block, and its bytes in the order of the channels once all are there."""
        index = (n, b * self.block if self.quads.blocks > 1 else tirx.IntImm("int32", 0), h, column)
        values = []
        for k in part:
            accumulator = self.writer.load(self.acc, self._place(row, pixel, k), self.lanes)
            values.append(
                evaluate(
                    self.expression,
                    self._operand(accumulator, index, k),
                    self.numbers,
                    self.lanes,
                    self.writer.hold,
                )
            )
        y = self.task.output
        strides = (y.strides[0], y.strides[1], self.sizes.y_row, self.sizes.y_column)
        at = offset(y, index, strides)
        whole = len(part) == UNIT
        put = self._bytes(values) if whole else self._half(values, at, second=part[0] > 0)
        self.writer.store(self.output, at, put, self.block)

    def _operand(
        self, accumulator: Value, index: tuple[Value, ...], k: int
    ) -> Callable[[int], Value]:
        def fetch(i: int) -> Value:
            if i == ACCUMULATOR.index:
                return accumulator
            access, buffer = self.task.operands[i], self.operands[i]
            raw = self._raw(access, buffer, offset(access, index), k)
            return widen(raw, access.dtype, self.lanes)

        return fetch

    def _raw(self, access: Access, buffer: Value, at: Value, k: int) -> Value:
        """What the lanes of accumulator k read of an operand."""
        w, lanes = self.writer, self.lanes
        order = [int(c) for c in channel_order(lanes)[k]]
        if access.strides[1] == 0:
            return splat(w.load(buffer, at), lanes)
        if self.quads.repeat > 1 and access.strides[3] == 0:
            period = self.task.output.shape[1]
            order = [c % period for c in order]
        if access.dtype == "float32":
            pieces = [w.load(buffer, at + c, 4) for c in order[::4]]
            return pieces[0] if len(pieces) == 1 else tirx.Shuffle(pieces, list(range(lanes)))
        return tirx.Shuffle([w.load(buffer, at, self.block)], order)

    def _half(self, values: list[Value], at: Value, *, second: bool) -> Value:
        """Two accumulators as words, which take as many bytes as the block will; its bytes with the words before."""
        words = self._words(values)
        if not second:
            return reinterpret(words, "uint8", self.block)
        first = self.writer.load(self.output, at, self.block)
        return self._octets(reinterpret(first, "int16", 2 * self.lanes), words)

    def _bytes(self, values: list[Value]) -> Value:
        if self.saturating:
            return self._octets(self._words(values[:2]), self._words(values[2:]))
        bytes_ = [cast(v, "uint8", self.lanes) for v in values]
        return tirx.Shuffle(bytes_, _restored(self.lanes))

    def _words(self, values: list[Value]) -> Value:
        """Two accumulators as words, in an order that `_octets` knows."""
        lanes = self.lanes
        if self.saturating:
            return intrinsic(PACKS[lanes][0], "int16", 2 * lanes, *values)
        return tirx.Shuffle([cast(v, "int16", lanes) for v in values], list(range(2 * lanes)))

    def _octets(self, first: Value, second: Value) -> Value:
        """The words of all accumulators as bytes, in the order of the channels."""
        lanes = self.lanes
        if self.saturating:
            return intrinsic(PACKS[lanes][1], "uint8", self.block, first, second)
        halves = [cast(v, "uint8", 2 * lanes) for v in (first, second)]
        return tirx.Shuffle(halves, _restored(lanes))


def _restored(lanes: int) -> list[int]:
    """Where each channel of a block lies in its four accumulators, one behind the other."""
    order = [0] * (UNIT * lanes)
    for position, channel in enumerate(channel_order(lanes).reshape(-1)):
        order[channel] = position
    return order


def _parts(runs: int) -> list[Part]:
    """Which accumulators of a block are done together."""
    return [(0, 1), (2, 3)] if runs == 2 else [(0, 1, 2, 3)]


def _unpack(size: int, unit: int, *, upper: bool) -> list[int]:
    """Units of two vectors in turns, from the lower or upper half of each 128-bit lane."""
    order = []
    for lane in range(0, size, 16):
        first = lane + (8 if upper else 0)
        for at in range(first, first + 8, unit):
            for vector in (0, size):
                order += [vector + at + i for i in range(unit)]
    return order


def _without_clamp(expression: Expr) -> Expr | None:
    """The expression inside a last clamp to [0, 255]; None where there is no such clamp."""
    match expression:
        case Apply("min", (Apply("max", (inner, Const(0, "int32"))), Const(255, "int32"))):
            return inner
    return None
