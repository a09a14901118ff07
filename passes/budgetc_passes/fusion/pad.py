"""Fold a constant Pad into the window operator that reads it.

Conv(Pad(x, p, 0), pads=q)                       ->  Conv(x, pads=p+q)
AveragePool(Pad(x, p, 0), pads=0)                ->  AveragePool(x, pads=p, count_include_pad=1)
MaxPool(Pad(x, p, 0), pads=q),  x >= 0           ->  MaxPool(x, pads=p+q)
MaxPool(Pad(x, p, lowest), pads=q)               ->  MaxPool(x, pads=p+q)
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from budgetc_passes.contract import Evidence, Needs, Note, PassResult
from budgetc_passes.graph import (
    clip_bounds,
    constant,
    dims,
    drop_dead,
    float_attribute,
    input_at,
    int_attribute,
    int_list,
    ints_attribute,
    is_op,
    label,
    scalar,
    set_ints,
    string_attribute,
)
from budgetc_passes.invariants import finish, require

WINDOWS = ("Conv", "AveragePool", "MaxPool")

# Operators whose outputs are never negative, and those that pass on what their input is.
_NOT_NEGATIVE = ("Sigmoid", "HardSigmoid", "Softmax", "Abs", "Exp", "Softplus", "Sqrt")
_KEEPS_SIGN = (
    "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "Transpose", "Reshape",
    "Identity", "Flatten", "Squeeze", "Unsqueeze", "Concat", "Slice", "Dropout", "Cast",
)  # fmt: skip


@dataclass(frozen=True)
class FoldPad:
    """Moves an explicit Pad into the pads of the convolutions or pools that read it.

    Requires: opset >= 9, functions inlined. Ensures: no Pad of zeros on the spatial axes feeds only
    convolutions; the interface is unchanged.
    Cost: never grows size or latency; saves a copy of the tensor.
    """

    name: ClassVar[str] = "fold-pad"

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Fold every Pad whose readers can all take it."""
        before = require(model, self.name)
        notes: list[Note] = []
        for node in list(model.graph):
            if is_op(node, "Pad"):
                notes += _fold(node)
        return finish(model, self.name, before, notes)


def _fold(node: ir.Node) -> list[Note]:
    output = node.outputs[0]
    readers = [use.node for use in output.uses() if use.idx == 0 and is_op(use.node, *WINDOWS)]
    if not readers:
        return []
    try:
        if output.is_graph_output() or len(readers) != len(output.uses()):
            message = "the padded tensor is also read elsewhere"
            raise ValueError(message)
        begins, ends = _amounts(node)
        merged = [_merged(reader, node, begins, ends) for reader in readers]
    except ValueError as error:
        return [Note("refused", label(node), f"not folded: {error}")]
    for reader, pads in zip(readers, merged, strict=True):
        set_ints(reader, "pads", pads)
        reader.attributes.pop("auto_pad", None)
        if is_op(reader, "AveragePool"):
            reader.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)
        reader.replace_input_with(0, node.inputs[0])
    names = ", ".join(label(reader) for reader in readers)
    note = Note("did", label(node), f"folded into {names}")
    drop_dead(node)
    return [note]


