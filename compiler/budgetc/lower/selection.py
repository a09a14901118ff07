"""Choose what each ONNX operator becomes: a map, a kernel, a view, a copy, or TVM's own code for it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from budgetc_targets.expression import ACCUMULATOR, Const, Expr, Ref, apply

from budgetc.lower.activations import as_expression
from budgetc.lower.graph import Graph, Operation
from budgetc.lower.integer import LIMITS, Quantisation, dequantise, quantise

VIEWS = {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Expand"}
REDUCTIONS = {
    "ReduceSum": "sum",
    "ReduceMean": "mean",
    "ReduceMax": "max",
    "ReduceMin": "min",
    "ReduceProd": "prod",
}


def select(graph: Graph) -> None:
    """Give every operation of the graph its lowering kind, in place."""
    chosen: list[Operation] = []
    for op in graph.operations:
        if op.kind.islower():
            chosen.append(op)
            continue
        result = _SELECTORS.get(op.kind, _elementwise)(op, graph)
        if result is None:
            chosen.append(replace(op, kind="foreign"))
        elif isinstance(result, Operation):
            chosen.append(result)
        else:
            chosen.extend(result)
    graph.operations = chosen


Selected = Operation | list[Operation] | None


def _elementwise(op: Operation, graph: Graph) -> Selected:
    if op.kind in VIEWS:
        return _view(op, graph)
    found = as_expression(op, graph)
    if found is None:
        return None
    inputs, expression = found
    return Operation("map", op.name, inputs, op.outputs[:1], {}, expression)


def _view(op: Operation, graph: Graph) -> Selected:
    del graph
    attributes: dict[str, Any] = {"view": "reshape"}
    if op.kind == "Transpose":
        attributes = {"view": "transpose", "perm": op.attributes.get("perm")}
    elif op.kind == "Expand":
        attributes = {"view": "expand"}
    return Operation("view", op.name, op.inputs[:1], op.outputs[:1], attributes)


def _slice(op: Operation, graph: Graph) -> Selected:
    if graph.opset < 10:
        starts, ends = op.attributes["starts"], op.attributes["ends"]
        axes = op.attributes.get("axes", tuple(range(len(starts))))
        steps: Any = (1,) * len(starts)
    else:
        if any(name and name not in graph.constants for name in op.inputs[1:]):
            return None
        read = [graph.constants[n].reshape(-1).tolist() if n else None for n in op.inputs[1:]]
        read += [None] * (4 - len(read))
        starts, ends = read[0], read[1]
        axes = read[2] or list(range(len(starts)))
        steps = read[3] or [1] * len(starts)
    shape = graph.values[op.inputs[0]].shape
    ranges = [(0, 1)] * len(shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        d = axis % len(shape)
        ranges[d] = (slice(start, end, step).indices(shape[d])[0], step)
    attributes = {"view": "slice", "ranges": tuple(ranges)}
    return Operation("view", op.name, op.inputs[:1], op.outputs, attributes)


def _split(op: Operation, graph: Graph) -> Selected:
    shape = graph.values[op.inputs[0]].shape
    axis, at, views = op.attributes.get("axis", 0) % len(shape), 0, []
    for output in op.outputs:
        ranges = [(0, 1)] * len(shape)
        ranges[axis] = (at, 1)
        attributes = {"view": "slice", "ranges": tuple(ranges)}
        views.append(Operation("view", op.name, op.inputs[:1], (output,), attributes))
        at += graph.values[output].shape[axis]
    return views


def _concat(op: Operation, graph: Graph) -> Selected:
    shape = graph.values[op.output].shape
    axis, at, offsets = op.attributes["axis"] % len(shape), 0, []
    for name in op.inputs:
        offsets.append(tuple(at if d == axis else 0 for d in range(len(shape))))
        at += graph.values[name].shape[axis]
    return Operation("copy-into", op.name, op.inputs, op.outputs, {"offsets": tuple(offsets)})


def _pad(op: Operation, graph: Graph) -> Selected:
    """Constant padding; a negative pad, another mode or a computed value is left to TVM."""
    if op.attributes.get("mode", "constant") != "constant":
        return None
    value: Any = op.attributes.get("value", 0.0)
    if graph.opset < 11:
        pads = list(op.attributes["pads"])
    else:
        if any(name and name not in graph.constants for name in op.inputs[1:]):
            return None
        if len(op.inputs) > 3 and op.inputs[3]:
            return None
        pads = graph.constants[op.inputs[1]].tolist()
        if len(op.inputs) > 2 and op.inputs[2]:
            value = graph.constants[op.inputs[2]].reshape(-1)[0].item()
    if any(p < 0 for p in pads):
        return None
    rank = len(graph.values[op.output].shape)
    attributes = {"offsets": (tuple(pads[:rank]),), "fill": value}
    return Operation("copy-into", op.name, op.inputs[:1], op.outputs, attributes)


def _convolution(op: Operation, graph: Graph) -> Selected:
    if op.inputs[1] not in graph.constants or graph.values[op.inputs[0]].dtype != "float32":
        return None
    weight = graph.constants[op.inputs[1]]
    if weight.ndim not in (3, 4):
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
    """Gemm and MatMul by a constant matrix; the product of two activations is left to TVM."""
    x, value = op.inputs[0], graph.values[op.inputs[0]]
    if op.inputs[1] not in graph.constants or value.dtype != "float32" or len(value.shape) < 2:
        return None
    weight = graph.constants[op.inputs[1]]
    if weight.ndim != 2 or len(value.shape) > 4:
        return None
    bias = None
    if op.kind == "Gemm":
        if op.attributes.get("transA", 0):
            return None
        weight = weight.T if op.attributes.get("transB", 0) else weight
        weight = np.float32(op.attributes.get("alpha", 1.0)) * weight
        if len(op.inputs) > 2 and op.inputs[2]:
            bias = graph.constants.get(op.inputs[2])
            if bias is None or bias.size not in (1, weight.shape[1]):
                return None
            bias = np.float32(op.attributes.get("beta", 1.0)) * bias.reshape(-1)
    filters = weight.shape[1]
    full = np.zeros(filters, np.float32) if bias is None else np.broadcast_to(bias, (filters,))
    attributes = {"weight": weight, "bias": full}
    return Operation("product", op.name, (x,), op.outputs, attributes, ACCUMULATOR, anchors=1)


def _pooling(op: Operation, graph: Graph) -> Selected:
    value = graph.values[op.inputs[0]]
    if len(value.shape) not in (3, 4) or len(op.outputs) != 1:
        return None
    if value.dtype not in ("float32", "uint8", "int8") or op.attributes.get("storage_order", 0):
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
        padded = any(attributes.get("pads", ())) or attributes.get("auto_pad", "").startswith("SAME")
        if padded and not attributes.get("count_include_pad", 0):
            attributes["mode"] = "mean"
        else:
            attributes["mode"] = "sum"
            count = float(np.prod(attributes["kernel_shape"]))
            expression = apply("mul", ACCUMULATOR, Const(float(np.float32(1.0 / count))))
    return Operation("pooling", op.name, op.inputs, op.outputs, attributes, expression, anchors=1)


def _softmax(op: Operation, graph: Graph) -> Selected:
    value = graph.values[op.inputs[0]]
    if value.dtype != "float32":
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
            return None
        axes = range(len(value.shape))
    reduced = tuple(sorted(a % len(value.shape) for a in axes))
    attributes = {"mode": REDUCTIONS[op.kind], "axes": reduced, "full": value.shape}
    return Operation("reduction", op.name, op.inputs[:1], op.outputs, attributes, Ref(0))


def _linear(op: Operation, graph: Graph) -> Quantisation | None:
    scale = graph.constants.get(op.inputs[1])
    zero = graph.constants.get(op.inputs[2]) if len(op.inputs) > 2 and op.inputs[2] else None
    name = op.output if op.kind == "QuantizeLinear" else op.inputs[0]
    dtype = graph.values[name].dtype
    real = graph.values[op.inputs[0] if op.kind == "QuantizeLinear" else op.output].dtype
    if scale is None or scale.size != 1 or dtype not in LIMITS or real != "float32":
        return None
    if len(op.inputs) > 2 and op.inputs[2] and zero is None:
        return None
    point = int(zero.reshape(-1)[0]) if zero is not None else 0
    return Quantisation(np.float32(scale.reshape(-1)[0]), point, dtype)


def _quantize(op: Operation, graph: Graph) -> Selected:
    quantisation = _linear(op, graph)
    if quantisation is None:
        return None
    convert: Callable[[Expr, Quantisation], Expr] = (
        quantise if op.kind == "QuantizeLinear" else dequantise
    )
    expression = convert(Ref(0), quantisation)
    return Operation("map", op.name, op.inputs[:1], op.outputs, {}, expression)


_SELECTORS: dict[str, Callable[[Operation, Graph], Selected]] = {
    "Conv": _convolution,
    "Gemm": _product,
    "MatMul": _product,
    "MaxPool": _pooling,
    "AveragePool": _pooling,
    "GlobalMaxPool": _pooling,
    "GlobalAveragePool": _pooling,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "Slice": _slice,
    "Split": _split,
    "Concat": _concat,
    "Pad": _pad,
    "QuantizeLinear": _quantize,
    "DequantizeLinear": _quantize,
    **dict.fromkeys(REDUCTIONS, _reduction),
}
