"""Recurrent layers, f32: one call goes through all steps of a sequence, in one direction or both.

    sum[g] = row[source] @ R[g]          a vector by a matrix, at every step and stage
    row[i] = f(rows, sum, given, columns)

What a step is, the task's cells say (`recurrence.py`): LSTM, GRU and RNN are three of them. What the input gives to the
gates was computed before, for all steps in one product. The units of a stage's gates lie side by side; sums of a block
of so many `vectors` of them stay in registers over the whole product. Weights are packed in the order in which they are
read, [direction][block][k][vector][lane], the last block padded with zeros: at batch 1 a step takes as long as its
weights take from the cache. Weights in s8 meet states as digits of a byte where a dot product makes that faster
(`recurrent_digits`), else they are widened as they are read; their scales are columns of the cell. Sequences of a batch
share the weights that are loaded, `rows` at a time. Code does not grow with the steps.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from budgetc_specs.capability import Capability

from budgetc_targets.contract import Array, Kernel, Point
from budgetc_targets.kernels import recurrent_digits
from budgetc_targets.kernels.arithmetic import Arithmetic
from budgetc_targets.kernels.recurrent_digits import (
    DIGITS,
    MOST_STACK,
    WIDENING,
    digits_for,
    pack_digits,
)
from budgetc_targets.kernels.tiles import COSTS, knob, point
from budgetc_targets.recurrence import Stage
from budgetc_targets.task import Task

MOST_ROWS = 4
MOST_POINTS = 6


@dataclass(frozen=True)
class Blocks:
    """How a stage's sums are formed: blocks of so many vectors, in so many independent chains of additions.

    With `digits` they are sums of bytes, by that dot product.
    """

    count: int
    vectors: int
    chains: int
    digits: Arithmetic | None = None


class Recurrent:
    """The family of recurrent layers.

    Inputs of its tasks: what the input gives to the gates (steps, batch, directions, gates, hidden), the initial
    values (directions, batch, hidden) of the rows in `initial`, the columns (directions, hidden), then the lengths of
    the sequences (batch) as s32 with `lengths`, and with `computed` the weights (directions, gates, hidden, hidden),
    which are a constant of the family otherwise. The output is (slots, directions, batch, hidden): with `sequence` the
    result of every step, then the last values of the rows in `finals`. Attributes besides: `cells`, one for each
    direction, alike but for their expressions; `reverse`, whether a single direction goes backwards; `weight_type`.
    """

    kind: ClassVar[str] = "recurrent"

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Real numbers, hidden units side by side."""
        del capability
        given, *others = task.inputs
        if any(a.dtype not in ("float32", "int32") for a in task.inputs):
            return f"activations of type {given.dtype}"
        unordered = task.attribute("lengths") + task.attribute("computed")
        for access in (given, task.output, *others[: len(others) - unordered]):
            if access.shape[-1] > 1 and access.strides[-1] != 1:
                return "the hidden units are not the innermost dimension"
        return None

    def space(self, task: Task, capability: Capability) -> Sequence[Point]:
        """Rows and vectors, ranked by the issue slots that one step takes."""
        batch = task.output.shape[2]
        most = 1 if task.attribute("lengths") else min(batch, MOST_ROWS)
        ranked: list[tuple[float, Point]] = []
        stages = task.attribute("cells")[0].stages
        for rows in range(1, most + 1):
            fitting = [list(_choices(task, stage, rows, capability)) for stage in stages]
            if not all(fitting):
                break  # so many sequences side by side do not fit the registers
            price, knobs = 0.0, {"rows": rows}
            for number, choices in enumerate(fitting):
                cheapest, vectors = min(choices)
                price += -(-batch // rows) * cheapest
                knobs[f"vectors{number}"] = vectors
            ranked.append((price, point(**knobs)))
        ranked.sort(key=lambda r: r[0])
        return [found for _, found in ranked[:MOST_POINTS]]

    def pack(
        self, task: Task, capability: Capability, point: Point, constants: Mapping[str, Array]
    ) -> Sequence[Array]:
        """Weights (directions, gates, hidden, hidden) in reading order, an array for each stage."""
        if task.attribute("computed"):
            return []
        weight = np.asarray(constants["weight"])
        directions, _, hidden, _ = weight.shape
        packed = []
        for number, stage in enumerate(task.attribute("cells")[0].stages):
            blocks = blocks_of(task, capability, point, number)
            width = blocks.vectors * capability.channel_block
            units = weight[:, list(stage.gates)].reshape(directions, -1, hidden)
            if blocks.digits:
                packed += pack_digits(units, blocks.count, width, blocks.digits)
                continue
            padded = np.zeros((directions, blocks.count * width, hidden), weight.dtype)
            padded[:, : units.shape[1]] = units
            split = padded.reshape(directions, blocks.count, width, hidden)
            packed.append(np.ascontiguousarray(split.transpose(0, 1, 3, 2)))
        return packed

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code at one point of the space."""
        from budgetc_targets.kernels.recurrent_code import build

        stages = range(len(task.attribute("cells")[0].stages))
        blocks = [blocks_of(task, capability, point, number) for number in stages]
        return build(task, capability.channel_block, knob(point, "rows"), blocks, name)


def blocks_of(task: Task, capability: Capability, point: Point, number: int) -> Blocks:
    """The blocks of a stage at a point of the space."""
    hidden, vectors = task.output.shape[-1], knob(point, f"vectors{number}")
    units = len(task.attribute("cells")[0].stages[number].gates) * hidden
    count = -(-units // (vectors * capability.channel_block))
    digits = _digits(task, capability, knob(point, "rows"))
    if digits:
        return Blocks(count, vectors, 1, digits)
    chains = _chains(knob(point, "rows") * vectors, hidden, capability.vector_registers)
    return Blocks(count, vectors, chains)


def _digits(task: Task, capability: Capability, rows: int) -> Arithmetic | None:
    """The dot product of bytes that a task's sums are formed by, so many sequences at a time."""
    kept = DIGITS * rows * recurrent_digits.plane(task.output.shape[-1])
    return digits_for(task, capability) if kept <= MOST_STACK else None


def _chains(sums: int, hidden: int, registers: int) -> int:
    """Sums are split until there are enough of them to hide the latency of an addition."""
    chains = 1
    while (
        sums * chains < COSTS["float"].latency
        and hidden % (2 * chains) == 0
        and 2 * chains * (sums + 1) + 2 <= registers
    ):
        chains *= 2
    return chains


def _choices(
    task: Task, stage: Stage, rows: int, capability: Capability
) -> Iterator[tuple[float, int]]:
    """Issue slots of a stage's product, for a row of its matrix, and the vectors of a block that take them."""
    hidden, cost = task.output.shape[-1], COSTS["float"]
    widening = WIDENING if task.attribute("weight_type") == "int8" else 0.0
    whole = -(-len(stage.gates) * hidden // capability.channel_block)
    digits = _digits(task, capability, rows)
    if digits:
        yield from recurrent_digits.choices(digits, whole, rows, capability.vector_registers)
        return
    for vectors in range(1, whole + 1):
        sums = rows * vectors
        if sums + rows + 2 > capability.vector_registers or sums > cost.most:
            return
        slots = sums * cost.dot + rows * cost.per_pixel + vectors * (cost.per_vector + widening)
        chains = _chains(sums, hidden, capability.vector_registers)
        starved = max(1.0, cost.latency / (sums * chains))
        yield -(-whole // vectors) * slots * starved, vectors
