"""Quantised arithmetic: QuantizeLinear and DequantizeLinear around an operator become one integer operation.

The rounding follows onnxruntime's integer kernels, which are the oracle:

    convolution, matrix product   y = clamp(rint(acc * (sx * sw[c] / sy)) + zy),  acc = bias + sum (x - zx) * w
    addition                      y = clamp(rint(fma(a, sa / sy, fma(b, sb / sy, c))) + zy),  c = -(za sa + zb sb) / sy
    global and average pooling    y = clamp(rint((sum x - n zx) * sx / (n sy)) + zy)

all in f32. Operators that only move elements work on the integers themselves. What is left over is computed in float
between a DequantizeLinear and a QuantizeLinear, which are elementwise maps like any other.
"""

from dataclasses import replace

import numpy as np
from budgetc_targets.expression import ACCUMULATOR, Const, Expr, Ref, apply

from budgetc.lower.graph import Array, Graph, Operation
from budgetc.lower.hoisting import MOVES
from budgetc.lower.quantisation import LIMITS, Quantisation, quantisation_of, round_and_clamp

PRODUCTS = ("Conv", "Gemm", "MatMul")
_LARGEST_SUM = 2**31 - 1
_SAME_SCALE = 1e-5  # relative; two ways to compute one f32 product differ by less


def form_integer_operations(graph: Graph) -> None:
    """Rewrite the graph in place: the operators above become integer operations.

    A product that no QuantizeLinear follows gives its sum in f32.
    """
    _Former(graph).run()


def per_filter(bias: Array | None, filters: int) -> Array | None:
    """A bias as one number for each filter, or None where it differs from row to row."""
    if bias is None or not (bias.size == 1 or bias.size == filters == bias.shape[-1]):
        return None
    return np.broadcast_to(bias.reshape(-1), (filters,))


