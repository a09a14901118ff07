"""Convolutions and matrix products over integers, with what zero points on either side add to the sum.

    sum (x - zx) (w - zw)  =  sum x w'  -  zx sum w'  +  k sum (x - zx),    w = w' + 128 and k = 128 - zw for u8,
                                                                            w = w' and k = -zw for s8

The first sum is the kernel's own, the second goes into the bias. Where the weights have a zero point, the third is a
convolution by ones, with one filter; where w - zw fits a signed byte, it is the weight and k is 0. A zero point of x
that is computed at run time is an operand of the epilogue, and so is the sum of each filter, which it multiplies.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from budgetc_targets.expression import ACCUMULATOR, Const, Expr, Ref, apply
from onnx import TensorProto

from budgetc.lower.graph import Array, Graph, Operation
from budgetc.lower.quantisation import LIMITS, Quantisation, quantisation_of, round_and_clamp

PRODUCTS = ("Conv", "Gemm", "MatMul")
_LARGEST_SUM = 2**31 - 1
_SAME_SCALE = 1e-5  # relative; two ways to compute one f32 product differ by less
_BYTE = (-128, 127)


def per_filter(bias: Array | None, filters: int) -> Array | None:
    """A bias as one number for each filter, or None where it differs from row to row."""
    if bias is None or not (bias.size == 1 or bias.size == filters == bias.shape[-1]):
        return None
    return np.broadcast_to(bias.reshape(-1), (filters,))


def to_whole_numbers(op: Operation) -> bool:
    """Whether the operation casts to 32-bit integers, as behind MatMulInteger."""
    return op.kind == "Cast" and op.attributes["to"] == TensorProto.INT32


@dataclass(frozen=True)
class _Activation:
    """The codes of the left side: u8, their scale, and a zero point that is a number or computed."""

    name: str
    scale: np.float32
    zero: int
    computed_zero: str = ""


@dataclass(frozen=True)
class _Weights:
    """The right side: codes as s64 in the weight's own shape, scales, zero points that broadcast over it."""

    codes: Array
    scales: Array
    zeros: Array


