"""Quantised arithmetic without floats: what integer.py forms, with fixed-point factors behind the sums.

    convolution, matrix product   y = clamp(R(acc, sx sw[c] / sy) + zy)
    addition                      y = clamp((a ma + b mb + c) >> s),  ma = rint(2^s sa / sy), c holds the zero points
    multiplication                y = clamp(R((a - za) (b - zb), sa sb / sy) + zy)
    average pooling               y = clamp(R(sum x - n zx, sx / (n sy)) + zy)
    a code of another scale       y = clamp(R(x - zx, sx / sy) + zy)
    any other unary operator      a table of 256 codes
    softmax                       p = floor(2^24 e / sum e) / 2^24 by a table of powers of two
    quantising a real             y = clamp(R(trunc(2^k x), 2^-k / sy) + zy)
    a real of a code or a sum     an integer times a power of two

R(a, r) multiplies by a factor of 16 bits and rounds to nearest, halves up; docs/fixed-point.md has every number.
A Relu or Clip before a quantiser limits codes instead of reals, which is the same. What has no such form stays float.
"""

import math
from dataclasses import replace

import numpy as np
from budgetc_targets.expression import ACCUMULATOR, Const, Expr, Ref, apply

from budgetc.baseline import make_session
from budgetc.lower.activations import as_expression
from budgetc.lower.fixed_point import (
    bounded,
    fits,
    moved,
    plus,
    rescaled,
    shifted,
    word,
    words,
)
from budgetc.lower.graph import Array, Graph, Operation, Value
from budgetc.lower.hoisting import MOVES
from budgetc.lower.integer import Former
from budgetc.lower.integer_products import PRODUCTS
from budgetc.lower.quantisation import BYTES, LIMITS, Quantisation, centre, quantisation_of

_CODES = 255
"""No code is further from its zero point."""
_WHOLE_BITS = 28
"""Bits of the largest sum that is handed out as a real."""
_REAL_BITS = 22
"""Bits of the scale by which codes become reals; with those of a code they fit 31."""
_LOG_BITS = 16
"""Bits behind the point of the exponents of a softmax."""
PARTS_BITS = 24
"""Bits behind the point of what a softmax gives, which a float holds exactly."""
_INPUT_BITS = 15
"""A real is taken in units of its scale's power of two, this far to the right."""
_NORMAL = 100
"""Exponents of a float within which no result here leaves the normal numbers."""


def form_fixed_point_operations(graph: Graph) -> None:
    """Rewrite the graph in place."""
    _limit_codes(graph)
    _FixedFormer(graph).run()
    _finish(graph)
    graph.remove_dead()


def _limit_codes(graph: Graph) -> None:
    """Take Relu and Clip in front of a quantiser into the limits of its codes."""
    producers, uses = graph.producers(), graph.uses()
    for position, original in enumerate(graph.operations):
        op = original
        target = quantisation_of(op, graph) if op.kind == "QuantizeLinear" else None
        if target is None or target.dtype not in BYTES:
            continue
        low, high = LIMITS[target.dtype]
        while (inner := producers.get(op.inputs[0])) is not None:
            limits = _limits_of(inner, graph)
            if limits is None or uses[inner.output] != 1:
                break
            low, high = (int(np.clip(_code(r, target), low, high)) for r in limits)
            op = replace(op, inputs=(inner.inputs[0], *op.inputs[1:]))
        if op is not original:
            graph.operations[position] = replace(
                op, attributes={**op.attributes, "limits": (low, high)}
            )
    graph.remove_dead()


def _limits_of(op: Operation, graph: Graph) -> tuple[float, float] | None:
    """What a Relu or a Clip by constants limits reals to."""
    if op.kind == "Relu":
        return 0.0, math.inf
    if op.kind != "Clip":
        return None
    limits = []
    for position, (attribute, neutral) in enumerate((("min", -math.inf), ("max", math.inf)), 1):
        name = op.inputs[position] if len(op.inputs) > position else ""
        if name and name not in graph.constants:
            return None
        given = graph.constants[name].item() if name else op.attributes.get(attribute, neutral)
        limits.append(float(given))
    return (limits[0], limits[1]) if limits[0] <= limits[1] else None


def _code(real: float, target: Quantisation) -> float:
    return float(np.floor(real / float(target.scale) + 0.5) + target.zero)