class _Former:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producers = graph.producers()
        self.uses = graph.uses()

    def run(self) -> None:
        replaced: dict[str, Operation] = {}  # by the output they make
        absorbed: set[str] = set()
        for op in self.graph.operations:
            inner = self.producers.get(op.inputs[0]) if op.kind == "QuantizeLinear" else None
            if inner is None or self.uses[inner.outputs[0]] != 1:
                continue
            formed = self._form(inner, op)
            if formed:
                replaced[op.output] = formed
                absorbed.add(inner.output)
        for op in self.graph.operations:
            if op.kind in PRODUCTS and op.output not in absorbed:
                formed = self._product(op)
                if formed:
                    replaced[op.output] = formed
        operations: list[Operation] = []
        for op in self.graph.operations:
            first = op.outputs[0]
            if first in absorbed:
                continue
            operations.append(replaced.get(first, op))
        self.graph.operations = operations
        self.graph.remove_dead()

    def source(self, name: str) -> tuple[str, Quantisation] | None:
        """The integer value behind a dequantised one."""
        op = self.producers.get(name)
        if op is None or op.kind != "DequantizeLinear" or op.inputs[0] in self.graph.constants:
            return None
        quantisation = quantisation_of(op, self.graph)
        return (op.inputs[0], quantisation) if quantisation else None

    def constant(self, name: str, axis: int) -> tuple[Array, Array] | None:
        """Integers and scales of a dequantised constant, symmetric, per tensor or along the axis."""
        op = self.producers.get(name)
        if op is None or op.kind != "DequantizeLinear":
            return None
        array = self.graph.constants.get(op.inputs[0])
        scales = self.graph.constants.get(op.inputs[1])
        if array is None or scales is None or scales.dtype != np.float32:
            return None
        if len(op.inputs) > 2 and op.inputs[2]:
            zero = self.graph.constants.get(op.inputs[2])
            if zero is None or zero.any():
                return None
        along = op.attributes.get("axis", 1) % max(array.ndim, 1)
        per_channel = scales.ndim == 1 and along == axis and array.shape[axis] == scales.size
        return (array, scales.reshape(-1)) if scales.size == 1 or per_channel else None

    def _form(self, op: Operation, quantize: Operation) -> Operation | None:
        target = quantisation_of(quantize, self.graph)
        if target is None:
            return None
        if op.kind in PRODUCTS:
            return self._product(op, quantize, target)
        if op.kind == "Add":
            return self._add(op, quantize, target)
        if op.kind in ("GlobalAveragePool", "AveragePool"):
            return self._average(op, quantize, target)
        if op.kind in MOVES or op.kind == "Concat":
            return self._move(op, quantize, target)
        return None

    def _product(
        self, op: Operation, quantize: Operation | None = None, target: Quantisation | None = None
    ) -> Operation | None:
        """Convolution or product over integers; without a quantiser it gives the sum as a real."""
        source = self.source(op.inputs[0])
        across = op.kind != "Conv" and not op.attributes.get("transB", 0)
        weights = self.constant(op.inputs[1], 1 if across else 0)
        if source is None or weights is None or source[1].dtype != "uint8":
            return None
        (x, from_), (weight, scales) = source, weights
        rank = len(self.graph.values[x].shape)
        if weight.dtype != np.int8 or rank > 4 or weight.ndim != (rank if op.kind == "Conv" else 2):
            return None
        if any(p < 0 for p in op.attributes.get("pads", ())):
            return None
        if op.kind == "Gemm":
            if op.attributes.get("transA", 0) or op.attributes.get("alpha", 1.0) != 1.0:
                return None
            if op.attributes.get("beta", 1.0) != 1.0:
                return None
            if op.attributes.get("transB", 0):
                weight = weight.T
        filters = weight.shape[0] if op.kind == "Conv" else weight.shape[1]
        product_scales = np.broadcast_to(np.float32(from_.scale) * scales, (filters,))
        bias = self._bias(op, product_scales, filters)
        if bias is None:
            return None
        axes = tuple(range(1, weight.ndim)) if op.kind == "Conv" else (0,)
        bias = bias - from_.zero * weight.astype(np.int64).sum(axis=axes)
        reach = LIMITS["uint8"][1] * np.abs(weight.astype(np.int64)).sum(axis=axes)
        if (np.abs(bias) + reach).max() > _LARGEST_SUM:
            return None
        real = apply("to_float", ACCUMULATOR)
        multiplier = product_scales / target.scale if target else product_scales
        shape = [1] * rank
        shape[1 if op.kind == "Conv" else -1] = filters
        name = self.graph.add_constant(
            f"{op.name}.multiplier", multiplier.astype(np.float32).reshape(shape)
        )
        scaled = apply("mul", real, Ref(1))
        expression = round_and_clamp(scaled, target) if target else scaled
        output = quantize.output if quantize else op.output
        attributes = {
            **op.attributes,
            "weight": weight,
            "bias": bias.astype(np.int32),
            "border": from_.zero,
        }
        kind = "convolution" if op.kind == "Conv" else "product"
        return Operation(kind, op.name, (x, name), (output,), attributes, expression, anchors=1)

    def _bias(self, op: Operation, scales: Array, filters: int) -> Array | None:
        """The bias as s64 in units of the accumulator."""
        if len(op.inputs) < 3 or not op.inputs[2]:
            return np.zeros(filters, np.int64)
        quantised = self.constant(op.inputs[2], 0)
        if quantised:
            integers, bias_scales = (per_filter(array, filters) for array in quantised)
            if integers is None or bias_scales is None:
                return None
            if np.allclose(bias_scales, scales, rtol=_SAME_SCALE, atol=0):
                return integers.astype(np.int64)
            real: Array | None = integers * bias_scales.astype(np.float64)
        else:
            real = per_filter(self.graph.constants.get(op.inputs[2]), filters)
        return None if real is None else np.rint(real / scales).astype(np.int64)

    def _add(self, op: Operation, quantize: Operation, target: Quantisation) -> Operation | None:
        left, right = self.source(op.inputs[0]), self.source(op.inputs[1])
        if left is None or right is None:
            return None
        (a, qa), (b, qb) = left, right
        ra, rb = np.float32(qa.scale / target.scale), np.float32(qb.scale / target.scale)
        fixed = -np.float32(ra * np.float32(qa.zero) + np.float32(rb * np.float32(qb.zero)))
        inner = apply("fma", apply("to_float", Ref(1)), Const(float(rb)), Const(float(fixed)))
        total = apply("fma", apply("to_float", Ref(0)), Const(float(ra)), inner)
        expression = round_and_clamp(total, target)
        return Operation("map", op.name, (a, b), (quantize.output,), {}, expression)

    def _average(
        self, op: Operation, quantize: Operation, target: Quantisation
    ) -> Operation | None:
        source = self.source(op.inputs[0])
        if source is None:
            return None
        x, quantisation = source
        spatial = self.graph.values[x].shape[2:]
        if len(spatial) not in (1, 2):
            return None
        if op.kind == "GlobalAveragePool":
            kernel = spatial
        else:
            kernel = tuple(op.attributes["kernel_shape"])
            if any(op.attributes.get("pads", ())) or op.attributes.get("ceil_mode", 0):
                return None
            if op.attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
                return None
        count = int(np.prod(kernel))
        centred: Expr = ACCUMULATOR
        if quantisation.zero:
            centred = apply("sub", centred, Const(count * quantisation.zero, "int32"))
        factor = np.float32(quantisation.scale / np.float32(target.scale * np.float32(count)))
        real = apply("mul", apply("to_float", centred), Const(float(factor)))
        attributes = {**op.attributes, "kernel_shape": kernel, "mode": "sum"}
        expression = round_and_clamp(real, target)
        return Operation(
            "pooling", op.name, (x,), (quantize.output,), attributes, expression, anchors=1
        )

    def _move(self, op: Operation, quantize: Operation, target: Quantisation) -> Operation | None:
        """The same operator on the integers, where both sides are quantised alike."""
        count = len(op.inputs) if op.kind == "Concat" else 1
        sources = [self.source(name) for name in op.inputs[:count]]
        if any(s is None or s[1] != target for s in sources):
            return None
        moved = tuple(s[0] for s in sources if s)
        return replace(op, inputs=moved + op.inputs[count:], outputs=(quantize.output,))
