"""The code of softmax kernels: from a row's maximum, so that nothing overflows; whole vectors where a row is dense."""

from collections.abc import Sequence
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


class _Rows:
    """Three sweeps over a row: maximum, exponentials and their sum, division."""

    def __init__(self, task: Task, lanes: int, name: str) -> None:
        self.task = task
        self.writer = Writer(name, may_alias=task.may_alias)
        self.axis, self.log = task.attribute("axis"), task.attribute("log")
        self.length = task.output.shape[self.axis]
        # Logits that lie in memory already are read there twice.
        self.plain = task.expression == Ref(0) and task.operands[0].dtype == "float32"
        # The logits are evaluated here; what the epilogue stores is the value it is given.
        self.epilogue = Epilogue(self.writer, replace(task, expression=ACCUMULATOR), self.axis)
        self.sweep = Row(self.writer, self.length, lanes)
        self.values = self.writer.local("row", "float32", self.length)

    def row(self, *outer: Value) -> None:
        """One row, at an index of the other dimensions."""
        w, values = self.writer, self.values

        def at(i: Value) -> Sequence[Value]:
            return [*outer[: self.axis], i, *outer[self.axis :]]

        fetch, expression = self.epilogue.fetch, self.task.expression

        def logits(i: Value, lanes: int) -> Value:
            index = at(i)
            if self.plain:
                return fetch(0, index, lanes)
            value = evaluate(
                expression, lambda k: fetch(k, index, lanes), self.epilogue.numbers, lanes, w.hold
            )
            w.store(values, i, value, lanes)
            return w.load(values, i, lanes)

        largest = w.let("largest", self.sweep.reduce(LOWEST["float32"], logits, tirx.Max))

        def power(i: Value, lanes: int) -> Value:
            logit = fetch(0, at(i), lanes) if self.plain else w.load(values, i, lanes)
            shifted = logit - splat(largest, lanes)
            if self.log:
                w.store(values, i, shifted, lanes)
                return decay(w.load(values, i, lanes), lanes, w.hold)
            w.store(values, i, decay(shifted, lanes, w.hold), lanes)
            return w.load(values, i, lanes)

        total = self.sweep.reduce(0.0, power, tirx.Add)
        one = literal(1.0, "float32")
        scale = w.let("scale", log(total, 1, w.hold) if self.log else tirx.Div(one, total))
        for i, lanes in self.sweep.pieces("k"):
            value, whole = w.load(values, i, lanes), splat(scale, lanes)
            result = value - whole if self.log else value * whole
            self.epilogue.store_value(result, at(i), lanes)
