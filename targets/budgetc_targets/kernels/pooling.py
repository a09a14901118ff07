"""Max, average and global pooling over NHWC windows, on u8, s8 and f32.

The accumulator handed to the expression is the maximum, or the sum over the window; an average's
division is part of the expression where the count is the same everywhere, and of the kernel (mode
`mean`) where padding makes it differ.
"""

from typing import ClassVar

from budgetc_specs.capability import Capability

from budgetc_targets.contract import Kernel, Point
from budgetc_targets.kernels.single import SinglePoint
from budgetc_targets.task import Task

TYPES = ("uint8", "int8", "float32")
"""Elements that are pooled."""


class Pooling(SinglePoint):
    """The pooling family.

    Attributes of its tasks: `mode` max, sum or mean; `kernel`, `stride`, `dilation`, and `pads`
    (top, left, bottom, right).
    """

    kind: ClassVar[str] = "pooling"

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Channels innermost in both tensors."""
        del capability
        x, y = task.inputs[0], task.output
        if x.dtype not in TYPES:
            return f"elements of type {x.dtype}"
        if x.shape[1] > 1 and (x.strides[1] != 1 or y.strides[1] != 1):
            return "the channel is not the innermost dimension"
        return None

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code."""
        del point
        from budgetc_targets.kernels.pooling_code import build

        return build(task, capability, name)
