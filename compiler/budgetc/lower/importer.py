"""From a checked, static ONNX model to the lowering graph, one operation per node."""

from typing import Any

import numpy as np
import onnx
from budgetc_specs.errors import ModelError
from onnx import helper, numpy_helper

from budgetc.lower.graph import Graph, Operation, Value


def import_model(data: bytes) -> Graph:
    """The graph of a serialised model whose shapes are all static.

    Raises:
        ModelError: a value's shape is not known.
    """
    model = onnx.shape_inference.infer_shapes(
        onnx.load_model_from_string(data), strict_mode=True, data_prop=True
    )
    graph = model.graph
    constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
    values = {name: Value(array.shape, array.dtype.name) for name, array in constants.items()}
    for info in (*graph.input, *graph.value_info, *graph.output):
        if info.name not in values:
            values[info.name] = _value(info)
    operations = []
    for position, node in enumerate(graph.node):
        name = node.name or f"{node.op_type}_{position}"
        attributes = {a.name: _attribute(a) for a in node.attribute}
        attributes["proto"] = node
        inputs, outputs = tuple(node.input), tuple(o for o in node.output if o)
        for output in outputs:
            if output not in values:
                raise ModelError(f"node {name!r} ({node.op_type}): the shape of {output!r} is unknown")
        operations.append(Operation(node.op_type, name, inputs, outputs, attributes))
    opset = next(o.version for o in model.opset_import if o.domain in ("", "ai.onnx"))
    result = Graph(
        inputs=tuple(i.name for i in graph.input if i.name not in constants),
        outputs=tuple(o.name for o in graph.output),
        operations=operations,
        values=values,
        constants=constants,
        opset=opset,
    )
    result.remove_dead()
    return result


def _value(info: onnx.ValueInfoProto) -> Value:
    tensor = info.type.tensor_type
    dims = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    if None in dims or not tensor.HasField("shape"):
        raise ModelError(f"value {info.name!r} has no static shape")
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
