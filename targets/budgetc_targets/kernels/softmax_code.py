"""The code of softmax kernels: from a row's maximum, so that nothing overflows; whole vectors where a row is dense."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from tvm import tirx

from budgetc_targets.contract import Kernel
from budgetc_targets.expression import ACCUMULATOR, Ref
from budgetc_targets.kernels.epilogue import Epilogue
from budgetc_targets.kernels.evaluate import LOWEST, evaluate
from budgetc_targets.kernels.functions import decay, log
from budgetc_targets.kernels.jobs import spread
from budgetc_targets.kernels.rows import Row
from budgetc_targets.kernels.writer import Value, Writer, literal, splat
from budgetc_targets.task import Task

Element = Callable[[Value, int], Value]
"""Gives elements of a row, by the first of them and how many lanes."""

Write = Callable[[Value, Value, int], None]

MOST_STACK = 64 * 1024
"""Bytes of a row that a thread of the pool may keep on its stack."""


def build(task: Task, lanes: int, name: str) -> Kernel:
    """The function for a task, with vectors of `lanes` elements where every tensor has them."""
    axis = task.attribute("axis")
    accesses = [task.output, *task.operands]
    dense = all(a.strides[axis] in (0, 1) for a in accesses) and task.output.strides[axis] == 1
    rows = _Rows(task, lanes if dense else 1, name)
    outer = [n for d, n in enumerate(task.output.shape) if d != axis]
    shared = task.parallel and 4 * rows.length <= MOST_STACK
    return spread(rows.writer, outer, rows.row, parallel=shared)


class Sweeps:
    """Three sweeps over a row of logits: maximum, exponentials and their sum, division.

    Args:
        writer: of the kernel.
        length: of a row.
        lanes: of a vector.
        log: whether the logarithm of the result is what is wanted.
    """

    def __init__(self, writer: Writer, length: int, lanes: int, *, log: bool = False) -> None:
        self.writer, self.log = writer, log
        self.row = Row(writer, length, lanes)

    def over(
        self, values: Value, begin: Value | int, logits: Element, again: Element, write: Write
    ) -> None:
        """The code for one row.

        Args:
            values: a buffer that holds as many numbers as a row.
            begin: where in it.
            logits: makes elements of the row, once each.
            again: gives them a second time.
            write: takes what becomes of them, by the first element and lanes.
        """
        w = self.writer
        largest = w.let("largest", self.row.reduce(LOWEST["float32"], logits, tirx.Max))

        def power(i: Value, lanes: int) -> Value:
            shifted = again(i, lanes) - splat(largest, lanes)
            if self.log:
                w.store(values, begin + i, shifted, lanes)
                return decay(w.load(values, begin + i, lanes), lanes, w.hold)
            w.store(values, begin + i, decay(shifted, lanes, w.hold), lanes)
            return w.load(values, begin + i, lanes)

        total = self.row.reduce(0.0, power, tirx.Add)
        one = literal(1.0, "float32")
        scale = w.let("scale", log(total, 1, w.hold) if self.log else tirx.Div(one, total))
        for i, lanes in self.row.pieces("k"):
            value, whole = w.load(values, begin + i, lanes), splat(scale, lanes)
            write(value - whole if self.log else value * whole, i, lanes)


class _Rows:
    """The rows of a task."""

    def __init__(self, task: Task, lanes: int, name: str) -> None:
        self.task = task
        self.writer = Writer(name, may_alias=task.may_alias)
        self.axis = task.attribute("axis")
        self.length = task.output.shape[self.axis]
        # Logits that lie in memory already are read there twice.
        self.plain = task.expression == Ref(0) and task.operands[0].dtype == "float32"
        # The logits are evaluated here; what the epilogue stores is the value it is given.
        self.epilogue = Epilogue(self.writer, replace(task, expression=ACCUMULATOR), self.axis)
        self.sweeps = Sweeps(self.writer, self.length, lanes, log=task.attribute("log"))
        self.values = self.writer.local("row", "float32", self.length)

    def row(self, *outer: Value) -> None:
        """One row, at an index of the other dimensions."""
        w, values, fetch = self.writer, self.values, self.epilogue.fetch

        def at(i: Value) -> Sequence[Value]:
            return [*outer[: self.axis], i, *outer[self.axis :]]

        def given(i: Value, lanes: int) -> Value:
            return fetch(0, at(i), lanes)

        def computed(i: Value, lanes: int) -> Value:
            index = at(i)
            value = evaluate(
                self.task.expression,
                lambda k: fetch(k, index, lanes),
                self.epilogue.numbers,
                lanes,
                w.hold,
            )
            w.store(values, i, value, lanes)
            return w.load(values, i, lanes)

        def again(i: Value, lanes: int) -> Value:
            return given(i, lanes) if self.plain else w.load(values, i, lanes)

        def write(value: Value, i: Value, lanes: int) -> None:
            self.epilogue.store_value(value, at(i), lanes)

        self.sweeps.over(values, 0, given if self.plain else computed, again, write)
