"""Softmax along one axis; what it reads may be an expression of the operands."""

from typing import ClassVar

from budgetc_specs.capability import Capability

from budgetc_targets.contract import Kernel, Point
from budgetc_targets.kernels.single import SinglePoint
from budgetc_targets.task import Task


class Softmax(SinglePoint):
    """The softmax family. Attributes of its tasks: `axis`; `log`. The expression is the logits."""

    kind: ClassVar[str] = "softmax"

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code."""
        del point
        from budgetc_targets.kernels.softmax_code import build

        return build(task, capability.channel_block, name)
