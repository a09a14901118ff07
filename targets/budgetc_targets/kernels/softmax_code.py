"""The code of softmax kernels: from a row's maximum, so that nothing overflows."""

from collections.abc import Sequence
from dataclasses import replace

from tvm import tirx

from budgetc_targets.contract import Kernel
from budgetc_targets.expression import ACCUMULATOR
from budgetc_targets.kernels.epilogue import Epilogue
from budgetc_targets.kernels.evaluate import LOWEST, evaluate
from budgetc_targets.kernels.jobs import spread
from budgetc_targets.kernels.writer import Value, Writer, literal
from budgetc_targets.task import Task


def build(task: Task, name: str) -> Kernel:
    """The function for a task."""
    rows = _Rows(task, name)
    outer = [n for d, n in enumerate(task.output.shape) if d != rows.axis]
    return spread(rows.writer, outer, rows.row, parallel=False)


class _Rows:
    """Three sweeps over a row: maximum, exponentials and their sum, division."""

    def __init__(self, task: Task, name: str) -> None:
        self.task, self.writer = task, Writer(name, may_alias=task.may_alias)
        self.axis, self.log = task.attribute("axis"), task.attribute("log")
        self.length = task.output.shape[self.axis]
        # The logits are evaluated here; what the epilogue stores is the value it is given.
        self.epilogue = Epilogue(self.writer, replace(task, expression=ACCUMULATOR), self.axis)
        self.state = self.writer.local("state", "float32", 2)
        self.values = self.writer.local("row", "float32", self.length)

    def row(self, *outer: Value) -> None:
        """One row, at an index of the other dimensions."""
        w, state, values = self.writer, self.state, self.values

        def at(i: Value) -> Sequence[Value]:
            return [*outer[: self.axis], i, *outer[self.axis :]]

        w.store(state, 0, literal(LOWEST["float32"], "float32"))
        w.store(state, 1, literal(0.0, "float32"))
        with w.loop("i", self.length) as i:
            index = at(i)
            logit = evaluate(self.task.expression, lambda k: self.epilogue.fetch(k, index, 1), 1)
            w.store(values, i, logit)
            w.store(state, 0, tirx.max(w.load(state, 0), w.load(values, i)))
        with w.loop("j", self.length) as j:
            shifted = w.load(values, j) - w.load(state, 0)
            power = w.let("power", tirx.exp(shifted))
            w.store(values, j, shifted if self.log else power)
            w.store(state, 1, w.load(state, 1) + power)
        if self.log:
            w.store(state, 1, tirx.log(w.load(state, 1)))
        with w.loop("k", self.length) as k:
            value, total = w.load(values, k), w.load(state, 1)
            result = value - total if self.log else tirx.Div(value, total)
            self.epilogue.store_value(result, at(k), 1)
