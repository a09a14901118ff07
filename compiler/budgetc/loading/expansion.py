"""Operators that are functions of simpler ones are written as those, where that serves them better."""

from typing import Any

import onnx
from onnx import defs, helper, parser, shape_inference

from budgetc.loading.draft import opset_of, value_types
from budgetc.loading.normalise import STANDARD, forget_domain, inline_functions

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

    Raises:
        ModelError: a body cannot be inlined.
    """
    if not any(map(_expands, model.graph.node)):
        return model
    called = onnx.ModelProto()
    called.CopyFrom(model)
    types = value_types(shape_inference.infer_shapes(model).graph)
    for index, node in enumerate(called.graph.node):
        body = _body(node, opset_of(model), types) if _expands(node) else None
        if body is not None:
            body.name, body.domain = f"{node.op_type}_{index}", _DOMAIN
            called.functions.append(body)
            node.op_type, node.domain = body.name, _DOMAIN
    called.opset_import.append(helper.make_opsetid(_DOMAIN, 1))
    expanded = inline_functions(called)
    forget_domain(expanded, _DOMAIN)
    return expanded


def _expands(node: onnx.NodeProto) -> bool:
    return node.op_type in EXPANDED and node.domain in STANDARD


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
    dtype = helper.tensor_dtype_to_np_dtype(element)
    right = any(a.name == "direction" and a.s == b"RIGHT" for a in node.attribute)
    beyond = "minus" if right and dtype.kind == "i" else "none"
    direction = "RIGHT" if right else "LEFT"
    text = f"""
        <opset_import: ["" : {opset}], domain: "{_DOMAIN}">
        shift (x, s) => (y) {{
            n = Cast <to = 7> (s)
            none = Constant <value = int64 {{0}}> ()
            all = Constant <value = int64 {{{dtype.itemsize * 8}}}> ()
            low = Less (n, none)
            fits = Less (n, all)
            high = Not (fits)
            outside = Or (low, high)
            inside = Where (outside, none, n)
            by = Cast <to = {element}> (inside)
            shifted = BitShift <direction = "{direction}"> (x, by)
            one = Constant <value = int64 {{-1}}> ()
            wide = Cast <to = 7> (x)
            negative = Less (wide, none)
            minus = Where (negative, one, none)
            empty = Cast <to = {element}> ({beyond})
            y = Where (outside, empty, shifted)
        }}"""
    function: onnx.FunctionProto = parser.parse_function(text)
    return function
