"""Which arithmetic a kernel uses on a target: f32, pairs of bfloat16, or an integer dot product that is exact."""

from dataclasses import dataclass

import numpy as np
from budgetc_specs.capability import PRODUCTS_A_LANE, Capability

from budgetc_targets.contract import Array
from budgetc_targets.task import Task

EXACT_FOR_WIDE_WEIGHTS = {"maddubs256": "maddwd256"}
"""What takes the place of a dot product that saturates, where weights leave [-64, 64]."""

_FOR_SYMMETRIC_WEIGHTS = {"widening128": "pairwise128", "vmull128": "vpadd128"}
"""What is faster and exact where no weight is -128: two products u8 - 128 by s8 fit 16 bits then."""

_OFFSETS = dict.fromkeys(
    ("sdot", "widening", "pairwise", "vmull", "vpadd", "vmladava", "vwmacc"), 128
)
"""What is subtracted from activations, by a dot product's kind, where it multiplies signed bytes."""

_TAPS = {"maddwd": 2, "wasmdot": 2, "sdot": 4, "usdot": 4, "vpdpbusd": 4, "maddubs": 4}
"""Taps of a depthwise convolution that the best instruction sums into a lane, by the kind, where it is not one."""


@dataclass(frozen=True)
class Arithmetic:
    """How products are summed.

    Attributes:
        name: `float`, the dot product (an entry of `kernels.dot.DOTS`), or `products` of integers one by one.
        lanes: 32-bit accumulators in one vector.
        offset: what the dot product wants subtracted from an activation first.
        unit: products that one instruction sums into a lane.
    """

    name: str
    lanes: int
    offset: int = 0
    unit: int = 1

    @property
    def kind(self) -> str:
        """The name without its number of bits."""
        return self.name.rstrip("0123456789")

    @property
    def taps(self) -> int:
        """Taps of a depthwise convolution that the best instruction for these sums into a lane."""
        return _TAPS.get(self.kind, 1)

    @property
    def integer(self) -> bool:
        """Whether u8 activations meet s8 weights."""
        return self.name != "float" and not self.halves

    @property
    def halves(self) -> bool:
        """Whether bfloat16 activations meet such weights."""
        return self.kind == "vdpbf16ps"

    @property
    def weights(self) -> str:
        """The type of the weights."""
        return "int8" if self.integer else "bfloat16" if self.halves else "float32"

    @property
    def sums(self) -> str:
        """The type of the accumulators."""
        return "int32" if self.integer else "float32"


def no_products(dtype: str, capability: Capability) -> str | None:
    """Why activations of a type cannot be multiplied; None where they can."""
    if dtype == "bfloat16" and capability.bfloat16_dot is None:
        return "bfloat16 numbers, for which the CPU has no dot product"
    known = ("uint8", "float32", "bfloat16")
    return None if dtype in known else f"activations of type {dtype}"


def arithmetic(task: Task, capability: Capability) -> Arithmetic:
    """The arithmetic of a convolution-like task: by the type it reads and the range of its weights."""
    if task.inputs[0].dtype == "bfloat16":
        assert capability.bfloat16_dot, (
            "BUG: bfloat16 numbers on a target without their dot product"
        )
        return dot_arithmetic(capability.bfloat16_dot)
    if task.inputs[0].dtype != "uint8":
        return Arithmetic("float", capability.channel_block)
    name: str = capability.int8_dot
    if task.attribute("weight_range") > 64:
        name = EXACT_FOR_WIDE_WEIGHTS.get(name, name)
    if task.attribute("weight_range") < 128:
        name = _FOR_SYMMETRIC_WEIGHTS.get(name, name)
    return dot_arithmetic(name)


def dot_arithmetic(name: str) -> Arithmetic:
    """The arithmetic of a dot product by its name."""
    kind = name.rstrip("0123456789")
    bits = int(name.removeprefix(kind))
    return Arithmetic(name, bits // 32, _OFFSETS.get(kind, 0), PRODUCTS_A_LANE.get(kind, 4))


def per_channel(task: Task, capability: Capability) -> Arithmetic:
    """The arithmetic of a task whose sums run over few products of one channel, with the channels in the lanes."""
    chosen = arithmetic(task, capability)
    if chosen.name in _ALONG:
        return Arithmetic("products", capability.channel_block)
    return chosen


_ALONG = ("smlad32", "vmladava32", "mla32")
"""Dot products into a single lane, however wide a vector is: they are for long sums."""

_NARROWER = {
    "vpdpbusd512": "vpdpbusd256",
    "vpdpbusd256": "vpdpbusd128",
    "maddubs256": "maddwd128",
    "maddwd256": "maddwd128",
    "vdpbf16ps512": "vdpbf16ps256",
    "vdpbf16ps256": "vdpbf16ps128",
    **{f"vwmacc{bits}": f"vwmacc{bits // 2}" for bits in (256, 128, 64)},
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
    while half and half.lanes >= max(filters, 4) and half.kind == chosen.kind:
        chosen, half = half, halved(half)
    return chosen


def halved(chosen: Arithmetic) -> Arithmetic | None:
    """Half as many lanes, where the machine has them."""
    if chosen.name == "float":
        return Arithmetic("float", chosen.lanes // 2) if chosen.lanes > 1 else None
    name = _NARROWER.get(chosen.name)
    return dot_arithmetic(name) if name else None


def balanced_bias(weight: Array, bias: Array, offset: int) -> Array:
    """The bias (filters,) that gives back what an offset of the activations takes away, as s32."""
    sums = weight.reshape(len(weight), -1).astype(np.int64).sum(axis=1)
    balanced: Array = (bias.astype(np.int64) + offset * sums).astype(np.int32)
    return balanced
