"""Operators with a kernel of ours: convolutions, products, poolings, softmax and reductions."""

import math
from collections.abc import Callable, Mapping

import numpy as np
from budgetc_specs.errors import ModelError
from budgetc_targets.expression import ACCUMULATOR, Const, Expr, Ref, apply

from budgetc.lower.graph import Graph, Operation
from budgetc.lower.integer_products import per_filter
from budgetc.lower.select_moves import Selected, view
from budgetc.lower.transposed import transposed_convolution

REDUCTIONS = {
    "ReduceSum": "sum",
    "ReduceMean": "mean",
    "ReduceMax": "max",
    "ReduceMin": "min",
    "ReduceProd": "prod",
}


def _convolution(op: Operation, graph: Graph) -> Selected:
    """By constant weights in one or two dimensions; others are left to TVM."""
    if op.inputs[1] not in graph.constants or graph.values[op.inputs[0]].dtype != "float32":
        return None
    weight = graph.constants[op.inputs[1]]
    if weight.ndim not in (3, 4) or any(p < 0 for p in op.attributes.get("pads", ())):
        return None
    bias = np.zeros(len(weight), np.float32)
    if len(op.inputs) > 2 and op.inputs[2]:
        if op.inputs[2] not in graph.constants:
            return None
        bias = graph.constants[op.inputs[2]]
    attributes = {**op.attributes, "weight": weight, "bias": bias, "border": 0}
    return Operation(
        "convolution", op.name, op.inputs[:1], op.outputs, attributes, ACCUMULATOR, anchors=1
    )


def _product(op: Operation, graph: Graph) -> Selected:
    """Gemm and MatMul by a constant matrix, MatMul of two activations."""
    x, value = op.inputs[0], graph.values[op.inputs[0]]
    if value.dtype != "float32":
        return None
    if op.inputs[1] not in graph.constants:
        return _activations(op, graph) if op.kind == "MatMul" else None
    weight = graph.constants[op.inputs[1]]
    if weight.ndim != 2 or len(value.shape) not in (2, 3, 4):
        return None
    bias = None
    if op.kind == "Gemm":
        if op.attributes.get("transA", 0):
            return None
        weight = weight.T if op.attributes.get("transB", 0) else weight
        weight = np.float32(op.attributes.get("alpha", 1.0)) * weight
        if len(op.inputs) > 2 and op.inputs[2]:
            bias = per_filter(graph.constants.get(op.inputs[2]), weight.shape[1])
            if bias is None:
                return None
            bias = np.float32(op.attributes.get("beta", 1.0)) * bias
    if bias is None:
        bias = np.zeros(weight.shape[1], np.float32)
    attributes = {"weight": weight, "bias": bias, "proto": op.attributes["proto"]}
    return Operation("product", op.name, (x,), op.outputs, attributes, ACCUMULATOR, anchors=1)


def _activations(op: Operation, graph: Graph) -> Selected:
    """MatMul of two activations, batched or not; vectors are left to TVM."""
    if any(not 2 <= len(graph.values[name].shape) <= 4 for name in op.inputs):
        return None
    return Operation("matmul", op.name, op.inputs, op.outputs, {}, ACCUMULATOR, anchors=2)


def _layer_norm(op: Operation, graph: Graph) -> Selected:
    """Over the last dimension, which is the usual one; others are left to TVM."""
    value = graph.values[op.inputs[0]]
    rank = len(value.shape)
    last = op.attributes.get("axis", -1) % rank == rank - 1
    if value.dtype != "float32" or rank > 4 or not last or len(op.outputs) > 1:
        return None
    expression = apply("mul", ACCUMULATOR, Ref(1))
    if len(op.inputs) > 2 and op.inputs[2]:
        expression = apply("fma", ACCUMULATOR, Ref(1), Ref(2))
    inputs = tuple(name for name in op.inputs if name)
    attributes = {"epsilon": float(op.attributes.get("epsilon", 1e-5))}
    return Operation(
        "normalisation", op.name, inputs, op.outputs, attributes, expression, anchors=1
    )


