"""A scale and a zero point, and the expressions that go between integers and reals by them."""

from dataclasses import dataclass

import numpy as np
from budgetc_targets.expression import Const, Expr, apply

from budgetc.lower.graph import Graph, Operation

LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}


@dataclass(frozen=True)
class Quantisation:
    """A per-tensor scale and zero point: real = scale * (integer - zero)."""

    scale: np.float32
    zero: int
    dtype: str


def quantisation_of(op: Operation, graph: Graph) -> Quantisation | None:
    """That of a QuantizeLinear or DequantizeLinear between 8 bits and f32.

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
    centred: Expr = integer
    if quantisation.zero:
        centred = apply("sub", integer, Const(quantisation.zero, "int32"))
    return apply("mul", apply("to_float", centred), Const(float(quantisation.scale)))
