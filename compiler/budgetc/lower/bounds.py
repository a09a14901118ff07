"""Indices that come at run time stay inside of what they index: no library reads or writes foreign memory.

onnxruntime ends an inference with an error where an index points outside. A library has nobody to tell, and takes the
nearest index that there is.
"""

import re

import numpy as np
import onnx
from onnx import helper, numpy_helper

from budgetc.lower.graph import Graph, Operation
from budgetc.lower.refusal import no_code

_INDICES = {
    "Gather": 1,
    "GatherElements": 1,
    "GatherND": 1,
    "MaxUnpool": 1,
    "NegativeLogLikelihoodLoss": 1,
    "RoiAlign": 2,
    "Scatter": 1,
    "ScatterElements": 1,
    "ScatterND": 1,
    "SoftmaxCrossEntropyLoss": 1,
    "TensorScatter": 2,
}
"""The input that has indices, of each operator that reads or writes where they point."""

_LIMITED_FOR_TVM = frozenset({"Gather", "GatherElements"})

_FROM_THE_END = re.compile(
    r"idx_t (?P<index>\w+) = (?P<value>[^;]+);\s*"
    r"if \((?P=index) < 0\) \{\s*(?P=index) \+= (?P<extent>\d+);\s*\}"
)
"""How generated C takes an index that may count from the end."""

_NAMES = {
    "NegativeLogLikelihoodLoss": "class_index",
    "RoiAlign": "batch_index",
    "SoftmaxCrossEntropyLoss": "class_index",
    "TensorScatter": "cache_index",
}
"""What generated C calls an index that counts from the beginning only."""


def with_indices_in_bounds(model: onnx.ModelProto, op: Operation, graph: Graph) -> onnx.ModelProto:
    """The model of a node for TVM, with computed indices limited to what they may be.

    TVM's code reads and writes wherever an index points to.

    Raises:
        ModelError: there is no such limit for the operator.
    """
    node = model.graph.node[-1]
    if not _is_computed(op, graph):
        return model
    if node.op_type not in _LIMITED_FOR_TVM:
        raise no_code(op, "its indices are computed, and TVM's code would trust them")
    shape, indices = graph.values[node.input[0]].shape, node.input[1]
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0) % len(shape)
    dtype = np.dtype(graph.values[indices].dtype)
    limits = {"lowest": -shape[axis], "highest": shape[axis] - 1}
    for name, limit in limits.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(limit, dtype), name))
    node.input[1] = "limited"
    nodes = [
        helper.make_node("Max", [indices, "lowest"], ["raised"]),
        helper.make_node("Min", ["raised", "highest"], ["limited"]),
        node,
    ]
    copies = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    return model


def c_in_bounds(text: str, op: Operation, graph: Graph) -> str:
    """The C that was generated for a node, with computed indices limited to what they may be.

    Raises:
        ModelError: the C is not of the form that is known.
    """
    if not _is_computed(op, graph):
        return text
    kind = op.attributes["proto"].op_type
    if kind in _NAMES:
        extent = graph.values[op.inputs[0]].shape[_axis_from_the_beginning(op)]
        if op.attributes.get("mode") in {"circular", b"circular"}:
            return text  # it is what is left of a division by the extent
        pattern = re.compile(rf"(?:const )?idx_t {_NAMES[kind]} = (?P<value>[^;]+);")
        limited, count = pattern.subn(lambda m: _limited(_NAMES[kind], m["value"], extent), text)
    elif kind == "MaxUnpool":
        return text  # it leaves out what points outside
    else:
        limited, count = _FROM_THE_END.subn(
            lambda m: _limited(m["index"], m["value"], int(m["extent"]), from_the_end=True), text
        )
    if not count:
        raise no_code(op, "its indices are computed, and the generated C would trust them")
    return limited


def _limited(index: str, value: str, extent: int, *, from_the_end: bool = False) -> str:
    given = f"{index}_given"
    value = value.removeprefix("(idx_t)")
    below = f"{given} < {-extent} ? 0 : {given} < 0 ? {given} + {extent}"
    lowest = below if from_the_end else f"{given} < 0 ? 0"
    return (
        f"const int64_t {given} = {value};\n"
        f"const idx_t {index} = (idx_t)({lowest} : {given} < {extent} ? {given} : {extent - 1});"
    )


def _axis_from_the_beginning(op: Operation) -> int:
    """The axis of the first input that the index of an operator of `_NAMES` is for."""
    kind = op.attributes["proto"].op_type
    if kind == "TensorScatter":
        return int(op.attributes.get("axis", -2))
    return 0 if kind == "RoiAlign" else 1


def _is_computed(op: Operation, graph: Graph) -> bool:
    position = _INDICES.get(op.attributes["proto"].op_type)
    given = position is not None and position < len(op.inputs) and op.inputs[position]
    return bool(given) and given not in graph.constants
