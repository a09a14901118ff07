"""A scale and a zero point, and the expressions that go between integers and reals by them."""

import math
from dataclasses import dataclass

import numpy as np
from budgetc_targets.expression import Const, Expr, Ref, apply

from budgetc.lower.graph import Graph, Operation

BYTES = ("uint8", "int8")
LIMITS = {
    "uint8": (0, 255),
    "int8": (-128, 127),
    "uint16": (0, 65535),
    "int16": (-32768, 32767),
}
"""The range of each type of codes. Only those of a byte have integer kernels."""


@dataclass(frozen=True)
class Quantisation:
    """A per-tensor scale and zero point: real = scale * (integer - zero)."""

    scale: np.float32
    zero: int
    dtype: str


def quantisation_of(op: Operation, graph: Graph) -> Quantisation | None:
    """That of a QuantizeLinear or DequantizeLinear between 8 or 16 bits and f32.

    None where its scale is computed or there is one for each channel.
    """
    quantises = op.kind == "QuantizeLinear"
    integer, real = (op.output, op.inputs[0]) if quantises else (op.inputs[0], op.output)
    scale = graph.constants.get(op.inputs[1])
    dtype = graph.values[integer].dtype
    if scale is None or scale.size != 1 or scale.dtype != np.float32:
        return None
    if dtype not in LIMITS or graph.values[real].dtype != "float32":
        return None
    zero = 0
    if len(op.inputs) > 2 and op.inputs[2]:
        array = graph.constants.get(op.inputs[2])
        if array is None:
            return None
        zero = int(array.reshape(-1)[0])
    return Quantisation(np.float32(scale.reshape(-1)[0]), zero, dtype)


def clamp(value: Expr, dtype: str) -> Expr:
    """An integer limited to a type's range."""
    low, high = LIMITS[dtype]
    return apply("min", apply("max", value, Const(low, "int32")), Const(high, "int32"))


def round_and_clamp(real: Expr, quantisation: Quantisation) -> Expr:
    """rint(real) + zero point, saturated."""
    rounded: Expr = apply("round_int", real)
    if quantisation.zero:
        rounded = apply("add", rounded, Const(quantisation.zero, "int32"))
    return clamp(rounded, quantisation.dtype)


def round_shifted(shifted: Expr, dtype: str) -> Expr:
    """Rint of a real with the zero point in it, saturated: a tie goes to the even code, not the even level."""
    return clamp(apply("round_int", shifted), dtype)


def quantise(real: Expr, quantisation: Quantisation) -> Expr:
    """QuantizeLinear of any float; it is clamped before it is rounded, so huge values saturate."""
    low, high = LIMITS[quantisation.dtype]
    scaled = apply("div", real, Const(float(quantisation.scale)))
    limited = apply(
        "min",
        apply("max", scaled, Const(float(low - quantisation.zero))),
        Const(float(high - quantisation.zero)),
    )
    return apply("add", apply("round_int", limited), Const(quantisation.zero, "int32"))


def dequantise(integer: Expr, quantisation: Quantisation) -> Expr:
    """DequantizeLinear."""
    whole = apply("to_float", centre(integer, quantisation))
    return apply("mul", whole, Const(float(quantisation.scale)))


def centre(integer: Expr, quantisation: Quantisation) -> Expr:
    """An integer less its zero point."""
    zero = quantisation.zero
    return apply("sub", integer, Const(zero, "int32")) if zero else integer


def by_operands(op: Operation, graph: Graph) -> Expr | None:
    """Q or DQ of one scale and zero point that are computed: the operands behind the first.

    None where there is one for each channel, or for other types than those of `LIMITS` and f32.
    """
    quantises = op.kind == "QuantizeLinear"
    integer, real = (op.output, op.inputs[0]) if quantises else (op.inputs[0], op.output)
    dtype = graph.values[integer].dtype
    if dtype not in LIMITS or graph.values[real].dtype != "float32":
        return None
    parameters = [graph.values[name] for name in op.inputs[1:] if name]
    if any(math.prod(v.shape) != 1 or len(v.shape) > 1 for v in parameters):
        return None
    if parameters[0].dtype != "float32" or op.attributes.get("block_size", 0):
        return None
    zero: Expr = Ref(2) if len(parameters) > 1 else Const(0, "int32")
    if not quantises:
        return apply("mul", apply("to_float", apply("sub", Ref(0), zero)), Ref(1))
    low, high = LIMITS[dtype]
    limits = [apply("to_float", apply("sub", Const(n, "int32"), zero)) for n in (low, high)]
    scaled = apply("div", Ref(0), Ref(1))
    limited = apply("min", apply("max", scaled, limits[0]), limits[1])
    return apply("add", apply("round_int", limited), zero)
