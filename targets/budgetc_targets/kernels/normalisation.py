"""Normalisation of rows to mean 0 and variance 1, f32: the core of LayerNorm.

    y[.., i] = f((x[.., i] - mean) / sqrt(var + epsilon)),  mean and variance over the last dimension

Scale and shift are part of the expression f. Source: Ba, Kiros and Hinton 2016.
"""

from typing import ClassVar

from budgetc_specs.capability import Capability

from budgetc_targets.contract import Kernel, Point
from budgetc_targets.kernels.single import SinglePoint
from budgetc_targets.task import Task


class Normalisation(SinglePoint):
    """The normalisation family. Attribute of its tasks: `epsilon`."""

    kind: ClassVar[str] = "normalisation"

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Real numbers, side by side in the last dimension."""
        del capability
        if task.inputs[0].dtype != "float32":
            return f"activations of type {task.inputs[0].dtype}"
        for access in (task.inputs[0], task.output):
            if access.shape[-1] > 1 and access.strides[-1] != 1:
                return "the normalised dimension is not the innermost one"
        return None

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code."""
        del point
        from budgetc_targets.kernels.normalisation_code import build

        return build(task, capability.channel_block, name)
