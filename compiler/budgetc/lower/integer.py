"""Quantised arithmetic: QuantizeLinear and DequantizeLinear around an operator become one integer operation.

The rounding follows onnxruntime's integer kernels, which are the oracle:

    convolution, matrix product   y = clamp(rint(acc * (sx * sw[c] / sy)) + zy),  acc = bias + sum (x - zx) * (w - zw)
    product of two activations    the same, without a bias
    addition                      y = clamp(rint(fma(a, sa / sy, fma(b, sb / sy, c))) + zy),  c = -(za sa + zb sb) / sy
    multiplication                y = clamp(rint(fma((a - za) * (b - zb), sa * sb / sy, zy)))
    global average pooling        y = clamp(rint((sum x - n zx) * sx / (n sy)) + zy)
    average pooling               y = clamp(rint((sum (x - zx) * sx) / n / sy + zy))

all in f32. Operators that only move elements work on the integers themselves. What is left over is computed in float
between a DequantizeLinear and a QuantizeLinear, which are elementwise maps like any other.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from budgetc_targets.expression import ACCUMULATOR, Const, Expr, Ref, apply

from budgetc.lower.graph import Graph, Operation
from budgetc.lower.hoisting import MOVES
from budgetc.lower.integer_products import PRODUCTS, ProductFormer, to_whole_numbers
from budgetc.lower.quantisation import (
    BYTES,
    Quantisation,
    centre,
    quantisation_of,
    round_and_clamp,
    round_shifted,
)


def form_integer_operations(graph: Graph) -> None:
    """Rewrite the graph in place: the operators above become integer operations.

    A product that no QuantizeLinear follows gives its sum in f32.
    """
    Former(graph).run()


class Former:
    """Forms operations; what a subclass changes is the arithmetic behind their sums."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producers = graph.producers()
        self.uses = graph.uses()
        self.products = ProductFormer(graph, self.producers)
        self.formers: Mapping[
            str, Callable[[Operation, Operation, Quantisation], Operation | None]
        ] = {
            "Add": self._add,
            "Mul": self._mul,
            "GlobalAveragePool": self._global_average,
            **dict.fromkeys((*sorted(MOVES), "Concat"), self.move),
        }

    def run(self) -> None:
        """Rewrite the graph."""
        replaced: dict[str, list[Operation]] = {}  # by the output they make
        absorbed: set[str] = set()
        for op in self.graph.operations:
            ends = op.kind == "QuantizeLinear" or to_whole_numbers(op)
            inner = self.producers.get(op.inputs[0]) if ends else None
            if inner is None or self.uses[inner.outputs[0]] != 1:
                continue
            formed = self.form(inner, op)
            if formed:
                replaced[op.output] = formed
                absorbed.add(inner.output)
        for op in self.graph.operations:
            if op.kind in PRODUCTS and op.output not in absorbed:
                formed = self.form_open(op)
                if formed:
                    replaced[op.output] = formed
        operations: list[Operation] = []
        for op in self.graph.operations:
            first = op.outputs[0]
            if first in absorbed:
                continue
            operations.extend(replaced.get(first, [op]))
        self.graph.operations = operations
        self.graph.remove_dead()

    def source(self, name: str) -> tuple[str, Quantisation] | None:
        """The integer value behind a dequantised one."""
        op = self.producers.get(name)
        if op is None or op.kind != "DequantizeLinear" or op.inputs[0] in self.graph.constants:
            return None
        quantisation = quantisation_of(op, self.graph)
        fits = quantisation is not None and quantisation.dtype in BYTES
        return (op.inputs[0], quantisation) if quantisation and fits else None

    def form_open(self, op: Operation) -> list[Operation] | None:
        """A product that nothing quantises."""
        return self.products.form(op)

    def form(self, op: Operation, end: Operation) -> list[Operation] | None:
        """The operation and the quantiser or cast behind it; None where there is no such form."""
        if end.kind == "Cast":
            return self.products.form_whole(op, end) if op.kind in PRODUCTS else None
        target = quantisation_of(end, self.graph)
        if target is None or target.dtype not in BYTES:
            return None
        if op.kind in PRODUCTS:
            return self.products.form(op, end, target) or self._activations(op, end, target)
        if op.kind == "AveragePool":
            return self._average(op, end, target)
        former = self.formers.get(op.kind)
        formed = former(op, end, target) if former else None
        return [formed] if formed else None

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

    def _mul(self, op: Operation, quantize: Operation, target: Quantisation) -> Operation | None:
        left, right = self.source(op.inputs[0]), self.source(op.inputs[1])
        if left is None or right is None:
            return None
        (a, qa), (b, qb) = left, right
        ratio = np.float32(np.float32(qa.scale * qb.scale) / target.scale)
        product = apply("mul", centre(Ref(0), qa), centre(Ref(1), qb))
        zero = Const(float(target.zero))
        shifted = apply("fma", apply("to_float", product), Const(float(ratio)), zero)
        expression = round_shifted(shifted, target.dtype)
        return Operation("map", op.name, (a, b), (quantize.output,), {}, expression)

    def _activations(
        self, op: Operation, quantize: Operation, target: Quantisation
    ) -> list[Operation] | None:
        """A product of two activations: whole numbers in f32, which are exact up to 2**24.

        That is the sum of 258 largest products, and more of ordinary ones.
        """
        left, right = self.source(op.inputs[0]), self.source(op.inputs[1])
        if op.kind != "MatMul" or left is None or right is None:
            return None
        maps: list[Operation] = []
        for side, (code, quantisation) in (("left", left), ("right", right)):
            shape = self.graph.values[code].shape
            whole = self.graph.add_value(f"{op.name}.{side}", shape, "float32")
            body = apply("to_float", centre(Ref(0), quantisation))
            maps.append(Operation("map", f"{op.name}.{side}", (code,), (whole,), {}, body))
        sums = self.graph.add_value(
            f"{op.name}.sums", self.graph.values[op.output].shape, "float32"
        )
        ratio = np.float32(np.float32(left[1].scale * right[1].scale) / target.scale)
        expression = round_and_clamp(apply("mul", Ref(0), Const(float(ratio))), target)
        return [
            *maps,
            replace(op, inputs=tuple(m.output for m in maps), outputs=(sums,)),
            Operation("map", f"{op.name}.codes", (sums,), (quantize.output,), {}, expression),
        ]

    def _global_average(
        self, op: Operation, quantize: Operation, target: Quantisation
    ) -> Operation | None:
        source = self.source(op.inputs[0])
        if source is None:
            return None
        x, quantisation = source
        spatial = self.graph.values[x].shape[2:]
        if len(spatial) not in (1, 2):
            return None
        count = int(np.prod(spatial))
        centred: Expr = ACCUMULATOR
        if quantisation.zero:
            centred = apply("sub", centred, Const(count * quantisation.zero, "int32"))
        factor = np.float32(quantisation.scale / np.float32(target.scale * np.float32(count)))
        real = apply("mul", apply("to_float", centred), Const(float(factor)))
        attributes = {**op.attributes, "kernel_shape": spatial, "mode": "sum"}
        expression = round_and_clamp(real, target)
        return Operation(
            "pooling", op.name, (x,), (quantize.output,), attributes, expression, anchors=1
        )

    def _average(
        self, op: Operation, quantize: Operation, target: Quantisation
    ) -> list[Operation] | None:
        """The mean of reals, as onnxruntime computes it: a sum of integers has other ties."""
        if self.source(op.inputs[0]) is None:
            return None
        mean = self.graph.add_value(
            f"{op.name}.mean", self.graph.values[op.output].shape, "float32"
        )
        level = apply("div", Ref(0), Const(float(target.scale)))
        shifted = apply("add", level, Const(float(target.zero)))
        expression = round_shifted(shifted, target.dtype)
        codes = Operation("map", f"{op.name}.codes", (mean,), (quantize.output,), {}, expression)
        return [replace(op, outputs=(mean,)), codes]

    def move(self, op: Operation, quantize: Operation, target: Quantisation) -> Operation | None:
        """The same operator on the integers, where both sides are quantised alike."""
        count = len(op.inputs) if op.kind == "Concat" else 1
        sources = [self.source(name) for name in op.inputs[:count]]
        if any(s is None or s[1] != target for s in sources):
            return None
        moved = tuple(s[0] for s in sources if s)
        return replace(op, inputs=moved + op.inputs[count:], outputs=(quantize.output,))
