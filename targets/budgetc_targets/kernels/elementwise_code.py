"""The code of elementwise kernels: loops in the output's memory order, the innermost vectorised.

Where the innermost dimension is short and operands lie along the one before it, as from planes to pixels or in a
channel shuffle, vectors go along that one and are interleaved. Where both are long, tiles are transposed in registers
(tiled_code.py). Any other operand that strides along the innermost dimension is gathered lane by lane.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from tvm import tirx

from budgetc_targets.contract import Kernel
from budgetc_targets.expression import Ref
from budgetc_targets.kernels import tiled_code
from budgetc_targets.kernels.epilogue import Epilogue, powers
from budgetc_targets.kernels.jobs import nested, spread
from budgetc_targets.kernels.strides import collapse
from budgetc_targets.kernels.writer import Value, Writer, integer, stored_type
from budgetc_targets.task import Task

MOST_TURNS = 8
"""Vectors to interleave at most: they are all in registers together."""


def build(task: Task, vector_bytes: int, name: str) -> Kernel:
    """The function for a task. With `parallel`, threads share the outermost dimension or the only one."""
    output, operands = collapse(task.output, task.operands)
    flat = replace(task, output=output, operands=tuple(operands))
    copies = flat.expression == Ref(0) and operands[0].dtype == output.dtype
    size = np.dtype(stored_type(output.dtype)).itemsize if copies else 4
    lanes = max(1, vector_bytes // size) if output.strides[-1] == 1 else 1
    writer = Writer(name, may_alias=task.may_alias)
    side = min(lanes, tiled_code.LARGEST_SIDE)
    turned = tiled_code.turned_dimension(flat, side)
    if turned is not None:
        return tiled_code.build(flat, writer, turned, side, copies=copies)
    depth = 2 if _interleaves(flat) else 1
    axis = len(output.shape) - depth
    epilogue = Epilogue(writer, flat, axis)

    def value(index: Sequence[Value], count: int) -> Value:
        return epilogue.copied(index, count) if copies else epilogue.value(None, index, count)

    def step(index: Sequence[Value], at: Value, count: int) -> None:
        if depth == 1:
            epilogue.write(value([*index, at], count), [*index, at], count)
            return
        turns = output.shape[-1]
        taken = [writer.hold(value([*index, at, integer(turn)], count)) for turn in range(turns)]
        order = [lane % turns * count + lane // turns for lane in range(turns * count)]
        for piece in range(turns):
            mixed = tirx.Shuffle(taken, order[piece * count : (piece + 1) * count])
            # An index beyond the dimension: its elements lie behind each other.
            epilogue.write(mixed, [*index, at, integer(piece * count)], count)

    whole, rest = divmod(output.shape[axis], lanes)

    def tail(index: Sequence[Value]) -> None:
        for first, part in powers(rest):
            step(index, integer(whole * lanes + first), part)

    def inner(*index: Value) -> None:
        if whole:
            with writer.loop("v", whole) as v:
                step(index, v * lanes, lanes)
        tail(index)

    def vector(v: Value) -> None:
        step((), v * lanes, lanes)
        if rest:
            with writer.when(tirx.EQ(v, whole - 1)):
                tail(())

    outer = output.shape[:axis]
    if task.parallel and not outer and whole > 1:
        return spread(writer, (whole,), vector, parallel=True)
    if not (task.parallel and outer):
        return spread(writer, outer, inner, parallel=False)

    def slab(first: Value) -> None:
        nested(writer, outer[1:], lambda *index: inner(first, *index))

    return spread(writer, outer[:1], slab, parallel=True)


def _interleaves(task: Task) -> bool:
    """Whether elements that lie side by side come from a few vectors in turns."""
    shape, strides = task.output.shape, task.output.strides
    if len(shape) < 2 or not 2 <= shape[-1] <= MOST_TURNS or strides[-1] != 1:
        return False
    along = all(a.strides[-2] in (0, 1) for a in task.operands)
    gathered = any(a.strides[-1] not in (0, 1) for a in task.operands)
    return strides[-2] == shape[-1] and along and gathered and not task.may_alias
