"""Operators that ONNX defines by simpler ones are written as those, where kernels serve them better."""

import onnx
from onnx import defs, inliner, shape_inference

from budgetc.loading.draft import opset_of

EXPANDED = frozenset(
    {
        "Attention",
        "GroupNormalization",
        "MeanVarianceNormalization",
        "RMSNormalization",
        "RotaryEmbedding",
        "SwiGLU",
    }
)
"""Operators of the standard domain that run as products, reductions and maps."""


_DOMAIN = "budgetc.expanded"


def expand_functions(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the operators of EXPANDED replaced by the bodies that the standard gives them.

    An operator that is no function in the model's opset stays, and so does one inside of control flow.
    """
    wanted = [n for n in model.graph.node if n.op_type in EXPANDED and n.domain in {"", "ai.onnx"}]
    if not wanted:
        return model
    called = onnx.ModelProto()
    called.CopyFrom(model)
    types = _types(model)
    for index, node in enumerate(called.graph.node):
        if node.op_type not in EXPANDED or node.domain not in {"", "ai.onnx"}:
            continue
        body = _body(node, opset_of(model), types)
        if body is not None:
            body.name, body.domain = f"{node.op_type}_{index}", _DOMAIN
            called.functions.append(body)
            node.op_type, node.domain = body.name, _DOMAIN
    called.opset_import.append(onnx.helper.make_opsetid(_DOMAIN, 1))
    inlined: onnx.ModelProto = inliner.inline_local_functions(called, convert_version=True)
    kept = [o for o in inlined.opset_import if o.domain != _DOMAIN]
    del inlined.opset_import[:]
    inlined.opset_import.extend(kept)
    return inlined


def _body(
    node: onnx.NodeProto, opset: int, types: dict[str, onnx.TypeProto]
) -> onnx.FunctionProto | None:
    """What the standard says that the node does; None where it says so in words only."""
    schema = defs.get_schema(node.op_type, opset, "")
    if schema.has_context_dependent_function:
        if any(name and name not in types for name in node.input):
            return None
        given = [types[n].SerializeToString() if n else b"" for n in node.input]
        data = schema.get_context_dependent_function(node.SerializeToString(), given)
        return onnx.FunctionProto.FromString(data)
    if not schema.has_function:
        return None
    body = onnx.FunctionProto()
    body.CopyFrom(schema.function_body)
    defaults = {n: schema.attributes[n].default_value for n in body.attribute}
    body.attribute_proto.extend(d for d in defaults.values() if d.type)
    body.attribute[:] = [name for name, default in defaults.items() if not default.type]
    return body


def _types(model: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    graph = shape_inference.infer_shapes(model).graph
    types = {t.name: _tensor_type(t) for t in graph.initializer}
    return types | {i.name: i.type for i in (*graph.input, *graph.value_info, *graph.output)}


def _tensor_type(tensor: onnx.TensorProto) -> onnx.TypeProto:
    return onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
