"""Elementwise kernels with broadcasting, over any strides: arithmetic, activations, copies.

A copy into other strides is a transpose; one that converts types is a (de)quantisation.
"""

from typing import ClassVar

from budgetc_specs.capability import Capability

from budgetc_targets.contract import Kernel, Point
from budgetc_targets.kernels.single import SinglePoint
from budgetc_targets.task import Task


class Elementwise(SinglePoint):
    """The elementwise family: no inputs of its own, everything is an operand of the expression."""

    kind: ClassVar[str] = "elementwise"

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Takes everything."""
        del task, capability
        return None

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code."""
        del point
        from budgetc_targets.kernels.elementwise_code import build

        return build(task, capability.vector_bytes, name)
