"""The reference of libraries for cores without floats: the arithmetic of docs/fixed-point.md in numpy.

What a quantised graph computes there is no QDQ arithmetic of onnxruntime: factors have 16 bits, halves go up, and a
softmax is made of integers. Nothing here is written as kernels write it: numbers have 64 bits, convolutions are
products of matrices, floats are scaled by `ldexp`. What the graph leaves in float is onnxruntime's, node by node.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from budgetc_targets.expression import ACCUMULATOR, Apply, Const, Expr, Ref

from budgetc.baseline import Session, make_session
from budgetc.lower.fixed_forms import PARTS_BITS
from budgetc.lower.graph import Graph, Operation
from budgetc.lower.integer_code import POWERS, SLOPE, spare_bits
from budgetc.lower.lower import form
from budgetc.lower.windows import window_of

Array = npt.NDArray[Any]

_EXACT_F32 = 1 << 24
_LOWEST, _HIGHEST = -(2**31), 2**31 - 1


def rescale(a: Array, words: Array | np.int64) -> Array:
    """Integers times factors, each the word m + 65536 k of m / 2^(k + 17); to nearest, halves up."""
    mantissa, point = words & 0xFFFF, (words >> 16) + 17
    scaled: Array = (a * mantissa + (np.int64(1) << (point - 1))) >> point
    return scaled


def to_fixed(x: Array, unit: Array) -> Array:
    """Reals times 2^unit, toward zero, within s32; what is no number is beyond it on the side of its sign."""
    x = np.where(np.isnan(x), np.copysign(np.inf, x), x.astype(np.float64))
    whole = np.trunc(np.ldexp(x, unit.astype(np.int32)))
    return np.clip(whole, -_HIGHEST, _HIGHEST).astype(np.int64)


def from_fixed(a: Array, unit: Array) -> Array:
    """Integers times 2^unit as the nearest f32, ties to even."""
    return np.ldexp(a.astype(np.float64), unit.astype(np.int32)).astype(np.float32)


def softmax(x: Array, axis: int, left: int, word: int) -> Array:
    """Parts of one in units of 2^-24, of codes or sums whose exponents are moved to the left and rescaled by a word."""
    x = np.moveaxis(x.astype(np.int64), axis, -1)
    less = np.minimum(x.max(axis=-1, keepdims=True) - x, _HIGHEST >> left) << left
    t = rescale(less, np.int64(word))
    moved = (t >> 16) + spare_bits(x.shape[-1])
    fine = 32768 - ((t & 255) * SLOPE >> 16)
    e = np.where(moved > 31, 0, POWERS[t >> 8 & 255] * fine >> np.minimum(moved, 31))
    return np.moveaxis((e << PARTS_BITS) // e.sum(axis=-1, keepdims=True), -1, axis)


_FUNCTIONS: Mapping[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
    "shift_right": np.right_shift,
    "rescale": rescale,
    "to_fixed": to_fixed,
    "from_fixed": from_fixed,
}
"""Integers as s64: that they fit 32 bits is what lowering promises, and what differs where they do not."""


class FixedPointReference:
    """One model, run as its libraries for such cores compute it.

    Attributes:
        outputs: their names.
        whole: whether no float operator is left.
    """

    def __init__(self, data: bytes) -> None:
        """Form the operations of a self-contained model with static shapes.

        Raises:
            ModelError: the model has what no library can have.
        """
        self._graph = form(data, fixed_point=True)
        self._sessions: dict[str, Session] = {}
        self.outputs = self._graph.outputs
        self.whole = all(
            op.kind in _STEPS or _moves(op, self._graph) for op in self._graph.operations
        )

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """One inference: outputs by name.

        Raises:
            ModelError: onnxruntime fails at an operator that is left in float.
        """
        values: dict[str, Array] = {**self._graph.constants, **feed}
        for op in self._graph.operations:
            step = _STEPS.get(op.kind)
            if step is None:
                self._onnx(op, values)
                continue
            given = [values[name] for name in op.inputs]
            made = step(op, given, self._graph)
            value = self._graph.values[op.output]
            values[op.output] = np.broadcast_to(made, value.shape).astype(value.dtype)
        return {name: values[name] for name in self.outputs}

    def _onnx(self, op: Operation, values: dict[str, Array]) -> None:
        """An operator that has no form in integers, or moves them."""
        if op.outputs[0] not in self._sessions:
            model = self._graph.node_model(op).SerializeToString()
            self._sessions[op.outputs[0]] = make_session(model, optimisation="none")
        names = dict.fromkeys(n for n in op.inputs if n and n not in self._graph.constants)
        values |= self._sessions[op.outputs[0]].run({n: values[n] for n in names})


def _moves(op: Operation, graph: Graph) -> bool:
    """Whether no real number comes into an operator."""
    kinds = (np.dtype(graph.values[name].dtype).kind for name in (*op.inputs, *op.outputs) if name)
    return all(kind != "f" for kind in kinds)


def _evaluate(expression: Expr, operand: Callable[[int], Array]) -> Array:
    if isinstance(expression, Ref):
        value = operand(expression.index)
        return value if value.dtype.kind == "f" else value.astype(np.int64)
    if isinstance(expression, Const):
        return np.asarray(expression.value, np.int64)
    assert isinstance(expression, Apply)
    return _FUNCTIONS[expression.fn](*(_evaluate(a, operand) for a in expression.args))


def _map(op: Operation, given: Sequence[Array], graph: Graph) -> Array:
    del graph
    assert op.expression is not None
    return _evaluate(op.expression, given.__getitem__)


def _ended(op: Operation, given: Sequence[Array], accumulator: Array) -> Array:
    assert op.expression is not None
    return _evaluate(op.expression, lambda i: accumulator if i == ACCUMULATOR.index else given[i])


def _convolution(op: Operation, given: Sequence[Array], graph: Graph) -> Array:
    """The sum over a window, with the zero point where the window leaves the image."""
    weight: Array = op.attributes["weight"]
    shape = graph.values[op.output].shape
    window = window_of(op, given[0].shape, shape, weight.shape[2:])
    border = ((0, 0), (0, 0), *window.pads)
    x = np.pad(given[0], border, constant_values=op.attributes["border"])
    spatial = tuple(range(2, x.ndim))
    reach = [
        d * (k - 1) + 1 for d, k in zip(_of(window.dilation, x), weight.shape[2:], strict=True)
    ]
    steps = (
        slice(None),
        slice(None),
        *(slice(None, None, s) for s in _of(window.stride, x)),
        *(slice(None, None, d) for d in _of(window.dilation, x)),
    )
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, spatial)[steps]
    groups = op.attributes.get("group", 1)
    exact = np.float32 if _bound(weight) < _EXACT_F32 else np.float64
    per = weight.shape[0] // groups
    rows = math.prod(shape[2:]) * shape[0]
    seen = np.moveaxis(seen.reshape(shape[0], groups, -1, *seen.shape[2:]), 2, 1 + len(spatial) + 1)
    columns: Array = np.moveaxis(seen, 1, 0).reshape(groups, rows, -1).astype(exact, order="C")
    filters: Array = weight.reshape(groups, per, -1).transpose(0, 2, 1).astype(exact, order="C")
    sums = np.matmul(columns, filters).astype(np.int64).reshape(groups, shape[0], *shape[2:], per)
    ordered = np.moveaxis(sums, (0, -1), (1, 2)).reshape(shape)
    bias = op.attributes["bias"].astype(np.int64).reshape(-1, *[1] * len(spatial))
    return _ended(op, given, ordered + bias)


def _of(values: Sequence[int], x: Array) -> Sequence[int]:
    """Numbers for as many dimensions as there are."""
    return values[len(values) - (x.ndim - 2) :]


def _bound(weight: Array) -> int:
    """The largest magnitude of a sum of products by a filter, whose filters come first."""
    sums = np.abs(weight.astype(np.int64)).reshape(len(weight), -1).sum(axis=1)
    return 255 * int(sums.max())


def _product(op: Operation, given: Sequence[Array], graph: Graph) -> Array:
    del graph
    weight: Array = op.attributes["weight"]
    exact = np.float32 if _bound(weight.T) < _EXACT_F32 else np.float64
    sums = (given[0].astype(exact) @ weight.astype(exact)).astype(np.int64)
    return _ended(op, given, sums + op.attributes["bias"].astype(np.int64))


def _pooling(op: Operation, given: Sequence[Array], graph: Graph) -> Array:
    """The sum over a window that nothing pads."""
    kernel = tuple(op.attributes["kernel_shape"])
    window = window_of(op, given[0].shape, graph.values[op.output].shape, kernel)
    x = given[0].astype(np.int64)
    stride, dilation = _of(window.stride, x), _of(window.dilation, x)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, tuple(range(2, x.ndim)))
    steps = [slice(None), slice(None)]
    steps += [slice(None, None, n) for n in (*stride, *dilation)]
    inner = tuple(range(-len(kernel), 0))
    return _ended(op, given, seen[tuple(steps)].sum(axis=inner))


def _lookup(op: Operation, given: Sequence[Array], graph: Graph) -> Array:
    del graph
    table: Array = op.attributes["table"]
    return table[given[0].view(np.uint8)]


def _softmax(op: Operation, given: Sequence[Array], graph: Graph) -> Array:
    del graph
    return softmax(given[0], *(op.attributes[name] for name in ("axis", "left", "word")))


def _identity(op: Operation, given: Sequence[Array], graph: Graph) -> Array:
    del op, graph
    return given[0]


_STEPS: Mapping[str, Callable[[Operation, Sequence[Array], Graph], Array]] = {
    "Identity": _identity,
    "map": _map,
    "convolution": _convolution,
    "product": _product,
    "pooling": _pooling,
    "lookup": _lookup,
    "integer-softmax": _softmax,
}
