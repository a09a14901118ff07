"""States of recurrent layers as whole numbers of three bytes, which integer dot products multiply by weights in s8.

    row  =  2^(e - 22) * (65536 t + 256 m + l - 2^23)        2^e <= the largest magnitude < 2^(e + 1), digits in u8
    sum  =  2^(e - 22) * (65536 (t @ R - 128 * 1 @ R) + 256 (m @ R) + l @ R)

The three products are whole numbers and exact; what is rounded is a state, to a 2^23rd part of the largest at most. So
it is a product of real numbers like that of widened weights, with fewer roundings: three dot products in place of four
multiply-adds and the widening of four vectors. An infinity or a NaN among the states makes every sum NaN.
"""

from collections.abc import Iterator

import numpy as np
from budgetc_specs.capability import Capability

from budgetc_targets.contract import Array
from budgetc_targets.kernels.arithmetic import EXACT_FOR_WIDE_WEIGHTS, Arithmetic, dot_arithmetic
from budgetc_targets.kernels.tiles import COSTS
from budgetc_targets.task import Task

DIGITS = 3
UNIT = 4
"""States that one dot product multiplies."""

MOST_STACK = 16 * 1024
"""Bytes of digits that a thread keeps on its stack."""

WIDENING = 2.0
"""Issue slots of making f32 of a vector of s8, beside loading it."""


def digits_for(task: Task, capability: Capability) -> Arithmetic | None:
    """The dot product by which digits are faster than widened weights; None where there is none."""
    if task.attribute("weight_type") != "int8":
        return None
    name = EXACT_FOR_WIDE_WEIGHTS.get(capability.int8_dot, capability.int8_dot)
    found = dot_arithmetic(name)
    whole = found.unit == UNIT and found.lanes == capability.channel_block > 1
    if not whole or DIGITS * COSTS[found.kind].dot >= UNIT * (COSTS["float"].dot + WIDENING):
        return None
    return found


def plane(hidden: int) -> int:
    """Bytes of one digit of a row: whole units, the last of which meets weights of zero."""
    return -(-hidden // UNIT) * UNIT


def choices(
    chosen: Arithmetic, vectors: int, rows: int, registers: int
) -> Iterator[tuple[float, int]]:
    """Issue slots of a product, for a row of its matrix, and the vectors of a block that take them."""
    cost = COSTS[chosen.kind]
    for count in range(1, vectors + 1):
        sums = DIGITS * rows * count
        if sums + DIGITS * rows + 2 > registers or sums > cost.most:
            return
        slots = sums * cost.dot + DIGITS * rows * cost.per_pixel + count * cost.per_vector
        starved = max(1.0, cost.latency / sums)
        yield -(-vectors // count) * slots * starved / UNIT, count


def pack_digits(units: Array, blocks: int, width: int, chosen: Arithmetic) -> list[Array]:
    """Weights (directions, units, hidden) in s8 as [direction][block][quad][unit][4], and for each unit what is added.

    The top digit is 128 too high; a dot product that wants signed bytes takes that off, and off the others as well.
    """
    directions, count, hidden = units.shape
    padded = np.zeros((directions, blocks * width, plane(hidden)), np.int8)
    padded[:, :count, :hidden] = units
    split = padded.reshape(directions, blocks, width, -1, UNIT)
    sums = 128 * padded.astype(np.int32).sum(axis=2)
    added = sums if chosen.offset else -sums
    return [np.ascontiguousarray(split.transpose(0, 1, 3, 2, 4)), added.astype(np.int32)]
