"""Matrix products of two activations, f32, batched: attention's scores and its weighted sums.

    y[b, h, m, n] = f(sum over k of a[b, h, m, k] * c[b, h, k, n])

A tile of rows x vectors of columns stays in registers over the whole reduction. Nothing is packed: columns of the
right-hand side lie side by side, elements of the left-hand side are broadcast from wherever they lie, so transposed
and strided views cost nothing there. Where the columns are no multiple of the lanes, the last vector overlaps the
one before it; fewer columns than lanes take smaller vectors.
"""

from collections.abc import Sequence
from typing import ClassVar

from budgetc_specs.capability import Capability

from budgetc_targets.contract import Kernel, Point
from budgetc_targets.kernels.single import SinglePoint
from budgetc_targets.kernels.tiles import COSTS, rank_tiles
from budgetc_targets.task import Task


class MatMul(SinglePoint):
    """The family of products of activations. Inputs: a (b, h, m, k), c (b, h, k, n), a stride of 0 broadcasts."""

    kind: ClassVar[str] = "matmul"

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Real numbers with the columns side by side, in the right-hand side and in the result."""
        del capability
        _, right = task.inputs
        if any(a.dtype != "float32" for a in task.inputs):
            return "activations that are not float32"
        for access in (right, task.output):
            if access.shape[3] > 1 and access.strides[3] != 1:
                return "the columns are not the innermost dimension"
        if task.may_alias:
            return "results that are computed twice cannot be written over what they are made from"
        return None

    def space(self, task: Task, capability: Capability) -> Sequence[Point]:
        """Register tiles, ranked by the issue-slot model."""
        _, _, rows, columns = task.output.shape
        blocks = -(-columns // capability.channel_block)
        return rank_tiles(rows, blocks, capability.vector_registers, COSTS["float"])

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code at one point of the space."""
        from budgetc_targets.kernels.matmul_code import build

        return build(task, capability.channel_block, point, name)
