"""Convolution by a single filter, f32, bfloat16 and u8 x s8: vectors run along the reduction, not along the filters.

    y[n, 0, h, w] = f(bias + sum over a, r of x[n, row h*sh + a*dh, run w*sw, r] * W[a, r])

Where pixels lie densely, the kw * channels numbers under a row of taps are one run of memory. It is multiplied vector
by vector into one accumulator for each of as many pixels as there are lanes; at the end their lanes are added up all
together, which leaves one sum for each pixel side by side. The last vector of a run overlaps the one before it, with
weights of zero where it does, so that nothing beyond the run is read.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
from budgetc_specs.capability import Capability

from budgetc_targets.contract import Array, Kernel, Point
from budgetc_targets.kernels.arithmetic import (
    Arithmetic,
    arithmetic,
    balanced_bias,
    narrowed,
    no_products,
)
from budgetc_targets.kernels.single import SinglePoint
from budgetc_targets.task import Task


class SingleFilter(SinglePoint):
    """The family of convolutions with one filter and runs of at least a vector: as many pixels at a time as lanes."""

    kind: ClassVar[str] = "single-filter"

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Dense pixels, a run and a row that fill vectors."""
        x, y = task.inputs[0], task.output
        channels, kw = x.shape[1], task.attribute("kernel")[1]
        reason = no_products(x.dtype, capability)
        if reason:
            return reason
        if y.shape[1] != 1 or task.attribute("groups") != 1:
            return "more than one filter"
        dense = x.strides[3] == channels and (channels == 1 or x.strides[1] == 1)
        if not dense or (kw > 1 and task.attribute("dilation")[1] != 1):
            return "the numbers under a row of taps do not lie side by side"
        if y.strides[3] != 1 or task.may_alias:
            return "the results do not lie side by side in memory of their own"
        chosen = arithmetic_of(task, capability)
        if run_of(task) < vector(chosen) or y.shape[3] < chosen.lanes:
            return "a run or a row shorter than a vector"
        if not 1 < chosen.lanes < capability.vector_registers:
            return "as many sums as lanes do not fit the registers"
        return None

    def pack(
        self, task: Task, capability: Capability, point: Point, constants: Mapping[str, Array]
    ) -> Sequence[Array]:
        """Weights (1, channels, kh, kw) as [kh][vector of the run], bias (1,)."""
        del point
        chosen = arithmetic_of(task, capability)
        weight, bias = np.asarray(constants["weight"]), np.asarray(constants["bias"])
        if chosen.integer:
            bias = balanced_bias(weight, bias, chosen.offset)
        runs = weight[0].transpose(1, 2, 0).reshape(weight.shape[2], -1)
        length, wide = runs.shape[1], vector(chosen)
        starts = starts_of(length, wide)
        packed = np.stack([runs[:, at : at + wide] for at in starts], axis=1)
        if len(starts) > 1:
            packed[:, -1, : starts[-2] + wide - starts[-1]] = 0
        return [np.ascontiguousarray(packed), bias]

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code."""
        del point
        from budgetc_targets.kernels.single_filter_code import build

        return build(task, arithmetic_of(task, capability), name)


def run_of(task: Task) -> int:
    """Numbers under a row of taps."""
    kw: int = task.attribute("kernel")[1]
    return kw * task.inputs[0].shape[1]


def arithmetic_of(task: Task, capability: Capability) -> Arithmetic:
    """The arithmetic with vectors no longer than a run, where the machine has such."""
    chosen = arithmetic(task, capability)
    run = run_of(task)
    return narrowed(chosen, run // chosen.unit)


def vector(chosen: Arithmetic) -> int:
    """Numbers of a run that one instruction takes."""
    return chosen.lanes * chosen.unit


def starts_of(length: int, wide: int) -> list[int]:
    """Where the vectors of a run begin; the last one ends with the run."""
    return [*range(0, length - wide, wide), length - wide]
