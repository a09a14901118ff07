"""Which operators have an integer form, what part their inputs play, and why a node has none."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from budgetc_passes.graph import float_attribute, int_attribute

Kind = Literal["anchor", "recurrent", "rider", "activation", "carrier"]
"""How a node comes to be quantised.

An anchor (the products) always is. So is a recurrent layer, but for its states and results, which
stay float: its input arrives in integers, and its weights are stored as such. A rider is where one
of its inputs arrives in integers. So is an activation, if anything behind it wants integers. A
carrier only moves values: it is where its input arrives in integers or where its result is wanted
so, and its result has the code of its input.
"""

KINDS: dict[str, Kind] = {
    "Conv": "anchor",
    "Gemm": "anchor",
    "MatMul": "anchor",
    "LSTM": "recurrent",
    "GRU": "recurrent",
    "RNN": "recurrent",
    "Add": "rider",
    "Mul": "rider",
    "AveragePool": "rider",
    "GlobalAveragePool": "rider",
    "Relu": "activation",
    "Clip": "activation",
    "PRelu": "activation",
    "LeakyRelu": "activation",
    "HardSwish": "activation",
    "HardSigmoid": "activation",
    "Sigmoid": "activation",
    "Tanh": "activation",
    "MaxPool": "carrier",
    "Reshape": "carrier",
    "Flatten": "carrier",
    "Transpose": "carrier",
    "Squeeze": "carrier",
    "Unsqueeze": "carrier",
    "Pad": "carrier",
    "Slice": "carrier",
    "Concat": "carrier",
}

REASONS = {
    "Softmax": "probabilities lose too much in 256 even steps",
    "LogSoftmax": "log probabilities lose too much in 256 even steps",
    "BatchNormalization": "no integer form; run `fuse` first, which folds it into a product",
}


@dataclass(frozen=True)
class Role:
    """What the inputs of a quantisable node are, by index.

    Attributes:
        activations: inputs that arrive as u8.
        constants: constant inputs to be stored as u8 like activations.
        weight: the input to be stored as s8, or None.
        bias: the input to be stored as s32, or None.
        channel_axis: the axis of the weight that has a scale an element; None: one scale for all.
        state_weight: the input that multiplies what the node keeps in float, to be stored as s8 as
            well, or None.
    """

    activations: tuple[int, ...]
    constants: tuple[int, ...] = ()
    weight: int | None = None
    bias: int | None = None
    channel_axis: int | None = None
    state_weight: int | None = None


def kind_of(node: ir.Node) -> Kind | None:
    """How the node comes to be quantised; None for an operator without an integer form."""
    return KINDS.get(node.op_type) if node.domain == "" else None


def role_of(node: ir.Node) -> Role | str:
    """The parts of the node's inputs, or the reason why the node has no integer form."""
    if kind_of(node) is None:
        return REASONS.get(node.op_type, f"{node.op_type} has no integer form")
    if kind_of(node) == "recurrent":
        return _recurrent(node)
    if any(output.uses() or output.is_graph_output() for output in node.outputs[1:]):
        return "a result besides its first is used"
    if node.outputs[0].dtype != ir.DataType.FLOAT:
        return f"its result is {node.outputs[0].dtype}, not float32"
    if constant(node.inputs[0]) is not None and node.op_type not in {
        "Add",
        "Mul",
        "Concat",
        "MatMul",
    }:
        return "its input is constant; run `clean` first, which folds it"
    special = _ROLES.get(node.op_type)
    return Role((0,)) if special is None else special(node)


def constant(value: ir.Value | None) -> npt.NDArray[np.generic] | None:
    """The array of an initializer or Constant node; None for anything else."""
    if value is None or value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def clip_bounds(node: ir.Node) -> tuple[float, float] | None:
    """The interval that a Relu or a Clip with constant bounds limits to; None for others."""
    if node.op_type == "Relu":
        return 0.0, float("inf")
    if node.op_type != "Clip":
        return None
    bounds = [-float("inf"), float("inf")]
    for i, value in enumerate(node.inputs[1:3]):
        if value is not None:
            array = constant(value)
            if array is None:
                return None
            bounds[i] = float(array.reshape(()))
    return bounds[0], bounds[1]


