"""Reductions over any axes: sum, mean, maximum, minimum and product of an expression.

Operands are in the index space of the unreduced tensor (attribute `full`); the output keeps reduced
axes as extent 1.
"""

from typing import ClassVar

from budgetc_specs.capability import Capability

from budgetc_targets.contract import Kernel, Point
from budgetc_targets.kernels.single import SinglePoint
from budgetc_targets.task import Task

MODES = ("sum", "mean", "max", "min", "prod")


class Reduction(SinglePoint):
    """The reduction family. Attributes of its tasks: `mode`, `axes`, `full` (the unreduced shape)."""

    kind: ClassVar[str] = "reduction"

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code."""
        del point
        from budgetc_targets.kernels.reduction_code import build

        return build(task, capability.channel_block, name)
