"""From a checked, static ONNX model to the lowering graph, one operation per node."""

import math
from typing import Any

import numpy as np
import onnx
from budgetc_specs.errors import ModelError, quoted
from onnx import helper, numpy_helper

from budgetc.element_types import C_TYPES, numpy_type
from budgetc.loading.draft import opset_of
from budgetc.loading.normalise import RANDOM_OPERATORS, STANDARD, needed_outputs
from budgetc.lower.graph import Graph, Operation, Value

OLDEST_OPSET = 7  # before it, broadcasting and the normalisations were written differently


def import_model(data: bytes) -> Graph:
    """The graph of a serialised model whose shapes are all static.

    Raises:
        ModelError: a value's shape is not known, an element type has no kernels, or an operator
            runs a graph of its own.
    """
    model = onnx.shape_inference.infer_shapes(
        onnx.load_model_from_string(data), strict_mode=True, data_prop=True
    )
    graph = model.graph
    opset = _opset(model)
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    values = {name: Value(array.shape, array.dtype.name) for name, array in constants.items()}
    for info in (*graph.input, *graph.value_info, *graph.output):
        if info.name not in values:
            values[info.name] = _value(info)
    inputs = tuple(i.name for i in graph.input if i.name not in constants)
    for name, value in values.items():
        _check_type(name, value)
        if not math.prod(value.shape):  # what holds nothing is known
            constants[name] = np.zeros(value.shape, value.dtype)
    live, read = _live(graph)
    operations = [
        _operation(_cast(node, values), position, needed_outputs(node, read, opset), values)
        for position, node in enumerate(graph.node)
        if position in live and not all(o in constants for o in node.output if o)
    ]
    return Graph(
        inputs=inputs,
        outputs=tuple(o.name for o in graph.output),
        operations=operations,
        values=values,
        constants=constants,
        opset=opset,
        domains={o.domain: o.version for o in model.opset_import if o.domain not in STANDARD},
    )


def _opset(model: onnx.ModelProto) -> int:
    version = opset_of(model)
    if version < OLDEST_OPSET:
        raise ModelError(
            f"the model is written for opset {version}, which is not supported",
            f"convert it to opset {OLDEST_OPSET} or later: onnx.version_converter does it.",
        )
    return version


def _operation(
    node: onnx.NodeProto, position: int, outputs: tuple[str, ...], values: dict[str, Value]
) -> Operation:
    name = node.name or f"{node.op_type}_{position}"
    proto = onnx.NodeProto()
    proto.CopyFrom(node)
    del proto.output[:]
    proto.output.extend(outputs)
    attributes = {a.name: _attribute(a) for a in node.attribute}
    named = tuple(o for o in outputs if o)
    inputs = _given(node, values)
    op = Operation(node.op_type, name, inputs, named, {**attributes, "proto": proto})
    if node.op_type in RANDOM_OPERATORS:
        raise ModelError(
            f"{op.label} draws random numbers, and a library gives the same for the same inputs",
            "let the model take the numbers as an input.",
        )
    if any(isinstance(a, onnx.GraphProto) for a in attributes.values()):
        raise ModelError(
            f"{op.label} chooses or repeats a part of the graph at run time, which is not "
            "supported yet",
            "export the model without control flow; where its condition is constant, simplify the "
            "model first.",
        )
    for output in named:
        value = values.get(output)
        if value is None:
            raise ModelError(f"{op.label}: the shape of {quoted(output)} is unknown")
    return op


def _given(node: onnx.NodeProto, values: dict[str, Value]) -> tuple[str, ...]:
    """The inputs of a node, an empty name for each that is left out.

    Opsets 11 and 12 require all but the last of a Resize; what does not count is a tensor without elements there.
    """
    if node.op_type != "Resize":
        return tuple(node.input)
    x, *others = node.input
    return (x, *(n if n and math.prod(values[n].shape) else "" for n in others))


def _cast(node: onnx.NodeProto, values: dict[str, Value]) -> onnx.NodeProto:
    """A CastLike as the Cast that it is, since every type is known: it waits for no value of that type then."""
    if node.op_type != "CastLike" or node.domain not in STANDARD:
        return node
    cast = onnx.NodeProto()
    cast.CopyFrom(node)
    cast.op_type = "Cast"
    del cast.input[1:]
    kind = helper.np_dtype_to_tensor_dtype(numpy_type(values[node.input[1]].dtype))
    cast.attribute.append(helper.make_attribute("to", kind))
    return cast


def _live(graph: onnx.GraphProto) -> tuple[set[int], set[str]]:
    """Positions of the nodes that an output depends on, and the values that are read there."""
    live, read = set(), {o.name for o in graph.output}
    for position in reversed(range(len(graph.node))):
        node = graph.node[position]
        if read.intersection(node.output):
            live.add(position)
            read.update(node.input)
    return live, read


def _check_type(name: str, value: Value) -> None:
    if value.dtype not in C_TYPES:
        raise ModelError(
            f"{quoted(name)} is of type {value.dtype}, which no library can hold",
            f"supported are {', '.join(C_TYPES)}; export the model with one of them.",
        )


def _value(info: onnx.ValueInfoProto) -> Value:
    tensor = info.type.tensor_type
    dims = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    if None in dims or not tensor.HasField("shape"):
        raise ModelError(f"the value {quoted(info.name)} has no static shape")
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
    return Value(tuple(d for d in dims if d is not None), dtype)


def _attribute(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if attribute.type in (onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS):
        return tuple(value)
    return value