def _instance_norm(op: Operation, graph: Graph) -> Selected:
    """Every channel of a sample is a row of its own; computed scales are left to generated C."""
    value = graph.values[op.inputs[0]]
    parameters = [graph.constants[name] for name in op.inputs[1:] if name in graph.constants]
    if value.dtype != "float32" or len(value.shape) < 3 or len(parameters) < 2:
        return None
    batch, channels, *spatial = value.shape
    shape = (batch, channels, math.prod(spatial))
    rows, normal = (
        graph.add_value(f"{op.output}.{n}", shape, "float32") for n in ("rows", "normal")
    )
    columns = [
        graph.add_constant(f"{op.output}.{what}", parameter.reshape(channels, 1))
        for what, parameter in zip(("scale", "bias"), parameters, strict=True)
    ]
    return [
        Operation("view", op.name, op.inputs[:1], (rows,), {"view": "reshape"}),
        Operation(
            "normalisation",
            op.name,
            (rows, *columns),
            (normal,),
            {"epsilon": float(op.attributes.get("epsilon", 1e-5))},
            apply("fma", ACCUMULATOR, Ref(1), Ref(2)),
            anchors=1,
        ),
        Operation("view", op.name, (normal,), op.outputs, {"view": "reshape"}),
    ]


def _pooling(op: Operation, graph: Graph) -> Selected:
    value = graph.values[op.inputs[0]]
    if len(op.outputs) > 1:
        raise ModelError(
            f"{op.label}: its second output, the indices of the maxima, is not supported",
            "export the model without it; unpooling by indices has no kernel.",
        )
    if len(value.shape) not in (3, 4):
        return None
    if value.dtype not in ("float32", "uint8", "int8"):
        return None
    attributes = dict(op.attributes)
    expression: Expr = ACCUMULATOR
    if op.kind.startswith("Global"):
        attributes["kernel_shape"] = value.shape[2:]
    if op.kind.endswith("MaxPool"):
        attributes["mode"] = "max"
    else:
        if value.dtype != "float32" or attributes.get("ceil_mode", 0):
            return None
        padded = any(attributes.get("pads", ()))
        padded = padded or attributes.get("auto_pad", "").startswith("SAME")
        if padded and not attributes.get("count_include_pad", 0):
            attributes["mode"] = "mean"
        else:
            attributes["mode"] = "sum"
            count = float(np.prod(attributes["kernel_shape"]))
            expression = apply("mul", ACCUMULATOR, Const(float(np.float32(1.0 / count))))
    return Operation("pooling", op.name, op.inputs, op.outputs, attributes, expression, anchors=1)


def _softmax(op: Operation, graph: Graph) -> Selected:
    value = graph.values[op.inputs[0]]
    if value.dtype != "float32" or not value.shape:
        return None
    rank = len(value.shape)
    axis = op.attributes.get("axis", -1 if graph.opset >= 13 else 1) % rank
    if graph.opset < 13 and any(n != 1 for n in value.shape[axis + 1 :]):
        return None  # before opset 13 the trailing axes were flattened into one
    attributes = {"axis": axis, "log": op.kind == "LogSoftmax"}
    return Operation("softmax", op.name, op.inputs, op.outputs, attributes, Ref(0))


def _reduction(op: Operation, graph: Graph) -> Selected:
    value = graph.values[op.inputs[0]]
    if value.dtype != "float32":
        return None
    axes = op.attributes.get("axes")
    if len(op.inputs) > 1 and op.inputs[1]:
        if op.inputs[1] not in graph.constants:
            return None
        axes = graph.constants[op.inputs[1]].reshape(-1).tolist()
    if not axes:
        if op.attributes.get("noop_with_empty_axes", 0):
            return view(op, view="reshape")
        axes = range(len(value.shape))
    reduced = tuple(sorted(a % len(value.shape) for a in axes))
    attributes = {"mode": REDUCTIONS[op.kind], "axes": reduced, "full": value.shape}
    return Operation("reduction", op.name, op.inputs[:1], op.outputs, attributes, Ref(0))


SELECTORS: Mapping[str, Callable[[Operation, Graph], Selected]] = {
    "Conv": _convolution,
    "ConvTranspose": transposed_convolution,
    "Gemm": _product,
    "MatMul": _product,
    "InstanceNormalization": _instance_norm,
    "LayerNormalization": _layer_norm,
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool"), _pooling),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(REDUCTIONS, _reduction),
}
