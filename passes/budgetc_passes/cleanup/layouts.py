"""Which operators can work on tensors whose axes are permuted, and what each must change for it.

A permutation q stands for x' = transpose(x, q): axis i of x' is axis q[i] of x. An operator follows
q if, rewritten, it computes transpose(y, q) from transpose(x, q); or y itself, where y has no axes
left that q could move ("a sink").
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from budgetc_passes.graph import (
    add_initializer,
    constant,
    dims,
    graph_of,
    input_at,
    int_attribute,
    int_list,
    is_op,
    only_consumer,
    set_constant,
    set_ints,
)
from budgetc_passes.operators import ELEMENTWISE_NARY, ELEMENTWISE_UNARY, REDUCTIONS

Perm = tuple[int, ...]


def _anything(_: Perm) -> bool:
    return True


def _nothing(_: ir.Node, __: Perm) -> None:
    return None


@dataclass(frozen=True)
class Follower:
    """How one node follows a permutation.

    Attributes:
        data: indices of the inputs whose axes move.
        moves_output: whether the outputs' axes move as well; a sink's do not.
        accepts: whether the node can follow this permutation.
        adapt: changes the node's attributes and constants in place.
    """

    data: tuple[int, ...] = (0,)
    moves_output: bool = True
    accepts: Callable[[Perm], bool] = _anything
    adapt: Callable[[ir.Node, Perm], None] = _nothing


def moves_no_data(shape: Sequence[int], q: Perm) -> bool:
    """Whether q leaves the elements in their order in memory: it only moves axes of length 1."""
    order = [axis for axis in q if shape[axis] != 1]
    return order == sorted(order)


def follower(node: ir.Node, rank: int, version: int) -> Follower | None:
    """How the node follows permutations of tensors of a rank; None if it cannot.

    Args:
        node: any node of the main graph.
        rank: number of axes of the permuted tensors.
        version: the model's operator set.
    """
    if node.domain != "":
        return None
    found = _follower(node, rank, version)
    if found is None:
        return None
    moved = [input_at(node, at) for at in found.data]
    dynamic = [value for value in moved if value is not None and constant(value) is None]
    outputs = list(node.outputs) if found.moves_output else []
    if not dynamic or any(len(dims(value) or ()) != rank for value in (*dynamic, *outputs)):
        return None
    return found


def _follower(node: ir.Node, rank: int, version: int) -> Follower | None:
    op = node.op_type
    if op in ELEMENTWISE_UNARY:
        return Follower()
    if op in ELEMENTWISE_NARY:
        return Follower(data=tuple(range(len(node.inputs))), adapt=_permute_constants)
    if op == "Concat":
        return Follower(data=tuple(range(len(node.inputs))), adapt=_concat)
    if op == "Split" or (op in ("Softmax", "LogSoftmax") and version >= 13):
        return Follower(adapt=_move_axis(0 if op == "Split" else -1))
    if op in ("QuantizeLinear", "DequantizeLinear"):
        return Follower(adapt=_move_axis(1))
    if op == "BatchNormalization" and len(node.outputs) == 1:
        return Follower(accepts=lambda q: q[1] == 1)
    if op in REDUCTIONS:
        return _reduction(node, rank)
    if op == "Pad" and (input_at(node, 3) is None or int_list(node, 3, "axes") is not None):
        return None if int_list(node, 1, "pads") is None else Follower(adapt=_pad)
    if op == "Slice":
        return _slice(node)
    if op == "Squeeze":
        return _squeeze(node, rank)
    if op in ("Reshape", "Flatten"):
        return _reshape(node)
    return None


def _axis(axis: int, q: Perm) -> int:
    """Where an axis, perhaps counted from the end, lies after q."""
    return q.index(axis % len(q))


def _permute_constants(node: ir.Node, q: Perm) -> None:
    for at, value in enumerate(node.inputs):
        array = constant(value)
        if array is None or array.size == 1:
            continue
        full = array.reshape((1,) * (len(q) - array.ndim) + array.shape)
        set_constant(node, at, full.transpose(q), "permuted")


def _concat(node: ir.Node, q: Perm) -> None:
    _permute_constants(node, q)
    _move_axis(0)(node, q)


def _move_axis(default: int) -> Callable[[ir.Node, Perm], None]:
    def adapt(node: ir.Node, q: Perm) -> None:
        axis = _axis(int_attribute(node, "axis", default), q)
        # Quantisation without an axis attribute may be older than the attribute, and per tensor.
        if "axis" in node.attributes or axis != default:
            scale = dims(input_at(node, 1))
            if not is_op(node, "QuantizeLinear", "DequantizeLinear") or scale not in ((), (1,)):
                node.attributes["axis"] = ir.AttrInt64("axis", axis)

    return adapt


def _set_int_list(node: ir.Node, index: int, attribute: str, values: Sequence[int]) -> None:
    if attribute in node.attributes:
        set_ints(node, attribute, values)
    else:
        stem = f"{node.outputs[0].name}.{attribute}"
        set_constant(node, index, np.array(values, np.int64), stem)


def _move_axes(index: int) -> Callable[[ir.Node, Perm], None]:
    def adapt(node: ir.Node, q: Perm) -> None:
        axes = int_list(node, index, "axes")
        if axes:
            _set_int_list(node, index, "axes", [_axis(axis, q) for axis in axes])

    return adapt


def _keeps_order_without(axes: Sequence[int]) -> Callable[[Perm], bool]:
    """Whether the axes that are left, when some are taken away, keep their order."""

    def accepts(q: Perm) -> bool:
        left = [axis for axis in q if axis not in {gone % len(q) for gone in axes}]
        return left == sorted(left)

    return accepts


def _reduction(node: ir.Node, rank: int) -> Follower | None:
    axes = int_list(node, 1, "axes")
    if axes is None and input_at(node, 1) is not None:
        return None
    if int_attribute(node, "keepdims", 1):
        return Follower(adapt=_move_axes(1))
    gone = axes or (() if int_attribute(node, "noop_with_empty_axes", 0) else range(rank))
    if not gone:
        return Follower()
    return Follower(moves_output=False, accepts=_keeps_order_without(gone), adapt=_move_axes(1))


def _squeeze(node: ir.Node, rank: int) -> Follower | None:
    axes = int_list(node, 1, "axes")
    shape = dims(node.inputs[0])
    if axes is None and (input_at(node, 1) is not None or shape is None or len(shape) != rank):
        return None
    gone = axes or [at for at, length in enumerate(shape or ()) if length == 1]
    return Follower(moves_output=False, accepts=_keeps_order_without(gone), adapt=_move_axes(1))


def _pad(node: ir.Node, q: Perm) -> None:
    amounts = int_list(node, 1, "pads") or ()
    if input_at(node, 3) is not None:
        _move_axes(3)(node, q)
        return
    half = len(amounts) // 2
    moved = [amounts[at] for at in q] + [amounts[half + at] for at in q]
    _set_int_list(node, 1, "pads", moved)


def _slice(node: ir.Node) -> Follower | None:
    starts = int_list(node, 1, "starts")
    if starts is None or (input_at(node, 3) is not None and int_list(node, 3, "axes") is None):
        return None

    def adapt(node: ir.Node, q: Perm) -> None:
        axes = int_list(node, 3, "axes") or tuple(range(len(starts)))
        moved = [_axis(axis, q) for axis in axes]
        if "starts" in node.attributes:
            set_ints(node, "axes", moved)
        else:
            _set_int_list(node, 3, "axes", moved)

    return Follower(adapt=adapt)


def _reshape(node: ir.Node) -> Follower | None:
    """A Reshape of what is one vector in memory anyway, or of rows for weights that can follow."""
    before, after = dims(node.inputs[0]), dims(node.outputs[0])
    if before is None or after is None:
        return None
    products = _products_of_rows(node, before, after)

    def accepts(q: Perm) -> bool:
        return moves_no_data(before, q) or (bool(products) and q[0] == 0)

    def adapt(node: ir.Node, q: Perm) -> None:
        if not (is_op(node, "Flatten") and q[0] == 0 and int_attribute(node, "axis", 1) == 1):
            # Zeros and -1 in the target, and a Flatten's axis, refer to the old order.
            node.op_type = "Reshape"
            node.attributes.clear()
            node.resize_inputs(2)
            stem = f"{node.outputs[0].name}.shape"
            target = add_initializer(graph_of(node), stem, np.array(after, np.int64))
            node.replace_input_with(1, target)
        if moves_no_data(before, q):
            return
        flat = np.arange(np.prod(before[1:])).reshape(before[1:])
        order = flat.transpose([axis - 1 for axis in q[1:]]).reshape(-1)
        for product in products:
            weight = constant(product.inputs[1])
            if weight is None:
                message = f"BUG: the weights of {product.name} are not constant any more"
                raise TypeError(message)
            rows = 1 if int_attribute(product, "transB", 0) else 0
            set_constant(product, 1, weight.take(order, axis=rows), "weight")

    return Follower(moves_output=False, accepts=accepts, adapt=adapt)


def _products_of_rows(
    node: ir.Node, before: Sequence[int], after: Sequence[int]
) -> tuple[ir.Node, ...]:
    """The matrix products that read a tensor flattened to rows, if all their weights may change."""
    if len(after) != 2 or not before or after[0] != before[0] or node.outputs[0].is_graph_output():
        return ()
    products = []
    for use in node.outputs[0].uses():
        product = use.node
        if use.idx != 0 or not is_op(product, "MatMul", "Gemm"):
            return ()
        weight = input_at(product, 1)
        if weight is None or constant(weight) is None or only_consumer(weight) is not product:
            return ()
        if len(dims(weight) or ()) != 2 or int_attribute(product, "transA", 0):
            return ()
        products.append(product)
    return tuple(products)
