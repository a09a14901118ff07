"""Depthwise convolution, f32 and u8 x s8, register-blocked over pixels and channels; no im2col.

    y[n, c, h, w] = f(bias[c] + sum over a, b of x[n, c, h*sh + a*dh, w*sw + b*dw] * W[c, a, b])

Taps are taken in groups, as many as one instruction sums into a lane: four rows of a column for a
byte dot product, two neighbours for a sum of 16-bit pairs, one for a widening product. The
activations of a group are brought into lane order once for all the output pixels of a tile that see
them. Floats go by tiles of rows and pixels (`depthwise_floats`), which read an element once for all
sums of the tile.

Bytes of whole registers, or rows of few channels that fill them together, go by quads of rows (see
`kernels.quads`), which interleave an input once for two rows of the output.

Where the channels are no multiple of the lanes, or the row no multiple of the tile, the last vector
or tile overlaps the one before it: its results are computed twice, equally.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from budgetc_specs.capability import Capability

from budgetc_targets.contract import Array, Kernel, Opened, Point
from budgetc_targets.kernels import quads
from budgetc_targets.kernels.arithmetic import (
    Arithmetic,
    balanced_bias,
    halved,
    narrowed,
    per_channel,
)
from budgetc_targets.kernels.depthwise_floats import float_space
from budgetc_targets.kernels.quads import Quads, pack_bias, pack_weights, quad_space, quads_of
from budgetc_targets.kernels.taps import tap_groups, taps_per_group
from budgetc_targets.kernels.tiles import knob, point
from budgetc_targets.task import Task


class Depthwise:
    """The depthwise family: as many filters as channels, one channel each."""

    kind: ClassVar[str] = "depthwise"

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Activations must be NHWC and fill a vector at least."""
        x, y = task.inputs[0], task.output
        if x.dtype not in ("uint8", "float32"):
            return f"activations of type {x.dtype}"
        lanes = _arithmetic(task, capability).lanes
        if x.shape[1] < lanes:
            return "fewer channels than lanes"
        if x.strides[1] != 1 or y.strides[1] != 1:
            return "the channel is not the innermost dimension"
        if task.may_alias and x.shape[1] % lanes:
            return "results that are computed twice cannot be written over what they are made from"
        return None

    def space(self, task: Task, capability: Capability) -> Sequence[Point]:
        """How many pixels of a row share their activations, by the work and the vectors loaded."""
        if not _arithmetic(task, capability).integer:
            return float_space(task, capability)
        found = _quads(task, capability)
        if found:
            chosen, rows = found
            return [*quad_space(task, rows, chosen), *self._tap_space(task, capability)[:1]]
        return self._tap_space(task, capability)

    def _tap_space(self, task: Task, capability: Capability) -> list[Point]:
        width = task.output.shape[3]
        kw: int = task.attribute("kernel")[1]
        stride: int = task.attribute("stride")[1]
        most = max(1, min(width, 8, capability.vector_registers - 6 - kw))

        def cost(pixels: int) -> int:
            shared = (pixels - 1) * stride + kw
            return -(-width // pixels) * (2 * pixels + shared + 1)

        choices = sorted(range(1, most + 1), key=lambda p: (cost(p), p))
        return [point(pixels=p) for p in choices[:4]]

    def pack(
        self, task: Task, capability: Capability, point: Point, constants: Mapping[str, Array]
    ) -> Sequence[Array]:
        """Weights (channels, 1, kh, kw) as [group][channel][tap of the group]; bias (channels,)."""
        weight, bias = np.asarray(constants["weight"]), np.asarray(constants["bias"])
        if _by_quads(point):
            found = _quads(task, capability)
            assert found, "BUG: a point of quads for a task without"
            chosen, rows = found
            balanced = balanced_bias(weight, bias, chosen.offset)
            packed_weight = pack_weights(weight, rows, knob(point, "rows"))
            return [np.ascontiguousarray(packed_weight), pack_bias(balanced, rows)]
        chosen = _arithmetic(task, capability)
        unit = taps_per_group(chosen)
        groups = tap_groups(task.attribute("kernel"), unit)
        packed = np.zeros((len(groups), len(weight), unit), weight.dtype)
        for g, group in enumerate(groups):
            for t, tap in enumerate(group):
                if tap:
                    packed[g, :, t] = weight[:, 0, *tap]
        if not chosen.integer:
            return [packed, bias]
        return [packed, balanced_bias(weight, bias, chosen.offset if unit == 4 else 0)]

    def opened(self, task: Task, capability: Capability, point: Point) -> Opened | None:
        """By quads of rows the sizes are of no account to the inner loop."""
        found = _quads(task, capability)
        if not found or not _by_quads(point):
            return None
        made = quads.opened(task, found[1], quads.pixels_of(point), knob(point, "rows"))
        if made:
            again = _quads(made.task, capability)
            same = again and again[1].block == found[1].block
            assert same, "BUG: code for any size has other blocks than the layer that it is for"
        return made

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code at one point of the space."""
        from budgetc_targets.kernels import depthwise_code, depthwise_floats_code, quads_code

        chosen = _arithmetic(task, capability)
        if not chosen.integer:
            return depthwise_floats_code.build(task, chosen.lanes, point, name)
        if _by_quads(point):
            found = _quads(task, capability)
            assert found, "BUG: a point of quads for a task without"
            return quads_code.build(task, *found, point, name)
        return depthwise_code.build(task, chosen, point, name)


def _quads(task: Task, capability: Capability) -> tuple[Arithmetic, Quads] | None:
    """The widest vectors by which the task is one of quads; with a quarter of the widest, taps are faster."""
    widest = per_channel(task, capability)
    chosen: Arithmetic | None = widest
    while chosen and 4 * chosen.lanes > widest.lanes:
        found = quads_of(task, chosen)
        if found:
            return chosen, found
        chosen = halved(chosen)
    return None


def _by_quads(chosen: Point) -> bool:
    return "rows" in dict(chosen)


def _arithmetic(task: Task, capability: Capability) -> Arithmetic:
    """What a kernel of single taps computes with: few channels want a narrower vector."""
    return narrowed(per_channel(task, capability), task.output.shape[1])
