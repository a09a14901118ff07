"""The code of depthwise kernels by words of four channels."""

from dataclasses import fields

from tvm import tirx

from budgetc_targets.contract import Kernel, Point
from budgetc_targets.kernels.depthwise_words import WORD, words_of
from budgetc_targets.kernels.dot import halves
from budgetc_targets.kernels.epilogue import Epilogue
from budgetc_targets.kernels.jobs import spread
from budgetc_targets.kernels.quads import Sizes, sizes_of
from budgetc_targets.kernels.tiles import knob
from budgetc_targets.kernels.writer import Value, Writer, cast, integer, reinterpret
from budgetc_targets.task import Task, is_open


def build(task: Task, point: Point, name: str) -> Kernel:
    """The function for a task at one point of the family's space."""
    builder = _Builder(task, point, name)
    extents = (task.output.shape[0], builder.sizes.blocks, builder.sizes.pairs)
    return spread(builder.writer, extents, builder.row, parallel=task.parallel)


class _Builder:
    def __init__(self, task: Task, point: Point, name: str) -> None:
        self.task, self.pixels = task, knob(point, "pixels")
        self.kh, self.kw = task.attribute("kernel")
        self.writer = writer = Writer(name)
        words = words_of(task)
        self.x = writer.pointer("x", "uint8", task.inputs[0].extent)
        taps = self.kh * self.kw * WORD
        self.weights = writer.pointer("weights", "int8", words.blocks * taps)
        self.bias = writer.pointer("bias", "int32", words.blocks * WORD)
        self.epilogue = Epilogue(writer, task, channel_axis=1)
        self.sizes = sizes_of(task, words, self.pixels, 1)
        self.open = is_open(task)
        if self.open:
            self.sizes = Sizes(*self.epilogue.numbers.last(len(fields(Sizes))))
            self.epilogue.strides = (0, 1, self.sizes.y_row, self.sizes.y_column)
        self.acc = writer.local("acc", "int32", 2 * self.pixels)

    def row(self, n: Value, word: Value, h: Value) -> None:
        """One row of the output, for one word of channels."""
        channels, width = self.task.output.shape[1], self.task.output.shape[3]
        channel = word * WORD
        if channels % WORD:
            channel = tirx.min(channel, channels - WORD)
        sizes, (sh, sw) = self.sizes, self.task.attribute("stride")
        row = n * self.task.inputs[0].strides[0] + h * (sh * sizes.x_row) + channel
        for odd in (False, True):
            with self.writer.loop(f"t{odd:d}", sizes.tiles) as t:
                column = t * self.pixels
                if self.open or width % self.pixels:
                    column = tirx.min(column, sizes.last_column)
                origin = row + column * (sw * sizes.x_column)
                self._pair(odd, origin, (n, word, channel, h, column))

    def _pair(self, odd: bool, origin: Value, place: tuple[Value, ...]) -> None:
        w, sizes, (n, word, channel, h, column) = self.writer, self.sizes, place
        sw, (dh, dw) = self.task.attribute("stride")[1], self.task.attribute("dilation")
        for k in range(2):
            start = w.load(self.bias, word * WORD + (2 * k + odd))
            for p in range(self.pixels):
                w.store(self.acc, 2 * p + k, start)
        users: dict[int, list[tuple[int, int]]] = {}
        for p in range(self.pixels):
            for tap in range(self.kw):
                users.setdefault(p * sw + tap * dw, []).append((p, tap))
        with w.loop("a", self.kh, unroll=not self.open) as a:
            row = origin + a * (dh * sizes.x_row)
            first = (word * self.kh + a) * (self.kw * WORD)
            taps = range(self.kw)
            weights = [self._halves(self.weights, first + t * WORD, "sxtb16", odd) for t in taps]
            for at in sorted(users):
                taken = self._halves(self.x, row + sizes.x_column * at, "uxtb16", odd)
                for p, tap in users[at]:
                    for k in range(2):
                        product = _half(taken, k) * _half(weights[tap], k)
                        w.store(self.acc, 2 * p + k, w.load(self.acc, 2 * p + k) + product)
        for p in range(self.pixels):
            for k in range(2):
                index = (n, channel + (2 * k + odd), h, column + p)
                self.epilogue.store(self.acc, 2 * p + k, index, 1)

    def _halves(self, buffer: Value, at: Value, split: str, odd: bool) -> Value:
        word = reinterpret(self.writer.load(buffer, at, WORD), "uint32", 1)
        return reinterpret(halves(word, split)[odd], "int32", 1)


def _half(word: Value, k: int) -> Value:
    """The lower or the upper half of a word, as s32."""
    return tirx.shift_right(word, integer(16)) if k else cast(cast(word, "int16", 1), "int32", 1)
