"""Direct convolution in registers, f32, bfloat16 and u8 x s8, NHWC: any kernel, stride, dilation and groups.

    y[n, o, h, w] = f(bias[o] + sum over i, a, b of x[n, i, h*sh + a*dh, w*sw + b*dw] * W[o, i, a, b])

A tile of `pixels` x `vectors` accumulators stays in registers over the whole reduction; weights are
packed into the order in which they are read, [block][kh][step][kw][vector][lane(, unit)]. Integer
kernels take as many channels a step as their dot product sums, mostly four, those of bfloat16 two.
Where the channel count is no multiple of that, the kw * channels of a row of taps, which lie side by
side in memory, are taken as one run, so first layers of one or three channels waste little; the
weights beyond a run's end are zero. Rows of many taps, as those of a spectrogram, are runs as well.

A row-major matrix product x[m, k] @ W[k, o] is the same kernel over one row of m pixels with k
channels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
from budgetc_specs.capability import Capability

from budgetc_targets.contract import Array, Kernel, Opened, Point
from budgetc_targets.expression import slots
from budgetc_targets.kernels.arithmetic import (
    Arithmetic,
    arithmetic,
    balanced_bias,
    fitted,
    no_products,
)
from budgetc_targets.kernels.convolution_shape import opened, shape_of
from budgetc_targets.kernels.tiles import COSTS, knob, rank_tiles
from budgetc_targets.task import Task

_CODE = 450
"""Bytes of code for the very sizes of a layer in single lanes, measured on an M4."""

_OPEN = 18.0
"""Instructions that code for any size takes more for each sum in a single lane; measured on an M4."""


class Convolution:
    """The convolution family."""

    kind: ClassVar[str] = "convolution"

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Activations must be NHWC with the channel innermost."""
        x, y = task.inputs[0], task.output
        reason = no_products(x.dtype, capability)
        if reason:
            return reason
        for access in (x, y):
            if access.shape[1] > 1 and access.strides[1] != 1:
                return "the channel is not the innermost dimension"
        return None

    def space(self, task: Task, capability: Capability) -> Sequence[Point]:
        """Register tiles, ranked by the issue-slot model."""
        chosen = _arithmetic(task, capability)
        shape = shape_of(task, chosen.unit)
        blocks = -(-shape.filters // chosen.lanes)
        cost = COSTS[chosen.kind]
        steps = shape.kh * shape.kw * shape.steps
        ending = slots(task.expression) / steps
        return rank_tiles(shape.width, blocks, capability.vector_registers, cost, ending=ending)

    def pack(
        self, task: Task, capability: Capability, point: Point, constants: Mapping[str, Array]
    ) -> Sequence[Array]:
        """Weights (filters, channels, kh, kw) in reading order, bias (filters,) in whole vectors."""
        chosen, vectors = _arithmetic(task, capability), knob(point, "vectors")
        shape = shape_of(task, chosen.unit)
        weight, bias = np.asarray(constants["weight"]), np.asarray(constants["bias"])
        if chosen.integer:
            bias = balanced_bias(weight, bias, chosen.offset)
        lanes = chosen.lanes
        filters = -(-shape.filters // lanes) * lanes
        if shape.run:  # (o, i, kh, kw) -> (o, kw * i, kh, 1): the order of a row in memory
            weight = weight.transpose(0, 3, 1, 2).reshape(len(weight), -1, shape.kh, 1)
        grouped = weight.reshape(shape.groups, shape.filters, shape.channels, shape.kh, shape.kw)
        padded = np.zeros(
            (shape.groups, filters, shape.steps * shape.unit, shape.kh, shape.kw), weight.dtype
        )
        padded[:, : shape.filters, : shape.channels] = grouped
        blocks = filters // (vectors * lanes)
        split = (shape.groups, blocks, vectors, lanes, shape.steps, shape.unit, shape.kh, shape.kw)
        packed = padded.reshape(split).transpose(0, 1, 6, 4, 7, 2, 3, 5)
        padded_bias = np.zeros((shape.groups, filters), bias.dtype)
        padded_bias[:, : shape.filters] = bias.reshape(shape.groups, shape.filters)
        return [np.ascontiguousarray(packed), padded_bias]

    def opened(self, task: Task, capability: Capability, point: Point) -> Opened | None:
        """1x1 convolutions of whole vectors of filters can share code whatever their sizes."""
        chosen = _arithmetic(task, capability)
        shape = shape_of(task, chosen.unit)
        found = opened(task, shape, chosen.lanes, knob(point, "pixels"), knob(point, "vectors"))
        if chosen.halves and shape.channels % chosen.unit:
            return None  # the last one is read alone
        if found is None or chosen.lanes > 1:
            return found
        return replace(found, cost=_OPEN / shape.channels, code=_CODE)

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code at one point of the space."""
        from budgetc_targets.kernels.convolution_code import build

        chosen = _arithmetic(task, capability)
        return build(task, shape_of(task, chosen.unit), chosen, point, name)


def _arithmetic(task: Task, capability: Capability) -> Arithmetic:
    filters = task.output.shape[1] // task.attribute("groups")
    return fitted(arithmetic(task, capability), filters)
