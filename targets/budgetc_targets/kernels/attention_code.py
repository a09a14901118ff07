"""The code of attention: a block of rows of scores in scratch memory, from the first product to the second."""

from dataclasses import replace

from tvm import tirx

from budgetc_targets.contract import Kernel, Point
from budgetc_targets.expression import ACCUMULATOR, Expr
from budgetc_targets.kernels.epilogue import Epilogue
from budgetc_targets.kernels.evaluate import evaluate
from budgetc_targets.kernels.jobs import share_of, spread
from budgetc_targets.kernels.product_tile import Matrix, ProductTile, matrix_of
from budgetc_targets.kernels.softmax_code import Sweeps
from budgetc_targets.kernels.tiles import knob
from budgetc_targets.kernels.writer import Value, Writer, integer
from budgetc_targets.task import Task

_CACHE_LINE = 16
"""Floats of one: threads write to none together."""


def build(task: Task, lanes: int, point: Point, threads: int, name: str) -> Kernel:
    """The function for a task at one point of the family's space, with scratch memory for so many threads."""
    builder = _Builder(task, lanes, point, threads, name)
    kernel = spread(builder.writer, builder.jobs, builder.block, parallel=task.parallel)
    return replace(kernel, scratch=4 * builder.threads * builder.size)


class _Builder:
    def __init__(self, task: Task, lanes: int, point: Point, threads: int, name: str) -> None:
        self.task, self.threads = task, threads
        self.rows = knob(point, "rows")
        batch, heads, rows, columns = task.output.shape
        self.jobs = (batch, heads, -(-rows // self.rows))
        self.writer = w = Writer(name)
        self.queries, self.keys, self.values = (
            w.pointer(name, "float32", access.extent)
            for name, access in zip(("q", "c", "v"), task.inputs, strict=True)
        )
        self.epilogue = Epilogue(w, task, channel_axis=3)
        self.length = task.inputs[1].shape[3]
        self.line = -(-self.length // lanes) * lanes
        self.size = -(-self.rows * self.line // _CACHE_LINE) * _CACHE_LINE
        self.scratch = w.pointer("scratch", "float32", threads * self.size)
        self.scores = ProductTile(
            w,
            "scored",
            rows=knob(point, "score_pixels"),
            vectors=knob(point, "score_vectors"),
            lanes=lanes,
            columns=self.length,
        )
        self.result = ProductTile(
            w,
            "acc",
            rows=knob(point, "pixels"),
            vectors=knob(point, "vectors"),
            lanes=lanes,
            columns=columns,
        )
        self.sweeps = Sweeps(w, self.length, lanes)

    def block(self, b: Value, h: Value, job: Value) -> None:
        """Some whole rows of the result; the last overlap those before."""
        w, rows = self.writer, self.task.output.shape[2]
        base: Value = integer(0)
        if self.threads > 1:
            _, heads, blocks = self.jobs
            flat, jobs = (b * heads + h) * blocks + job, self.task.output.shape[0] * heads * blocks
            base = w.let("base", share_of(flat, jobs, self.threads) * self.size)
        row = job * self.rows
        if rows % self.rows:
            row = tirx.min(row, rows - self.rows)
        with w.loop("s", self.rows // self.scores.rows) as s:
            self._scores(b, h, row, s * self.scores.rows, base)
        with w.loop("r", self.rows) as r:
            self._softmax(b, h, row + r, base + r * self.line)
        with w.loop("o", self.rows // self.result.rows) as o:
            first = o * self.result.rows

            def finish(acc: Value, place: int, r: int, column: Value, lanes: int) -> None:
                self.epilogue.store(acc, place, (b, h, row + first + r, column), lanes)

            self.result.multiply(
                Matrix(self.scratch, base + first * self.line, self.line, 1),
                matrix_of(self.values, self.task.inputs[2], b, h),
                self.length,
                finish,
            )

    def _scores(self, b: Value, h: Value, row: Value, first: Value, base: Value) -> None:
        """The logits of the rows of a tile."""
        w = self.writer
        queries, keys, _ = self.task.inputs

        def finish(acc: Value, place: int, r: int, column: Value, lanes: int) -> None:
            sums = w.load(acc, place, lanes)
            index = (b, h, row + first + r, column)
            value = self._value(self.task.attribute("logits"), sums, index, lanes)
            w.store(self.scratch, base + (first + r) * self.line + column, value, lanes)

        rows = matrix_of(self.queries, queries, b, h).below(row + first)
        self.scores.multiply(rows, matrix_of(self.keys, keys, b, h), queries.shape[3], finish)

    def _softmax(self, b: Value, h: Value, row: Value, begin: Value) -> None:
        """A row of logits becomes one of weights, where it lies."""
        w = self.writer

        def logits(i: Value, lanes: int) -> Value:
            return w.load(self.scratch, begin + i, lanes)

        def write(value: Value, i: Value, lanes: int) -> None:
            weights = self._value(self.task.attribute("weights"), value, (b, h, row, i), lanes)
            w.store(self.scratch, begin + i, weights, lanes)

        self.sweeps.over(self.scratch, begin, logits, logits, write)

    def _value(
        self, expression: Expr, accumulator: Value, index: tuple[Value, ...], lanes: int
    ) -> Value:
        """An expression of a value in registers, with operands at an index of the scores."""

        def operand(i: int) -> Value:
            if i == ACCUMULATOR.index:
                return accumulator
            return self.epilogue.fetch(i, index, lanes)

        return evaluate(expression, operand, self.epilogue.numbers, lanes, self.writer.hold)
