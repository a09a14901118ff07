"""Operators that are functions of simpler ones are written as those, where that serves them better."""

from typing import Any

import onnx
from onnx import defs, inliner, shape_inference

from budgetc.loading.draft import opset_of

EXPANDED = frozenset(
    {
        "Attention",
        "BitShift",
        "GroupNormalization",
        "MeanVarianceNormalization",
        "RMSNormalization",
        "RotaryEmbedding",
        "SpaceToDepth",
        "SwiGLU",
    }
)
"""Operators of the standard domain that run as products, reductions and maps, or need a guard."""


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
    """What the standard says that the node does; None where it says so in words only.

    The node gets the attributes that it left to their defaults: inlining does not know them.
    """
    if node.op_type == "BitShift":
        kind = types.get(node.input[0])
        return _shift(node, opset, kind.tensor_type.elem_type) if kind else None
    schema: Any = defs.get_schema(node.op_type, opset, "")  # its stubs lack what concerns functions
    if schema.has_context_dependent_function:
        if any(name and name not in types for name in node.input):
            return None
        kinds = [types[n].SerializeToString() if n else b"" for n in node.input]
        found = onnx.FunctionProto()
        found.ParseFromString(
            schema.get_context_dependent_function(node.SerializeToString(), kinds)
        )
        return found
    if not schema.has_function:
        return None
    body = onnx.FunctionProto()
    version = max((v for v in schema.function_opset_versions if v <= opset), default=None)
    if version is None:
        return None
    body.ParseFromString(schema.get_function_with_opset_version(version))
    given = {a.name for a in node.attribute}
    defaults = [schema.attributes[name].default_value for name in body.attribute]
    node.attribute.extend(d for d in defaults if d.type and d.name not in given)
    return body


def _shift(node: onnx.NodeProto, opset: int, element: int) -> onnx.FunctionProto:
    """BitShift for any number of bits: C leaves open what shifting by too many or too few is.

    ONNX leaves it open too; its reference shifts everything out.
    """
    dtype = onnx.helper.tensor_dtype_to_np_dtype(element)
    right = any(a.name == "direction" and a.s == b"RIGHT" for a in node.attribute)
    beyond = "minus" if right and dtype.kind == "i" else "zero"
    direction = "RIGHT" if right else "LEFT"
    text = f"""
        <opset_import: ["" : {opset}], domain: "{_DOMAIN}">
        shift (x, s) => (y) {{
            n = Cast <to = 7> (s)
            none = Constant <value_int = 0> ()
            all = Constant <value_int = {dtype.itemsize * 8}> ()
            low = Less (n, none)
            fits = Less (n, all)
            high = Not (fits)
            outside = Or (low, high)
            inside = Where (outside, none, n)
            by = CastLike (inside, x)
            shifted = BitShift <direction = "{direction}"> (x, by)
            zero = Constant <value_int = 0> ()
            one = Constant <value_int = -1> ()
            wide = Cast <to = 7> (x)
            negative = Less (wide, none)
            minus = Where (negative, one, zero)
            empty = CastLike ({beyond}, x)
            y = Where (outside, empty, shifted)
        }}"""
    function: onnx.FunctionProto = onnx.parser.parse_function(text)
    return function


def _types(model: onnx.ModelProto) -> dict[str, onnx.TypeProto]:
    graph = shape_inference.infer_shapes(model).graph
    types = {t.name: _tensor_type(t) for t in graph.initializer}
    return types | {i.name: i.type for i in (*graph.input, *graph.value_info, *graph.output)}


def _tensor_type(tensor: onnx.TensorProto) -> onnx.TypeProto:
    return onnx.helper.make_tensor_type_proto(tensor.data_type, tensor.dims)
