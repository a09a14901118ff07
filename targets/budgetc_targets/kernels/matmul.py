"""Matrix products of two activations, f32, batched: attention's scores and its weighted sums.

    y[b, h, m, n] = f(sum over k of a[b, h, m, k] * c[b, h, k, n])

A tile of rows x vectors of columns stays in registers over the whole reduction. Nothing is packed: columns of the
right-hand side lie side by side, elements of the left-hand side are broadcast from wherever they lie, so transposed
and strided views cost nothing there. All columns of some rows are written before the next rows, so that a long result
goes through the caches once. Where the columns are no multiple of the lanes, the last vector overlaps the one before
it; fewer columns than lanes take smaller vectors.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from budgetc_specs.capability import Capability

from budgetc_targets.contract import Kernel, Point
from budgetc_targets.kernels.single import SinglePoint
from budgetc_targets.kernels.tiles import COSTS, TileCost, rank_tiles
from budgetc_targets.task import Access, Task

_FAR_VECTOR = 0.6
"""Issue slots of loading a vector where the right-hand side does not fit the level 1 cache."""


class MatMul(SinglePoint):
    """The family of products of activations. Inputs: a (b, h, m, k), c (b, h, k, n), a stride of 0 broadcasts."""

    kind: ClassVar[str] = "matmul"

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Real numbers with the columns side by side, in the right-hand side and in the result."""
        del capability
        return unsuited(task.inputs, task)

    def space(self, task: Task, capability: Capability) -> Sequence[Point]:
        """Register tiles, ranked by the issue-slot model."""
        _, _, rows, columns = task.output.shape
        blocks = -(-columns // capability.channel_block)
        cost = cost_of_product(task.inputs[1].shape[2], columns, capability)
        return rank_tiles(rows, blocks, capability.vector_registers, cost)

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code at one point of the space."""
        from budgetc_targets.kernels.matmul_code import build

        return build(task, capability.channel_block, point, name)


def unsuited(inputs: Sequence[Access], task: Task) -> str | None:
    """Why the code of such a product cannot read these two matrices, or write the task's output; None if it can."""
    if any(a.dtype != "float32" for a in inputs):
        return "activations that are not float32"
    for access in (inputs[1], task.output):
        if access.shape[3] > 1 and access.strides[3] != 1:
            return "the columns are not the innermost dimension"
    if task.may_alias:
        return "results that are computed twice cannot be written over what they are made from"
    return None


def cost_of_product(depth: int, columns: int, capability: Capability) -> TileCost:
    """What a step of the reduction takes, by the size of the right-hand side."""
    cost = COSTS["float"]
    if 4 * depth * columns > capability.l1_bytes:
        return replace(cost, per_vector=_FAR_VECTOR)
    return cost
