"""Which positions along which axes of its tensors an operator ties together, channel by channel."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from budgetc_passes.graph import (
    constant,
    dims,
    input_at,
    int_attribute,
    int_list,
    ints_attribute,
    is_op,
)
from budgetc_passes.operators import ELEMENTWISE_NARY, ELEMENTWISE_UNARY, REDUCTIONS


class Use(NamedTuple):
    """One use of a constant vector: equal vectors may be shared, and other uses do not bind it."""

    node: ir.Node
    at: int


Holder = ir.Value | Use
"""What has axes: a tensor or a use of a vector."""

Axis = tuple[Holder, int]

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Relation:
    """Axes that an operator ties: row c of each array holds the positions of channel c."""

    members: tuple[tuple[Axis, Positions], ...]


def positive(axis: Axis) -> Axis:
    """The axis counted from the front."""
    holder, at = axis
    rank = len(_dims(holder) or ())
    return (holder, at % rank if rank else at)


def length(holder: Holder, axis: int) -> int:
    """How many positions an axis of known length has; it may be counted from the back."""
    return (_dims(holder) or ())[axis]


def _dims(holder: Holder) -> tuple[int, ...] | None:
    return dims(holder if isinstance(holder, ir.Value) else holder.node.inputs[holder.at])


def _same(*axes: Axis) -> Relation:
    """Position c of every axis stands for channel c."""
    axes = tuple(positive(axis) for axis in axes)
    holder, at = axes[0]
    identity = np.arange((_dims(holder) or ())[at], dtype=np.int64).reshape(-1, 1)
    return Relation(tuple((axis, identity) for axis in axes))


def _operand(node: ir.Node, index: int) -> Holder | None:
    """An input as a holder: vectors that are constant belong to this use alone."""
    value = input_at(node, index)
    if value is None:
        return None
    array = constant(value) if value.is_initializer() else None
    vector = array is not None and array.size == max(array.shape, default=1)
    return Use(node, index) if vector else value


def _operands(node: ir.Node, *indices: int) -> list[Holder]:
    return [holder for index in indices if (holder := _operand(node, index)) is not None]


def relations_of(node: ir.Node, reached: set[Axis]) -> list[Relation]:
    """The relations of one node; an axis in none of them is mixed in a way not known here.

    Args:
        node: any node.
        reached: axes known to be channels: where several axes become one, they tell which counts.
    """
    rule = _RULES.get(node.op_type) if node.domain == "" else None
    known = all(v is None or dims(v) is not None for v in (*node.inputs, *node.outputs[:1]))
    return [] if rule is None or not known else rule(node, reached)


def _conv(node: ir.Node, _: set[Axis]) -> list[Relation]:
    x, out, weight, bias = node.inputs[0], node.outputs[0], node.inputs[1], _operands(node, 2)
    shape, group = dims(node.inputs[1]) or (), int_attribute(node, "group", 1)
    if x is None or weight is None:
        return []
    made: list[Axis] = [(out, 1), (weight, 0), *((b, 0) for b in bias)]
    if group == 1:
        return [_same(*made), _same((x, 1), (weight, 1))]
    if shape[0] % group or group * shape[1] != (dims(x) or ())[1]:
        return []  # not what ONNX allows
    several = np.arange(shape[0], dtype=np.int64).reshape(group, -1)
    if shape[1] == 1:
        identity = np.arange(group, dtype=np.int64).reshape(-1, 1)
        return [Relation((((x, 1), identity), *((axis, several) for axis in made)))]
    # Groups stay equally wide: what is first in one of them goes with the first of all others.
    read = np.arange(group * shape[1], dtype=np.int64).reshape(group, -1).T
    rows = np.arange(shape[1], dtype=np.int64).reshape(-1, 1)
    return [
        Relation(tuple((axis, several.T) for axis in made)),
        Relation((((x, 1), read), ((weight, 1), rows))),
    ]


def _conv_transpose(node: ir.Node, _: set[Axis]) -> list[Relation]:
    x, weight = node.inputs[0], node.inputs[1]
    if x is None or weight is None or int_attribute(node, "group", 1) != 1:
        return []
    bias: list[Axis] = [(b, 0) for b in _operands(node, 2)]
    return [_same((node.outputs[0], 1), (weight, 1), *bias), _same((x, 1), (weight, 0))]


def _gemm(node: ir.Node, _: set[Axis]) -> list[Relation]:
    x, weight = node.inputs[0], node.inputs[1]
    if x is None or weight is None:
        return []
    rows = 1 if int_attribute(node, "transB", 0) else 0
    columns = (dims(node.outputs[0]) or ())[1]
    bias: list[Axis] = [(b, -1) for b in _operands(node, 2) if (_dims(b) or (1,))[-1] == columns]
    inner = 0 if int_attribute(node, "transA", 0) else 1
    return [
        _same((node.outputs[0], 1), (weight, 1 - rows), *bias),
        _same((x, inner), (weight, rows)),
    ]


def _matmul(node: ir.Node, _: set[Axis]) -> list[Relation]:
    x, weight, out = node.inputs[0], node.inputs[1], node.outputs[0]
    if x is None or weight is None or len(_dims(weight) or ()) != 2 or len(dims(x) or ()) < 2:
        return []
    leading = [_same((x, at), (out, at)) for at in range(len(dims(x) or ()) - 1)]
    return [_same((out, -1), (weight, 1)), _same((x, -1), (weight, 0)), *leading]


def _normalisation(node: ir.Node, _: set[Axis]) -> list[Relation]:
    x, out = node.inputs[0], node.outputs[0]
    if x is None:
        return []
    numbers: list[Axis] = [(holder, 0) for holder in _operands(node, 1, 2, 3, 4)]
    return [_same((x, 1), (out, 1), *numbers)]


def _elementwise(node: ir.Node, _: set[Axis]) -> list[Relation]:
    count = len(node.inputs) if node.op_type in ELEMENTWISE_NARY else 1
    out = node.outputs[0]
    shape = dims(out) or ()
    relations = []
    for at, length in enumerate(shape):
        axes: list[Axis] = [(value, at) for value in node.outputs]
        for holder in _operands(node, *range(count)):
            other = _dims(holder) or ()
            own = at - len(shape) + len(other)
            if own >= 0 and other[own] == length:
                axes.append((holder, own))
        relations.append(_same(*axes))
    return relations


def _channels_only(node: ir.Node, _: set[Axis]) -> list[Relation]:
    x = node.inputs[0]
    # A resize by target sizes names the number of channels, which would be wrong afterwards.
    if x is None or (is_op(node, "Resize") and input_at(node, 3) is not None):
        return []
    same = (dims(x) or ())[1] == (dims(node.outputs[0]) or ())[1]
    return [_same((x, 1), (node.outputs[0], 1))] if same else []


def _concat(node: ir.Node, _: set[Axis]) -> list[Relation]:
    out = node.outputs[0]
    rank = len(dims(out) or ())
    joined = int_attribute(node, "axis", 0) % rank
    holders = _operands(node, *range(len(node.inputs)))
    relations = [
        _same((out, at), *((holder, at) for holder in holders))
        for at in range(rank)
        if at != joined
    ]
    offset = 0
    for holder in holders:
        own = np.arange((_dims(holder) or ())[joined], dtype=np.int64).reshape(-1, 1)
        relations.append(Relation((((holder, joined), own), ((out, joined), own + offset))))
        offset += len(own)
    return relations


def _transpose(node: ir.Node, _: set[Axis]) -> list[Relation]:
    x = node.inputs[0]
    perm = ints_attribute(node, "perm", range(len(dims(x) or ()))[::-1])
    return [] if x is None else [_same((node.outputs[0], at), (x, a)) for at, a in enumerate(perm)]


def _untouched(node: ir.Node, _: set[Axis]) -> list[Relation]:
    """Reductions, Pad and Slice: the axes that they leave alone."""
    x, out = node.inputs[0], node.outputs[0]
    before, after = dims(x) or (), dims(out) or ()
    if x is None:
        return []
    touched = set(range(len(before)))
    if is_op(node, "Pad"):
        amounts = int_list(node, 1, "pads")
        if amounts is not None and input_at(node, 3) is None:
            half = len(before)
            touched = {at for at in touched if amounts[at] or amounts[at + half]}
    elif is_op(node, "Slice"):
        axes = int_list(node, 3, "axes")
        starts = int_list(node, 1, "starts")
        if axes is not None:
            touched = {axis % len(before) for axis in axes}
        elif starts is not None and input_at(node, 3) is None:
            touched = set(range(len(starts)))
    else:
        axes = int_list(node, 1, "axes")
        touched = {axis % len(before) for axis in axes} if axes else touched
    left = [at for at in range(len(before)) if at not in touched]
    if len(after) == len(before):
        return [_same((x, at), (out, at)) for at in left]
    return [_same((x, at), (out, new)) for new, at in enumerate(left)]


def _regroup(node: ir.Node, reached: set[Axis]) -> list[Relation]:
    """Reshape and its kin: axes that stay, and axes that are drawn together into one."""
    x, out = node.inputs[0], node.outputs[0]
    if x is None or (is_op(node, "Reshape") and constant(node.inputs[1]) is None):
        return []
    relations = []
    for mine, theirs in _blocks(dims(x) or (), dims(out) or ()):
        if len(theirs) != 1 or not mine:
            continue
        if len(mine) == 1:
            relations.append(_same((x, mine[0]), (out, theirs[0])))
            continue
        # Only one of the axes can be the channels, and whoever came here knows which.
        candidates = [at for at in mine if (x, at) in reached]
        if len(candidates) != 1:
            continue
        lengths = [(dims(x) or ())[at] for at in mine]
        flat = np.arange(np.prod(lengths), dtype=np.int64).reshape(lengths)
        columns = np.moveaxis(flat, mine.index(candidates[0]), 0)
        columns = columns.reshape(columns.shape[0], -1)
        own = np.arange(len(columns), dtype=np.int64).reshape(-1, 1)
        relations.append(Relation((((x, candidates[0]), own), ((out, theirs[0]), columns))))
    return relations


def _blocks(before: Sequence[int], after: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Shortest runs of axes of either shape that hold the same elements; axes of length 1 aside."""
    mine = [at for at, length in enumerate(before) if length != 1]
    theirs = [at for at, length in enumerate(after) if length != 1]
    while mine and theirs:
        left, right = [mine.pop(0)], [theirs.pop(0)]
        a, b = before[left[0]], after[right[0]]
        while a != b:
            if a < b and mine:
                left.append(mine.pop(0))
                a *= before[left[-1]]
            elif theirs:
                right.append(theirs.pop(0))
                b *= after[right[-1]]
            else:
                return
        yield left, right


_RULES: Mapping[str, Callable[[ir.Node, set[Axis]], list[Relation]]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _normalisation,
    "InstanceNormalization": _normalisation,
    "Concat": _concat,
    "Transpose": _transpose,
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), _regroup),
    **dict.fromkeys(("Pad", "Slice", *REDUCTIONS), _untouched),
    **dict.fromkeys((*ELEMENTWISE_UNARY, *ELEMENTWISE_NARY), _elementwise),
    **dict.fromkeys(
        ("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Resize", "Upsample"),
        _channels_only,
    ),
}