class ProductFormer:
    """Makes integer operations of Conv, Gemm and MatMul between dequantised sides."""

    def __init__(self, graph: Graph, producers: Mapping[str, Operation]) -> None:
        self.graph, self.producers = graph, producers

    def form(
        self, op: Operation, quantize: Operation | None = None, target: Quantisation | None = None
    ) -> list[Operation] | None:
        """The operation over integers; without a quantiser it gives the sum as a real.

        None where it has no such form.
        """
        parts = self.parts(op)
        if parts is None:
            return None
        operations, multiplier, inputs, total = parts
        if target:
            multiplier = multiplier / target.scale
        op_ = operations[-1]
        real: Expr = apply("to_float", total)
        if (multiplier != 1).any():
            shape = [1] * len(self.graph.values[op.output].shape)
            shape[1 if op.kind == "Conv" else -1] = multiplier.size
            array = multiplier.astype(np.float32).reshape(shape)
            inputs = (*inputs, self.graph.add_constant(f"{op.name}.multiplier", array))
            real = apply("mul", real, Ref(len(inputs) - 1))
        expression = round_and_clamp(real, target) if target else real
        output = quantize.output if quantize else op.output
        final = Operation(op_.kind, op.name, inputs, (output,), op_.attributes, expression, 1)
        return [*operations[:-1], final]

    def form_whole(self, op: Operation, cast: Operation) -> list[Operation] | None:
        """The operation with its sum as the 32-bit integer that it is, where the scales are 1."""
        parts = self.parts(op)
        if parts is None or (parts[1] != 1).any():
            return None
        operations, _, inputs, total = parts
        op_ = operations[-1]
        final = Operation(op_.kind, op.name, inputs, (cast.output,), op_.attributes, total, 1)
        return [*operations[:-1], final]

    def parts(self, op: Operation) -> tuple[list[Operation], Array, tuple[str, ...], Expr] | None:
        """Operations of which the last lacks its end, its scale for each filter, its inputs and its sum."""
        x, weights = self._activation(op.inputs[0]), self._weights(op)
        if x is None or weights is None or not self._fits(op, weights.codes.ndim):
            return None
        along = self._filter_axis(op)
        others = tuple(i for i in range(weights.codes.ndim) if i != along)
        filters = weights.codes.shape[along]
        true = weights.codes - weights.zeros
        if _BYTE[0] <= true.min() and true.max() <= _BYTE[1]:
            codes, offset = true, np.zeros_like(weights.zeros)
        else:
            shift = -_BYTE[0] if weights.codes.max() > _BYTE[1] else 0
            codes, offset = weights.codes - shift, shift - weights.zeros
        scales = np.broadcast_to(x.scale * weights.scales, (filters,))
        bias = self._bias(op, scales, filters)
        if bias is None:
            return None
        bias = bias - x.zero * codes.sum(axis=others)
        apart = np.abs(codes).sum(axis=others) + np.abs(np.broadcast_to(offset, true.shape)).sum(
            axis=others
        )
        if x.computed_zero:
            apart = apart + np.abs(true.sum(axis=others))
        # Each part of the sum may reach its bound by itself.
        if (np.abs(bias) + LIMITS["uint8"][1] * apart).max() > _LARGEST_SUM:
            return None
        attributes = {
            **op.attributes,
            "weight": self._oriented(op, codes).astype(np.int8),
            "bias": bias.astype(np.int32),
            "border": x.zero,
        }
        kind = "convolution" if op.kind == "Conv" else "product"
        operations: list[Operation] = []
        inputs: tuple[str, ...] = (x.name,)
        total: Expr = ACCUMULATOR
        if offset.any():
            ones = self._window_sums(op, x, attributes)
            operations.append(ones)
            inputs = (*inputs, ones.output)
            factor: Expr = Const(int(offset.reshape(-1)[0]), "int32")
            if offset.size > 1:
                inputs = (*inputs, self._along_filters(op, offset.reshape(-1), "offset"))
                factor = Ref(len(inputs) - 1)
            total = apply("add", total, apply("mul", Ref(1), factor))
        if x.computed_zero:
            sums = -true.sum(axis=others)
            inputs = (*inputs, x.computed_zero, self._along_filters(op, sums, "sums"))
            last = len(inputs) - 1
            total = apply("add", total, apply("mul", Ref(last - 1), Ref(last)))
        operations.append(Operation(kind, op.name, inputs, (op.output,), attributes, None, 1))
        return operations, scales, inputs, total

    def _activation(self, name: str) -> _Activation | None:
        op = self.producers.get(name)
        if op is None or op.kind != "DequantizeLinear" or op.inputs[0] in self.graph.constants:
            return None
        if self.graph.values[op.inputs[0]].dtype != "uint8":
            return None
        quantisation = quantisation_of(op, self.graph)
        if quantisation:
            return _Activation(op.inputs[0], quantisation.scale, quantisation.zero)
        scale = self.graph.constants.get(op.inputs[1])
        if scale is None or scale.size != 1 or scale.dtype != np.float32 or len(op.inputs) < 3:
            return None
        zero = op.inputs[2]
        if zero in self.graph.constants or self.graph.values[zero].shape not in ((), (1,)):
            return None
        return _Activation(op.inputs[0], np.float32(scale.reshape(-1)[0]), 0, zero)

    def _weights(self, op: Operation) -> _Weights | None:
        maker = self.producers.get(op.inputs[1])
        if maker is None or maker.kind != "DequantizeLinear":
            return None
        along = self._filter_axis(op)
        found = self.constant(op.inputs[1], along)
        if found is None or found[0].dtype not in (np.int8, np.uint8):
            return None
        codes, scales, zeros = found
        if zeros.size > 1:
            shape = [1] * codes.ndim
            shape[along] = zeros.size
            zeros = zeros.reshape(shape)
        return _Weights(codes.astype(np.int64), scales, zeros)

    def constant(self, name: str, axis: int) -> tuple[Array, Array, Array] | None:
        """Codes, scales and zero points (s64) of a dequantised constant, per tensor or along the axis."""
        op = self.producers.get(name)
        if op is None or op.kind != "DequantizeLinear" or op.attributes.get("block_size", 0):
            return None
        array = self.graph.constants.get(op.inputs[0])
        scales = self.graph.constants.get(op.inputs[1])
        if array is None or scales is None or scales.dtype != np.float32 or not array.ndim:
            return None
        zeros: Array = np.zeros(1, np.int64)
        if len(op.inputs) > 2 and op.inputs[2]:
            given = self.graph.constants.get(op.inputs[2])
            if given is None or given.size != scales.size:
                return None
            if given.any():
                zeros = given.astype(np.int64).reshape(-1)
        along = op.attributes.get("axis", 1) % array.ndim
        per_channel = scales.ndim == 1 and along == axis and array.shape[axis] == scales.size
        return (array, scales.reshape(-1), zeros) if scales.size == 1 or per_channel else None

    def _fits(self, op: Operation, weight_rank: int) -> bool:
        """Whether there is a kernel for such an operator."""
        rank = len(self.graph.values[op.inputs[0]].shape)
        if rank > 4 or weight_rank != (rank if op.kind == "Conv" else 2):
            return False
        given = op.attributes
        if op.kind == "Gemm":
            plain = given.get("alpha", 1.0) == given.get("beta", 1.0) == 1.0
            return plain and not given.get("transA", 0)
        if op.kind == "Conv" and self._computed_zero(op):
            # What stands for zero beyond the edge is not known now.
            padded = any(given.get("pads", ())) or given.get("auto_pad", "").startswith("SAME")
            return not padded
        return not any(p < 0 for p in given.get("pads", ()))

    def _computed_zero(self, op: Operation) -> bool:
        x = self._activation(op.inputs[0])
        return x is not None and bool(x.computed_zero)

    def _filter_axis(self, op: Operation) -> int:
        return 0 if op.kind == "Conv" or op.attributes.get("transB", 0) else 1

    def _oriented(self, op: Operation, weight: Array) -> Array:
        """The weight as kernels take it: filters first for a convolution, last for a product."""
        return weight.T if op.kind == "Gemm" and op.attributes.get("transB", 0) else weight

    def _along_filters(self, op: Operation, array: Array, what: str) -> str:
        shape = [1] * len(self.graph.values[op.output].shape)
        shape[1 if op.kind == "Conv" else -1] = array.size
        name = f"{op.name}.{what}"
        return self.graph.add_constant(name, array.astype(np.int32).reshape(shape))

    def _window_sums(
        self, op: Operation, x: _Activation, attributes: Mapping[str, object]
    ) -> Operation:
        """Sum (x - zx) over the window of each output, as 32-bit integers.

        The groups of a convolution have sums of their own, and then there is one for each filter.
        """
        weight = attributes["weight"]
        assert isinstance(weight, np.ndarray)
        shape = list(self.graph.values[op.output].shape)
        if op.kind == "Conv":
            count = 1 if op.attributes.get("group", 1) == 1 else len(weight)
            ones = np.ones((count, *weight.shape[1:]), np.int8)
            terms, shape[1] = int(np.prod(weight.shape[1:])), count
        else:
            ones, terms, count = np.ones((weight.shape[0], 1), np.int8), weight.shape[0], 1
            shape[-1] = 1
        given = {**attributes, "weight": ones, "bias": np.full(count, -x.zero * terms, np.int32)}
        kind = "convolution" if op.kind == "Conv" else "product"
        output = self.graph.add_value(f"{op.name}.window", tuple(shape), "int32")
        name = f"{op.name}.window"
        return Operation(kind, name, (x.name,), (output,), given, ACCUMULATOR, 1)

    def _bias(self, op: Operation, scales: Array, filters: int) -> Array | None:
        """The bias as s64 in units of the accumulator."""
        if len(op.inputs) < 3 or not op.inputs[2]:
            return np.zeros(filters, np.int64)
        quantised = self.constant(op.inputs[2], 0)
        if quantised:
            codes = quantised[0].astype(np.int64) - quantised[2]
            integers, bias_scales = (per_filter(a, filters) for a in (codes, quantised[1]))
            if integers is None or bias_scales is None:
                return None
            if np.allclose(bias_scales, scales, rtol=_SAME_SCALE, atol=0):
                return integers
            real: Array | None = integers * bias_scales.astype(np.float64)
        else:
            real = per_filter(self.graph.constants.get(op.inputs[2]), filters)
        return None if real is None else np.rint(real / scales).astype(np.int64)
