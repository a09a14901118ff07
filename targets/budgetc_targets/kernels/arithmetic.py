"""Which arithmetic a kernel uses on a target: f32, or the integer dot product exact for its weights."""

from dataclasses import dataclass

import numpy as np
from budgetc_specs.capability import Capability

from budgetc_targets.contract import Array
from budgetc_targets.task import Task

EXACT_FOR_WIDE_WEIGHTS = {"maddubs256": "maddwd256"}
"""What takes the place of a dot product that saturates, where weights leave [-64, 64]."""

_OFFSETS = {"sdot128": 128, "widening128": 128}


@dataclass(frozen=True)
class Arithmetic:
    """How products are summed.

    Attributes:
        name: `float`, or the integer dot product (an entry of `kernels.dot.DOTS`).
        lanes: 32-bit accumulators in one vector.
        offset: what the dot product wants subtracted from an activation first.
    """

    name: str
    lanes: int
    offset: int = 0

    @property
    def integer(self) -> bool:
        """Whether u8 activations meet s8 weights."""
        return self.name != "float"


def arithmetic(task: Task, capability: Capability) -> Arithmetic:
    """The arithmetic of a convolution-like task: by the type it reads and the range of its weights."""
    if task.inputs[0].dtype != "uint8":
        return Arithmetic("float", capability.channel_block)
    name: str = capability.int8_dot
    if task.attribute("weight_range") > 64:
        name = EXACT_FOR_WIDE_WEIGHTS.get(name, name)
    return Arithmetic(name, int(name[-3:]) // 32, _OFFSETS.get(name, 0))


_NARROWER = {
    "vpdpbusd512": "vpdpbusd256",
    "vpdpbusd256": "vpdpbusd128",
    "maddubs256": "maddwd128",
    "maddwd256": "maddwd128",
}
"""The same machine's dot product of half as many lanes."""


def narrowed(chosen: Arithmetic, channels: int) -> Arithmetic:
    """The arithmetic with no more lanes than there are channels, as far as the machine has it."""
    while chosen.lanes > channels:
        half = halved(chosen)
        if half is None:
            break
        chosen = half
    return chosen


def fitted(chosen: Arithmetic, filters: int) -> Arithmetic:
    """The arithmetic with no more lanes than the filters need: a vector half empty costs as much as a full one."""
    half = halved(chosen)
    while half and half.lanes >= max(filters, 4) and half.name[:4] == chosen.name[:4]:
        chosen, half = half, halved(half)
    return chosen


def halved(chosen: Arithmetic) -> Arithmetic | None:
    """Half as many lanes, where the machine has them."""
    if chosen.name == "float":
        return Arithmetic("float", chosen.lanes // 2) if chosen.lanes > 1 else None
    name = _NARROWER.get(chosen.name)
    return Arithmetic(name, int(name[-3:]) // 32, _OFFSETS.get(name, 0)) if name else None


def balanced_bias(weight: Array, bias: Array, offset: int) -> Array:
    """The bias (filters,) that gives back what an offset of the activations takes away, as s32."""
    sums = weight.reshape(len(weight), -1).astype(np.int64).sum(axis=1)
    balanced: Array = (bias.astype(np.int64) + offset * sums).astype(np.int32)
    return balanced
