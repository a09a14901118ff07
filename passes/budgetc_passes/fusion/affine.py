"""Taking a scale and a shift of every output channel into the layer that computes them.

    s * (W x + b) + t  ->  (s W) x + (s b + t)

The arithmetic is done in double precision and rounded once, to the type of the weights.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from budgetc_passes.graph import (
    Array,
    constant,
    dims,
    float_attribute,
    input_at,
    int_attribute,
    is_op,
    only_consumer,
    set_constant,
)

Vector = npt.NDArray[np.float64]
"""One number for each output channel."""

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


def channel_axis(layer: ir.Node) -> int:
    """The axis of the layer's output that its weights' filters are laid along."""
    return 1 if is_op(layer, "Conv", "ConvTranspose") else -1


def per_channel(array: Array, shape: tuple[int, ...], axis: int) -> Vector | None:
    """The vector that a broadcast constant is along one axis of a tensor of the given shape.

    Returns:
        None where the constant varies along another axis or would make the tensor larger.
    """
    axis %= len(shape)
    if array.ndim > len(shape):
        return None
    full = (1,) * (len(shape) - array.ndim) + array.shape
    if any(length != 1 for at, length in enumerate(full) if at != axis):
        return None
    if full[axis] not in (1, shape[axis]):
        return None
    return np.broadcast_to(array.reshape(-1).astype(np.float64), (shape[axis],)).copy()


def layer_before(value: ir.Value | None) -> ir.Node | str:
    """The layer that alone feeds a value's only reader, or the reason why there is none."""
    layer = None if value is None else value.producer()
    if value is None or layer is None or not is_op(layer, *LAYERS):
        return "no convolution or matrix product computes its input"
    if only_consumer(value) is None:
        return f"{value.name} is also read elsewhere"
    return layer


def absorb(layer: ir.Node, scale: Vector | None, shift: Vector | None) -> str | None:
    """Multiply the layer's output channels by `scale`, then add `shift`; None leaves one out.

    A MatMul that takes a shift becomes a Gemm.

    Args:
        layer: a Conv, ConvTranspose, Gemm or MatMul.
        scale: one factor per output channel.
        shift: one summand per output channel.

    Returns:
        None when it is done, else the reason why the layer cannot take it; nothing is changed then.
    """
    weight = constant(input_at(layer, 1))
    if weight is None:
        return "the layer's weights are not constant"
    if is_op(layer, "MatMul"):
        return _absorb_matmul(layer, weight, scale, shift)
    bias_value = input_at(layer, 2)
    bias = constant(bias_value)
    if bias_value is not None and bias is None:
        return "the layer's bias is not constant"
    gemm = is_op(layer, "Gemm")
    channels = _channels(layer, weight)
    if gemm and bias is not None:
        # A bias that differs from row to row would have to be written out in full.
        vector = per_channel(bias, (2, channels), -1)
        if vector is None:
            return f"the Gemm's bias has the shape {list(bias.shape)}, not one number a column"
        old = vector * float_attribute(layer, "beta", 1.0)
    else:
        old = np.zeros(channels) if bias is None else bias.astype(np.float64)
    new_weight = weight if scale is None else _scaler(layer, weight)(scale).astype(weight.dtype)
    new_bias = old if scale is None else old * scale
    new_bias = (new_bias if shift is None else new_bias + shift).astype(weight.dtype)
    if not (np.isfinite(new_weight).all() and np.isfinite(new_bias).all()):
        return "the folded weights would not be finite"
    if scale is not None:
        set_constant(layer, 1, new_weight, f"{layer.outputs[0].name}.weight")
    if bias is not None or shift is not None:
        set_constant(layer, 2, new_bias, f"{layer.outputs[0].name}.bias")
        if gemm:
            layer.attributes["beta"] = ir.AttrFloat32("beta", 1.0)
    return None


def _absorb_matmul(
    layer: ir.Node, weight: Array, scale: Vector | None, shift: Vector | None
) -> str | None:
    rows = dims(input_at(layer, 0))
    if weight.ndim != 2:
        return f"the MatMul's weights have {weight.ndim} axes, not 2"
    if shift is not None and (rows is None or len(rows) != 2):
        return "the MatMul's other input is not a matrix, so a Gemm cannot replace it"
    new_weight = weight
    if scale is not None:
        new_weight = (weight.astype(np.float64) * scale).astype(weight.dtype)
    bias = None if shift is None else shift.astype(weight.dtype)
    if not (np.isfinite(new_weight).all() and (bias is None or np.isfinite(bias).all())):
        return "the folded weights would not be finite"
    if scale is not None:
        set_constant(layer, 1, new_weight, f"{layer.outputs[0].name}.weight")
    if bias is not None:
        layer.op_type = "Gemm"
        set_constant(layer, 2, bias, f"{layer.outputs[0].name}.bias")
    return None


def _channels(layer: ir.Node, weight: Array) -> int:
    if is_op(layer, "Conv"):
        return int(weight.shape[0])
    if is_op(layer, "ConvTranspose"):
        return int(weight.shape[1]) * int_attribute(layer, "group", 1)
    return int(weight.shape[0 if int_attribute(layer, "transB", 0) else 1])


def _scaler(layer: ir.Node, weight: Array) -> Callable[[Vector], npt.NDArray[np.float64]]:
    """How a vector of factors lies along the weights' output channels."""
    exact = weight.astype(np.float64)
    kernel = (1,) * (weight.ndim - 2)
    if is_op(layer, "Conv"):
        return lambda scale: exact * scale.reshape(-1, 1, *kernel)
    if is_op(layer, "ConvTranspose"):
        # [groups * inputs, outputs of a group, kernel]: group g holds its own stretch of outputs.
        groups = int_attribute(layer, "group", 1)
        split = exact.reshape(groups, -1, *weight.shape[1:])
        return lambda scale: (split * scale.reshape(groups, 1, -1, *kernel)).reshape(weight.shape)
    if int_attribute(layer, "transB", 0):
        return lambda scale: exact * scale.reshape(-1, 1)
    return lambda scale: exact * scale