class _FixedFormer(Former):
    """Forms the same operations as integer.py, and some that computing in float would not pay for."""

    def __init__(self, graph: Graph) -> None:
        super().__init__(graph)
        self.formers = {
            **self.formers,
            "Add": self._sum,
            "Mul": self._product_of_two,
            "GlobalAveragePool": self._pooled,
            "AveragePool": self._pooled,
            "DequantizeLinear": self._recoded,
        }

    def form_open(self, op: Operation) -> list[Operation] | None:
        """The sum as a real: a multiple of a power of two that all filters share."""
        parts = self.products.parts(op)
        if parts is None or len(parts[2]) > 1:
            return None
        (*_, last), scales, _, _ = parts
        bound = _largest_sum(last)
        unit = _WHOLE_BITS - math.frexp(bound * float(scales.max()))[1]
        ended = self._ended(op, last, np.ldexp(scales.astype(np.float64), unit))
        if ended is None or not _normal(-unit):
            return None
        whole = self.graph.add_value(
            f"{op.name}.whole", self.graph.values[op.output].shape, "int32"
        )
        real = apply("from_fixed", Ref(0), Const(-unit, "int32"))
        made = Operation("map", f"{op.name}.real", (whole,), (op.output,), {"unit": -unit}, real)
        return [replace(ended, outputs=(whole,)), made]

    def form(self, op: Operation, end: Operation) -> list[Operation] | None:
        """The operation up to its codes."""
        if end.kind == "Cast":
            return super().form(op, end)
        target = quantisation_of(end, self.graph)
        if target is None or target.dtype not in BYTES:
            return None
        if op.kind in PRODUCTS:
            return self._product(op, end, target)
        moves = op.kind in MOVES or op.kind == "Concat"
        if moves and end.attributes.get("limits"):
            return None
        formed = self.formers.get(op.kind, self._looked_up)(op, end, target)
        return [formed] if formed else None

    def _product(
        self, op: Operation, end: Operation, target: Quantisation
    ) -> list[Operation] | None:
        parts = self.products.parts(op)
        if parts is None:
            return None
        (*before, last), scales, inputs, total = parts
        ratios = scales.astype(np.float64) / np.float64(target.scale)
        ended = self._ended(op, last, ratios, inputs, total)
        if ended is None or ended.expression is None:
            return None
        codes = _clamped(ended.expression, end, target)
        return [*before, replace(ended, outputs=(end.output,), expression=codes)]

    def _ended(
        self,
        op: Operation,
        last: Operation,
        ratios: Array,
        inputs: tuple[str, ...] | None = None,
        total: Expr = ACCUMULATOR,
    ) -> Operation | None:
        """A product whose sum is multiplied by a factor for each filter; None where that needs too many bits."""
        inputs = inputs or last.inputs
        left = moved(float(ratios.max()))
        bound = _largest_sum(last) if total == ACCUMULATOR else float(1 << 31)
        if left and not fits(bound, left):
            return None
        ratios = np.ldexp(ratios, -left)
        factor: Expr = word(float(ratios[0]))
        if (ratios != ratios[0]).any():
            shape = [1] * len(self.graph.values[op.output].shape)
            shape[1 if op.kind == "Conv" else -1] = ratios.size
            name = self.graph.add_constant(f"{op.name}.factors", words(ratios).reshape(shape))
            inputs = (*inputs, name)
            factor = Ref(len(inputs) - 1)
        expression = apply("rescale", shifted(total, left), factor)
        return replace(last, name=op.name, inputs=inputs, expression=expression)

    def _sum(self, op: Operation, end: Operation, target: Quantisation) -> Operation | None:
        left, right = self.source(op.inputs[0]), self.source(op.inputs[1])
        if left is None or right is None:
            return None
        ratios = [float(q.scale) / float(target.scale) for _, q in (left, right)]
        # Both products, their zero points, the sum's own zero point and a half, in whatever order.
        bits = 31 - math.frexp(2 * _CODES * sum(ratios) + _CODES + 2)[1]
        if bits < 1:
            return None
        factors = [round(math.ldexp(r, bits)) for r in ratios]
        fixed = (target.zero << bits) + (1 << (bits - 1))
        fixed -= sum(f * q.zero for f, (_, q) in zip(factors, (left, right), strict=True))
        terms = [apply("mul", Ref(i), Const(f, "int32")) for i, f in enumerate(factors)]
        total = apply("add", apply("add", terms[0], Const(fixed, "int32")), terms[1])
        level = apply("shift_right", total, Const(bits, "int32"))
        return _map(op, (left[0], right[0]), end, bounded(level, *_limits(end, target)))

    def _product_of_two(
        self, op: Operation, end: Operation, target: Quantisation
    ) -> Operation | None:
        left, right = self.source(op.inputs[0]), self.source(op.inputs[1])
        if left is None or right is None:
            return self._looked_up(op, end, target)
        product = apply("mul", centre(Ref(0), left[1]), centre(Ref(1), right[1]))
        ratio = float(left[1].scale) * float(right[1].scale) / float(target.scale)
        level = rescaled(product, ratio, _CODES * _CODES)
        if level is None:
            return None
        return _map(op, (left[0], right[0]), end, _clamped(level, end, target))

    def _pooled(self, op: Operation, end: Operation, target: Quantisation) -> Operation | None:
        source = self.source(op.inputs[0])
        padded = any(op.attributes.get("pads", ())) or op.attributes.get("ceil_mode", 0)
        padded = padded or op.attributes.get("auto_pad", "NOTSET").startswith("SAME")
        if source is None or padded:
            return None
        x, quantisation = source
        spatial = self.graph.values[x].shape[2:]
        if len(spatial) not in (1, 2):
            return None
        window = tuple(op.attributes.get("kernel_shape", spatial))
        count = math.prod(window)
        total = plus(ACCUMULATOR, -count * quantisation.zero)
        ratio = float(quantisation.scale) / (count * float(target.scale))
        level = rescaled(total, ratio, _CODES * count)
        if level is None:
            return None
        attributes = {**op.attributes, "kernel_shape": window, "mode": "sum"}
        expression = _clamped(level, end, target)
        return Operation("pooling", op.name, (x,), (end.output,), attributes, expression, 1)

    def _recoded(self, op: Operation, end: Operation, target: Quantisation) -> Operation | None:
        source = self.source(op.output)
        if source is None:
            return None
        name, quantisation = source
        ratio = float(quantisation.scale) / float(target.scale)
        level = rescaled(centre(Ref(0), quantisation), ratio, _CODES)
        if level is None:
            return None
        return _map(op, (name,), end, _clamped(level, end, target))

    def _looked_up(self, op: Operation, end: Operation, target: Quantisation) -> Operation | None:
        """A table of what the operator makes of each code."""
        computed = [n for n in op.inputs if n and n not in self.graph.constants]
        source = self.source(computed[0]) if len(set(computed)) == 1 else None
        single = all(
            self.graph.constants[n].size == 1 for n in op.inputs if n and n not in computed
        )
        if source is None or not single or as_expression(op, self.graph) is None:
            return None
        name, quantisation = source
        codes = np.arange(256)
        if quantisation.dtype == "int8":
            codes = (codes + 128) % 256 - 128  # in the order of their bytes
        reals = ((codes - quantisation.zero) * np.float32(quantisation.scale)).astype(np.float32)
        made = _evaluated(op, self.graph, computed[0], reals)
        with np.errstate(all="ignore"):
            levels = np.floor(made.astype(np.float64) / float(target.scale) + 0.5) + target.zero
        low, high = _limits(end, target)
        table = np.clip(np.nan_to_num(levels), low, high).astype(target.dtype)
        attributes = {"table": table, "operator": op.kind}
        return Operation("lookup", op.name, (name,), (end.output,), attributes)