def _amounts(node: ir.Node) -> tuple[list[int], list[int]]:
    """Elements added before and after each spatial axis.

    Raises:
        ValueError: the Pad is not of a kind that a window operator can do.
    """
    mode = string_attribute(node, "mode", "constant")
    shape = dims(node.inputs[0])
    pads = int_list(node, 1, "pads")
    axes_value = input_at(node, 3)
    axes = int_list(node, 3, "axes")
    if mode != "constant":
        message = f"it pads in {mode} mode"
        raise ValueError(message)
    if shape is None or pads is None or (axes_value is not None and axes is None):
        message = "its shape, amounts or axes are not constant"
        raise ValueError(message)
    rank = len(shape)
    begins, ends = [0] * rank, [0] * rank
    chosen = range(rank) if axes is None else [axis % rank for axis in axes]
    for at, axis in enumerate(chosen):
        begins[axis], ends[axis] = pads[at], pads[at + len(pads) // 2]
    if any(begins[:2]) or any(ends[:2]):
        message = "it pads the batch or the channels"
        raise ValueError(message)
    if min(begins + ends) < 0:
        message = "it crops"
        raise ValueError(message)
    return begins[2:], ends[2:]


def _fill(node: ir.Node) -> float | None:
    if input_at(node, 2) is not None:
        return scalar(input_at(node, 2))
    return float_attribute(node, "value", 0.0)


def _merged(reader: ir.Node, pad: ir.Node, begins: list[int], ends: list[int]) -> list[int]:
    """The reader's pads with the Pad's added.

    Raises:
        ValueError: the reader would compute something else.
    """
    fill = _fill(pad)
    own_begins, own_ends = explicit_pads(reader)
    pool = not is_op(reader, "Conv")
    if is_op(reader, "MaxPool"):
        lowest = fill is not None and fill <= float(np.finfo(np.float32).min)
        if not lowest and not (fill == 0 and never_negative(pad.inputs[0])):
            message = f"{label(reader)} takes a maximum, and {pad.inputs[0]} may be below the fill"
            raise ValueError(message)
        if len(reader.outputs) > 1 and reader.outputs[1].uses():
            message = f"{label(reader)} gives indices into the padded tensor"
            raise ValueError(message)
    elif fill != 0:
        message = f"it fills with {fill}, not with zero"
        raise ValueError(message)
    new_begins = [a + b for a, b in zip(begins, own_begins, strict=True)]
    new_ends = [a + b for a, b in zip(ends, own_ends, strict=True)]
    if pool:
        kernel = ints_attribute(reader, "kernel_shape", ())
        if int_attribute(reader, "ceil_mode", 0):
            message = f"{label(reader)} rounds its output size up"
            raise ValueError(message)
        if any(a >= k for a, k in zip(new_begins + new_ends, kernel + kernel, strict=True)):
            message = f"{label(reader)} would have windows that lie in the padding only"
            raise ValueError(message)
    if is_op(reader, "AveragePool") and any(own_begins + own_ends):
        counts = int_attribute(reader, "count_include_pad", 0)
        if not counts:
            message = f"{label(reader)} leaves its own padding out of the average"
            raise ValueError(message)
    return new_begins + new_ends


def explicit_pads(node: ir.Node) -> tuple[list[int], list[int]]:
    """Pads before and after each spatial axis of a window operator, whatever its `auto_pad`.

    Raises:
        ValueError: `auto_pad` is SAME_UPPER or SAME_LOWER and the shapes are not known.
    """
    data, weight = dims(node.inputs[0]), dims(input_at(node, 1))
    kernel = ints_attribute(node, "kernel_shape", weight[2:] if weight is not None else ())
    count = len(kernel)
    mode = string_attribute(node, "auto_pad", "NOTSET")
    if mode == "VALID":
        return [0] * count, [0] * count
    if mode == "NOTSET":
        pads = list(ints_attribute(node, "pads", (0,) * (2 * count)))
        return pads[:count], pads[count:]
    if data is None:
        message = f"{label(node)} pads by {mode} a tensor whose shape is not known"
        raise ValueError(message)
    strides = ints_attribute(node, "strides", (1,) * count)
    dilations = ints_attribute(node, "dilations", (1,) * count)
    begins, ends = [], []
    for size, k, stride, dilation in zip(data[2:], kernel, strides, dilations, strict=True):
        total = max((-(-size // stride) - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        small, large = total // 2, total - total // 2
        begins.append(small if mode == "SAME_UPPER" else large)
        ends.append(large if mode == "SAME_UPPER" else small)
    return begins, ends


def never_negative(value: ir.Value | None) -> bool:
    """Whether the value's elements are zero or more by construction."""
    array = constant(value)
    if array is not None:
        return bool((array.astype(np.float64) >= 0).all())
    node = None if value is None else value.producer()
    if node is None:
        return False
    bounds = clip_bounds(node)
    if bounds is not None:
        return bounds[0] >= 0 or never_negative(node.inputs[0])
    if is_op(node, *_NOT_NEGATIVE):
        return True
    if is_op(node, "Concat"):
        return all(never_negative(part) for part in node.inputs)
    return is_op(node, *_KEEPS_SIGN) and never_negative(node.inputs[0])