def bias_vector(node: ir.Node, role: Role) -> npt.NDArray[np.float32] | None:
    """The bias of a Conv or Gemm as float32 `[channels]`, with Gemm's beta in it."""
    if role.bias is None:
        return None
    array = np.asarray(constant(node.inputs[role.bias]), np.float32)
    if node.op_type != "Gemm":
        return array
    channels = weight_array(node, role).shape[0 if int_attribute(node, "transB", 0) else 1]
    return np.broadcast_to(array.reshape(-1), (channels,)) * np.float32(
        float_attribute(node, "beta", 1)
    )


def weight_array(node: ir.Node, role: Role) -> npt.NDArray[np.float32]:
    """The weights of a Conv, Gemm or MatMul, with Gemm's alpha in them."""
    array = np.asarray(constant(node.inputs[role.weight or 0]), np.float32)
    return (
        array * np.float32(float_attribute(node, "alpha", 1)) if node.op_type == "Gemm" else array
    )


def _conv(node: ir.Node) -> Role | str:
    if constant(node.inputs[1]) is None:
        return "its weights are not constant"
    has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
    if has_bias and constant(node.inputs[2]) is None:
        return "its bias is not constant"
    return Role((0,), weight=1, bias=2 if has_bias else None, channel_axis=0)


def _gemm(node: ir.Node) -> Role | str:
    weight = constant(node.inputs[1])
    if weight is None:
        return "its weights are not constant"
    if int_attribute(node, "transA", 0):
        return "transA is set"
    axis = 0 if int_attribute(node, "transB", 0) else 1
    has_bias = len(node.inputs) > 2 and node.inputs[2] is not None
    if has_bias:
        bias = constant(node.inputs[2])
        if bias is None:
            return "its bias is not constant"
        if bias.size not in {1, weight.shape[axis]} or (bias.ndim == 2 and bias.shape[0] != 1):
            return f"its bias has shape {list(bias.shape)}, not one value a column"
    return Role((0,), weight=1, bias=2 if has_bias else None, channel_axis=axis)


def _matmul(node: ir.Node) -> Role | str:
    if constant(node.inputs[0]) is not None:
        return "its left operand is constant; only the right one may be"
    weight = constant(node.inputs[1])
    if weight is None:
        return Role((0, 1))
    return Role((0,), weight=1, channel_axis=1 if weight.ndim == 2 else None)


def _recurrent(node: ir.Node) -> Role | str:
    """W and R, a scale for each row of both directions; the results are not looked at: they stay float."""
    arrays = [constant(value) for value in node.inputs[:3]]
    if arrays[0] is not None:
        return "its input is constant; run `clean` first, which folds it"
    for array in arrays[1:]:
        if array is None:
            return "its weights are not constant"
        if array.dtype != np.float32:
            return f"its weights are {array.dtype}, not float32"
    return Role((0,), weight=1, channel_axis=1, state_weight=2)


def _elementwise(node: ir.Node) -> Role | str:
    constants = tuple(i for i, value in enumerate(node.inputs) if constant(value) is not None)
    activations = tuple(i for i in range(len(node.inputs)) if i not in constants)
    if not activations:
        return "all its inputs are constant; run `clean` first, which folds it"
    return Role(activations, constants)


def _clip(node: ir.Node) -> Role | str:
    return Role((0,)) if clip_bounds(node) is not None else "its bounds are not constant"


def _prelu(node: ir.Node) -> Role | str:
    return Role((0,)) if constant(node.inputs[1]) is not None else "its slope is not constant"


def _pad(node: ir.Node) -> Role | str:
    fill = node.inputs[2] if len(node.inputs) > 2 else None
    if fill is not None and constant(fill) is None:
        return "its fill value is not constant"
    return Role((0,))


_ROLES: dict[str, Callable[[ir.Node], Role | str]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Add": _elementwise,
    "Mul": _elementwise,
    "Concat": _elementwise,
    "Clip": _clip,
    "PRelu": _prelu,
    "Pad": _pad,
}