def _evaluated(op: Operation, graph: Graph, name: str, reals: Array) -> Array:
    """What an elementwise operator makes of some reals in place of an input."""
    row = Value(reals.shape, "float32")
    alone = replace(graph, values={**graph.values, name: row, op.output: row})
    session = make_session(alone.node_model(op).SerializeToString(), optimisation="none")
    return session.run({name: reals})[op.output].reshape(-1)


def _finish(graph: Graph) -> None:
    """Softmax, and what goes between reals and codes."""
    producers = graph.producers()
    operations: list[Operation] = []
    for op in graph.operations:
        formed: list[Operation] | None = None
        if op.kind == "Softmax":
            formed = _softmax(op, graph, producers)
        elif op.kind == "QuantizeLinear":
            formed = _quantised(op, graph)
        elif op.kind == "DequantizeLinear" and op.inputs[0] not in graph.constants:
            formed = _real(op, graph)
        operations += formed or [op]
    graph.operations = operations


def _softmax(
    op: Operation, graph: Graph, producers: dict[str, Operation]
) -> list[Operation] | None:
    """Of codes of one scale, or of sums; its parts of one as integers, and then as reals."""
    behind = producers.get(op.inputs[0])
    if behind is None:
        return None
    unit: float | None = None
    if "unit" in behind.attributes:
        unit = math.ldexp(1.0, behind.attributes["unit"])
    elif behind.kind == "DequantizeLinear":
        quantisation = quantisation_of(behind, graph)
        unit = float(quantisation.scale) if quantisation and quantisation.dtype in BYTES else None
    shape = graph.values[op.output].shape
    if unit is None or not shape:
        return None
    axis = op.attributes.get("axis", -1 if graph.opset >= 13 else 1) % len(shape)
    if graph.opset < 13 and any(n != 1 for n in shape[axis + 1 :]):
        return None
    exponent = math.ldexp(unit / math.log(2.0), _LOG_BITS)
    left = moved(exponent)
    if not fits(1, left + 1):
        return None
    parts = graph.add_value(f"{op.name}.parts", shape, "int32")
    attributes = {
        "axis": axis,
        "left": left,
        "word": int(word(math.ldexp(exponent, -left)).value),
        "operator": op.kind,
    }
    whole = Operation("integer-softmax", op.name, behind.inputs[:1], (parts,), attributes)
    real = apply("from_fixed", Ref(0), Const(-PARTS_BITS, "int32"))
    return [whole, Operation("map", f"{op.name}.real", (parts,), op.outputs, {}, real)]


