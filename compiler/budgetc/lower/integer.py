"""Quantised arithmetic: QuantizeLinear and DequantizeLinear around an operator become one integer operation.

The rounding follows onnxruntime's integer kernels, which are the oracle:

    convolution, matrix product   y = clamp(rint(acc * (sx * sw[c] / sy)) + zy),  acc = bias + sum (x - zx) * w
    addition                      y = clamp(rint(fma(a, sa / sy, fma(b, sb / sy, c))) + zy),  c = -(za sa + zb sb) / sy
    global and average pooling    y = clamp(rint((sum x - n zx) * sx / (n sy)) + zy)

all in f32. Operators that only move elements work on the integers themselves. What is left over is computed in float
between a DequantizeLinear and a QuantizeLinear, which are elementwise maps like any other.
"""

from dataclasses import dataclass, replace

import numpy as np
from budgetc_targets.expression import ACCUMULATOR, Const, Expr, Ref, apply

from budgetc.lower.graph import Array, Graph, Operation

MOVES = {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Identity", "MaxPool"}
PRODUCTS = ("Conv", "Gemm", "MatMul")
LIMITS = {"uint8": (0, 255), "int8": (-128, 127)}


@dataclass(frozen=True)
class Quantisation:
    """A per-tensor scale and zero point."""

    scale: np.float32
    zero: int
    dtype: str


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
    """QuantizeLinear of any float: the clamp comes before the rounding, so that huge values saturate too."""
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


def form_integer_operations(graph: Graph) -> None:
    """Rewrite the graph in place; afterwards no DequantizeLinear of a constant feeds a convolution or a product."""
    quantise_before_moving(graph)
    _Former(graph).run()


def quantise_before_moving(graph: Graph) -> None:
    """Q(MaxPool(x)) is MaxPool(Q(x)), for Q is monotonic; so too for what only moves elements.

    The kernel before the QuantizeLinear then stores a quarter of the bytes.
    """
    moved = True
    while moved:
        moved = False
        producers, uses = graph.producers(), graph.uses()
        for position, op in enumerate(graph.operations):
            inner = producers.get(op.inputs[0]) if op.kind == "QuantizeLinear" else None
            if inner is None or inner.kind not in MOVES or uses[inner.outputs[0]] != 1:
                continue
            source = producers.get(inner.inputs[0])
            if len(inner.outputs) != 1 or (source and source.kind == "DequantizeLinear"):
                continue
            before = graph.values[inner.inputs[0]].shape
            dtype = graph.values[op.output].dtype
            early = graph.add_value(f"{op.output}.early", before, dtype)
            at = graph.operations.index(inner)
            graph.operations[position] = replace(
                inner, inputs=(early, *inner.inputs[1:]), outputs=op.outputs
            )
            graph.operations[at] = replace(
                op, inputs=(inner.inputs[0], *op.inputs[1:]), outputs=(early,)
            )
            moved = True
            break


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

    def quantisation(self, op: Operation) -> Quantisation | None:
        """Scale and zero point of a QuantizeLinear or DequantizeLinear, where they are constant and per tensor."""
        scale = self.graph.constants.get(op.inputs[1])
        if scale is None or scale.size != 1 or scale.dtype != np.float32:
            return None
        q_value = op.output if op.kind == "QuantizeLinear" else op.inputs[0]
        dtype = self.graph.values[q_value].dtype
        if dtype not in LIMITS:
            return None
        zero = 0
        if len(op.inputs) > 2 and op.inputs[2]:
            array = self.graph.constants.get(op.inputs[2])
            if array is None:
                return None
            zero = int(array.reshape(-1)[0])
        return Quantisation(np.float32(scale.reshape(-1)[0]), zero, dtype)

    def source(self, name: str) -> tuple[str, Quantisation] | None:
        """The integer value behind a dequantised one."""
        op = self.producers.get(name)
        if op is None or op.kind != "DequantizeLinear" or op.inputs[0] in self.graph.constants:
            return None
        quantisation = self.quantisation(op)
        return (op.inputs[0], quantisation) if quantisation else None

    def constant(self, name: str) -> tuple[Array, Array] | None:
        """Integers and scales of a dequantised constant whose zero point is 0."""
        op = self.producers.get(name)
        if op is None or op.kind != "DequantizeLinear" or op.inputs[0] not in self.graph.constants:
            return None
        if len(op.inputs) > 2 and op.inputs[2] and self.graph.constants[op.inputs[2]].any():
            return None
        return self.graph.constants[op.inputs[0]], self.graph.constants[op.inputs[1]].reshape(-1)

    def _form(self, op: Operation, quantize: Operation) -> Operation | None:
        target = self.quantisation(quantize)
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
        """Convolution or matrix product over integers; without a quantiser its result is the dequantised sum."""
        source = self.source(op.inputs[0])
        weights = self.constant(op.inputs[1]) if len(op.inputs) > 1 else None
        if source is None or weights is None or source[1].dtype != "uint8":
            return None
        (x, from_), (weight, scales) = source, weights
        if weight.dtype != np.int8:
            return None
        if op.kind != "Conv" and weight.ndim != 2:
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
        if np.abs(bias).max(initial=0) > 2**31 - 1:
            return None
        real = apply("to_float", ACCUMULATOR)
        multiplier = product_scales / target.scale if target else product_scales
        rank = len(self.graph.values[op.output].shape)
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
        quantised = self.constant(op.inputs[2])
        if quantised:
            return np.broadcast_to(quantised[0].reshape(-1), (filters,)).astype(np.int64)
        real = self.graph.constants.get(op.inputs[2])
        if real is None:
            return None
        return np.rint(np.broadcast_to(real.reshape(-1), (filters,)) / scales).astype(np.int64)

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

    def _average(self, op: Operation, quantize: Operation, target: Quantisation) -> Operation | None:
        source = self.source(op.inputs[0])
        if source is None:
            return None
        x, quantisation = source
        spatial = self.graph.values[x].shape[2:]
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
