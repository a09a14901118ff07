"""The code of depthwise kernels by quads of rows: tiles of blocks, interleaved once for two rows of the output."""

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
from budgetc_targets.kernels.quads import UNIT, Quads, Sizes, channel_order, sizes_of
from budgetc_targets.kernels.tiles import knob
from budgetc_targets.kernels.writer import Value, Writer, cast, intrinsic, splat
from budgetc_targets.task import Access, Task, is_open


def build(task: Task, arithmetic: Arithmetic, quads: Quads, point: Point, name: str) -> Kernel:
    """The function for a task at one point of the family's space."""
    builder = _Builder(task, arithmetic, quads, point, name)
    batch, sizes = task.output.shape[0], builder.sizes
    extents = (batch, sizes.blocks, sizes.pairs)
    few = task.parallel and batch * sizes.pairs < FEW_JOBS and quads.blocks > 1
    over = (0, 1, 2) if few else (0, 2)  # pixels where the layer before left them
    return spread(builder.writer, extents, builder.row, parallel=task.parallel, over=over)


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
        self.pixels, self.rows = knob(point, "pixels"), knob(point, "rows")
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
        self.acc = writer.local("acc", "int32", self.rows * self.pixels * self.block)
        packs = self.lanes in PACKS and arithmetic.name.startswith(("vpdpbusd", "maddubs"))
        unclamped = _without_clamp(task.expression) if packs else None
        self.saturating = unclamped is not None
        self.expression = unclamped or task.expression

    def row(self, n: Value, b: Value, pair: Value) -> None:
        """A row of the output, or two, for one block of channels."""
        w, sizes, (height, width) = self.writer, self.sizes, self.task.output.shape[2:]
        h = pair * self.rows
        if self.open or height % self.rows:
            h = tirx.min(h, sizes.last_row)
        pixels = self.pixels * self.quads.repeat
        with w.loop("t", sizes.tiles) as t:
            column = t * pixels
            if self.open or width % pixels:
                column = tirx.min(column, sizes.last_column)
            self._tile(n, b, h, column)

    def _tile(self, n: Value, b: Value, h: Value, column: Value) -> None:
        w, x, sizes = self.writer, self.task.inputs[0], self.sizes
        sh, sw = self.task.attribute("stride")
        dw = self.task.attribute("dilation")[1]
        for k in range(UNIT):
            start = w.load(self.bias, b * self.block + k * self.lanes, self.lanes)
            for tile in range(self.rows * self.pixels):
                w.store(self.acc, self._place(tile, k), start, self.lanes)
        origin = n * x.strides[0] + h * sh * sizes.x_row + column * sw * sizes.x_column
        origin = w.let("origin", origin + b * self.block)
        step = sw * self.quads.repeat
        users: dict[int, list[tuple[int, int]]] = {}
        for p in range(self.pixels):
            for tap in range(self.kw):
                users.setdefault(p * step + tap * dw, []).append((p, tap))
        for at in sorted(users):
            quads = self._interleaved(origin, at)
            for p, tap in users[at]:
                self._accumulate(b, quads, p, tap)
        for r in range(self.rows):
            for p in range(self.pixels):
                self._store(n, b, h + r, column + p * self.quads.repeat, r * self.pixels + p)

    def _place(self, tile: int, k: int) -> int:
        return (tile * UNIT + k) * self.lanes

    def _interleaved(self, origin: Value, column: int) -> list[Value]:
        """A column of four rows of a block, as the activations of the four accumulators."""
        sizes, size = self.sizes, self.block
        dh = self.task.attribute("dilation")[0]
        used = self.kh + self.rows - 1
        # A row beyond the taps meets weights of zero: any row that may be read will do.
        at = sizes.x_column * column
        lines = [sizes.x_row * (min(r, used - 1) * dh) + at for r in range(UNIT)]
        w = self.writer
        rows = [w.hold(w.load(self.x, origin + line, size)) for line in lines]
        low, high = [], []
        for first in (0, 2):
            pair = rows[first : first + 2]
            low.append(tirx.Shuffle(pair, _unpack(size, 1, upper=False)))
            high.append(tirx.Shuffle(pair, _unpack(size, 1, upper=True)))
        quads: list[Value] = []
        for pair in (low, high):
            both = [w.hold(v) for v in pair]
            halves = (_unpack(size, 2, upper=upper) for upper in (False, True))
            quads += [w.hold(tirx.Shuffle(both, order)) for order in halves]
        return quads

    def _accumulate(self, b: Value, quads: list[Value], pixel: int, tap: int) -> None:
        w = self.writer
        for r in range(self.rows):
            for k, x in enumerate(quads):
                at = ((r * self.kw + tap) * UNIT + k) * self.block
                weight = w.load(self.weights, b * self.weights_block + at, self.block)
                place = self._place(r * self.pixels + pixel, k)
                acc = w.load(self.acc, place, self.lanes)
                w.store(self.acc, place, DOTS[self.name](acc, x, weight), self.lanes)

    def _store(self, n: Value, b: Value, h: Value, column: Value, tile: int) -> None:
        """The epilogue of the four accumulators of a block, and its bytes in the order of the channels."""
        index = (n, b * self.block if self.quads.blocks > 1 else tirx.IntImm("int32", 0), h, column)
        values = []
        for k in range(UNIT):
            accumulator = self.writer.load(self.acc, self._place(tile, k), self.lanes)
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
        self.writer.store(self.output, at, self._bytes(values), self.block)

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

    def _bytes(self, values: list[Value]) -> Value:
        lanes = self.lanes
        if not self.saturating:
            order = [0] * self.block
            for position, channel in enumerate(channel_order(lanes).reshape(-1)):
                order[channel] = position
            return tirx.Shuffle([cast(v, "uint8", lanes) for v in values], order)
        words, octets = PACKS[lanes]
        halves = [intrinsic(words, "int16", 2 * lanes, *values[i : i + 2]) for i in (0, 2)]
        return intrinsic(octets, "uint8", 4 * lanes, *halves)


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