def _quantised(op: Operation, graph: Graph) -> list[Operation] | None:
    """A real to a code: first to an integer in units of a power of two, which keeps 15 bits below a level."""
    target = quantisation_of(op, graph)
    if target is None or target.dtype not in BYTES or not _normal(math.frexp(target.scale)[1]):
        return None
    unit = _INPUT_BITS + 1 - math.frexp(float(target.scale))[1]
    whole = apply("to_fixed", Ref(0), Const(unit, "int32"))
    ratio = math.ldexp(1.0, -unit) / float(target.scale)
    level = apply("rescale", whole, word(ratio))
    return [_map(op, op.inputs[:1], op, _clamped(level, op, target))]


def _real(op: Operation, graph: Graph) -> list[Operation] | None:
    """A code to the real that it stands for, with a scale of 22 bits."""
    source = quantisation_of(op, graph)
    if source is None or source.dtype not in BYTES or not _normal(math.frexp(source.scale)[1]):
        return None
    unit = math.frexp(float(source.scale))[1] - _REAL_BITS
    scale = round(math.ldexp(float(source.scale), -unit))
    whole = apply("mul", centre(Ref(0), source), Const(scale, "int32"))
    expression = apply("from_fixed", whole, Const(unit, "int32"))
    return [Operation("map", op.name, op.inputs[:1], op.outputs, {}, expression)]


def _normal(exponent: int) -> bool:
    """Whether reals of about that power of two are far from the smallest and the largest."""
    return abs(exponent) <= _NORMAL


def _largest_sum(op: Operation) -> float:
    """What the magnitude of an accumulator never exceeds."""
    weight, bias = op.attributes["weight"], op.attributes["bias"]
    along = 0 if op.kind == "convolution" else weight.ndim - 1
    others = tuple(i for i in range(weight.ndim) if i != along)
    sums = np.abs(weight.astype(np.int64)).sum(axis=others)
    return float(max(1, (np.abs(bias.astype(np.int64)) + _CODES * sums).max()))


def _limits(end: Operation, target: Quantisation) -> tuple[int, int]:
    low, high = end.attributes.get("limits", LIMITS[target.dtype])
    return low, high


def _clamped(level: Expr, end: Operation, target: Quantisation) -> Expr:
    """A level as the code that a quantiser makes of it."""
    return bounded(plus(level, target.zero), *_limits(end, target))


def _map(op: Operation, inputs: tuple[str, ...], end: Operation, expression: Expr) -> Operation:
    return Operation("map", op.name, inputs, (end.output,), {}, expression)
