"""The code of elementwise kernels: loops in the output's memory order, the innermost vectorised.

An operand that strides along the innermost dimension is gathered lane by lane.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from budgetc_targets.contract import Kernel
from budgetc_targets.expression import Ref
from budgetc_targets.kernels.epilogue import Epilogue, powers
from budgetc_targets.kernels.jobs import nested, spread
from budgetc_targets.kernels.strides import collapse
from budgetc_targets.kernels.writer import Value, Writer, integer
from budgetc_targets.task import Task


def build(task: Task, vector_bytes: int, name: str) -> Kernel:
    """The function for a task. With `parallel`, threads share the outermost dimension."""
    output, operands = collapse(task.output, task.operands)
    flat = replace(task, output=output, operands=tuple(operands))
    copies = flat.expression == Ref(0) and operands[0].dtype == output.dtype
    size = np.dtype(output.dtype).itemsize if copies else 4
    lanes = max(1, vector_bytes // size) if output.strides[-1] == 1 else 1
    writer = Writer(name, may_alias=task.may_alias)
    epilogue = Epilogue(writer, flat, len(output.shape) - 1)

    def step(index: Sequence[Value], at: Value | int, count: int) -> None:
        whole = [*index, integer(at) if isinstance(at, int) else at]
        if copies:
            epilogue.copy(whole, count)
        else:
            epilogue.store_value(None, whole, count)

    def inner(*index: Value) -> None:
        whole, rest = divmod(output.shape[-1], lanes)
        if whole:
            with writer.loop("v", whole) as v:
                step(index, v * lanes, lanes)
        for first, part in powers(rest):
            step(index, whole * lanes + first, part)

    outer = output.shape[:-1]
    if not (task.parallel and outer):
        return spread(writer, outer, inner, parallel=False)

    def slab(first: Value) -> None:
        nested(writer, outer[1:], lambda *index: inner(first, *index))

    return spread(writer, outer[:1], slab, parallel=True)
