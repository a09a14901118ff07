"""Depthwise convolution of bytes on cores without vectors that split a word into 16-bit halves: four channels a word.

    y[n, c, h, w] = f(bias[c] + sum over a, b of x[n, c, h*sh + a*dh, w*sw + b*dw] * W[c, a, b])

Of a word of four channels two instructions make two words of two 16-bit halves, and a multiply-add takes either half of
its operands for nothing. Activations of a row of taps are split once for all pixels of a tile.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import prod
from typing import ClassVar

import numpy as np
from budgetc_specs.capability import Capability

from budgetc_targets.contract import Array, Kernel, Opened, Point
from budgetc_targets.kernels import quads
from budgetc_targets.kernels.quads import Quads
from budgetc_targets.kernels.tiles import knob, point
from budgetc_targets.task import Task

WORD = 4
"""Channels in a word."""

_SMALL = 32 * 1024
"""Multiplications of a layer that code of its own would not pay for."""

_CODE = 1300
"""Bytes of code for the very sizes of a layer, measured on an M4."""

_OPEN, _OPEN_STRIDE = 1.4, 0.5
"""Instructions that code for any size takes more for each multiplication, and by the stride; measured on an M4."""

_TILE = {1: 1.0, 2: 1.7}
"""Instructions of a tile of so many pixels, measured, as multiples of those of one pixel."""


class DepthwiseWords:
    """The depthwise family of Arm's DSP extension."""

    kind: ClassVar[str] = "depthwise"

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Activations must be NHWC bytes and fill a word at least."""
        x, y = task.inputs[0], task.output
        if capability.int8_dot != "smlad32":
            return "the core has no products of halves of words"
        if x.dtype != "uint8":
            return f"activations of type {x.dtype}"
        if y.shape[1] < WORD:
            return "fewer channels than a word holds"
        if x.strides[1] != 1 or y.strides[1] != 1:
            return "the channel is not the innermost dimension"
        if task.may_alias:
            return "results that are computed twice cannot be written over what they are made from"
        return None

    def space(self, task: Task, capability: Capability) -> Sequence[Point]:
        """Pixels of a tile: two, or one where the last tile of a row would do much again; more spill.

        A small layer takes what most take, so that it can share their code.
        """
        del capability
        width = task.output.shape[3]
        small = prod(task.output.shape) * prod(task.attribute("kernel")) < _SMALL

        def cost(pixels: int) -> float:
            return -pixels if small else -(-width // pixels) * _TILE[pixels]

        return [point(pixels=p) for p in sorted(_TILE, key=cost) if p <= width]

    def pack(
        self, task: Task, capability: Capability, point: Point, constants: Mapping[str, Array]
    ) -> Sequence[Array]:
        """Weights (channels, 1, kh, kw) as [word][kh][kw][4], bias (channels,) as [word][4]; the last word overlaps."""
        del task, capability, point
        weight, bias = np.asarray(constants["weight"]), np.asarray(constants["bias"])
        channels = len(weight)
        starts = [min(at, channels - WORD) for at in range(0, channels, WORD)]
        taken = np.add.outer(starts, np.arange(WORD))
        packed = weight[:, 0][taken].transpose(0, 2, 3, 1)
        return [np.ascontiguousarray(packed), np.ascontiguousarray(bias[taken])]

    def opened(self, task: Task, capability: Capability, point: Point) -> Opened | None:
        """Sizes are of no account to a tile."""
        del capability
        pixels = knob(point, "pixels")
        if task.output.shape[1] % WORD or task.output.shape[3] < pixels:
            return None
        found = quads.opened(task, words_of(task), pixels, rows=1)
        cost = _OPEN + _OPEN_STRIDE * task.attribute("stride")[1]
        return replace(found, cost=cost, code=_CODE) if found else None

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code."""
        del capability
        from budgetc_targets.kernels.depthwise_words_code import build

        return build(task, point, name)


def words_of(task: Task) -> Quads:
    """The task's words as blocks of rows that are done one by one."""
    _, channels, _, width = task.output.shape
    return Quads(WORD, repeat=1, blocks=-(-channels // WORD), units=width, pair=False)
