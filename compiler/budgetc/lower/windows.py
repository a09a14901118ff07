"""Sliding windows of convolutions and poolings: strides, dilations, padding however it is given."""

from collections.abc import Sequence
from dataclasses import dataclass

from budgetc.lower.graph import Operation


@dataclass(frozen=True)
class Window:
    """Per spatial dimension; `pads` reach as far as the last window does and no further."""

    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]


def window_of(op: Operation, x: Sequence[int], y: Sequence[int], kernel: Sequence[int]) -> Window:
    """The window of an operation with input and output shapes (n, c, ...)."""
    rank = len(kernel)
    stride = tuple(op.attributes.get("strides", (1,) * rank))
    dilation = tuple(op.attributes.get("dilations", (1,) * rank))
    given = tuple(op.attributes.get("pads", (0,) * (2 * rank)))
    mode = op.attributes.get("auto_pad", "NOTSET")
    pads = []
    for d in range(rank):
        reach = (y[2 + d] - 1) * stride[d] + (kernel[d] - 1) * dilation[d] + 1
        total = max(0, reach - x[2 + d])
        if mode == "SAME_UPPER":
            low = total // 2
        elif mode == "SAME_LOWER":
            low = total - total // 2
        else:
            low = 0 if mode == "VALID" else given[d]
        pads.append((low, max(0, reach - x[2 + d] - low)))
    return Window(stride, dilation, tuple(pads))
