"""Operators that compute nothing: views of the same elements under other strides, and copies."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from budgetc_specs.errors import ModelError

from budgetc.lower.graph import Graph, Operation

Selected = Operation | list[Operation] | None
"""What takes an operator's place; None leaves it to TVM."""


def view(op: Operation, **how: Any) -> Operation:
    """The first input under other strides."""
    return Operation("view", op.name, op.inputs[:1], op.outputs, how)


def _reshape(op: Operation, graph: Graph) -> Selected:
    del graph
    return view(op, view="reshape")


def _expand(op: Operation, graph: Graph) -> Selected:
    del graph
    return view(op, view="expand")


def _cast(op: Operation, graph: Graph) -> Selected:
    same = graph.values[op.inputs[0]].dtype == graph.values[op.output].dtype
    return view(op, view="reshape") if same else None


def _dropout(op: Operation, graph: Graph) -> Selected:
    """Nothing at all, outside of training: every element is kept."""
    training = op.inputs[2] if len(op.inputs) > 2 else ""
    if training and (training not in graph.constants or graph.constants[training].any()):
        raise ModelError(
            f"{op.label} draws random numbers, as in training",
            "export the model for inference (in PyTorch, call model.eval() first).",
        )
    kept, *masks = op.outputs
    for mask in masks:
        graph.set_constant(mask, np.ones(graph.values[mask].shape, graph.values[mask].dtype))
    return Operation("view", op.name, op.inputs[:1], (kept,), {"view": "reshape"})


def _transpose(op: Operation, graph: Graph) -> Selected:
    rank = len(graph.values[op.inputs[0]].shape)
    return view(op, view="transpose", perm=op.attributes.get("perm", tuple(reversed(range(rank)))))


def _slice(op: Operation, graph: Graph) -> Selected:
    shape = graph.values[op.inputs[0]].shape
    if graph.opset < 10:
        starts, ends = list(op.attributes["starts"]), list(op.attributes["ends"])
        axes = list(op.attributes.get("axes", range(len(starts))))
        steps = [1] * len(starts)
    else:
        if any(name and name not in graph.constants for name in op.inputs[1:]):
            return None
        given = [graph.constants[n].reshape(-1).tolist() if n else [] for n in op.inputs[1:]]
        starts, ends, axes, steps = [*given, [], []][:4]
        axes = axes or list(range(len(starts)))
        steps = steps or [1] * len(starts)
    if any(step < 0 for step in steps):
        return None
    ranges = [(0, 1)] * len(shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        d = axis % len(shape)
        ranges[d] = (slice(start, end, step).indices(shape[d])[0], step)
    return view(op, view="slice", ranges=tuple(ranges))


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
    axis, at, inputs, offsets = op.attributes["axis"] % len(shape), 0, [], []
    for name in op.inputs:
        extent = graph.values[name].shape[axis]
        if not extent:  # some exporters begin a loop of concatenations with an empty tensor
            continue
        inputs.append(name)
        offsets.append(tuple(at if d == axis else 0 for d in range(len(shape))))
        at += extent
    attributes = {"offsets": tuple(offsets)}
    return Operation("copy-into", op.name, tuple(inputs), op.outputs, attributes)


def _pad(op: Operation, graph: Graph) -> Selected:
    """Constant padding, or none at all; a negative pad, another mode or a computed value is left to others."""
    pads: list[int] | None
    if graph.opset < 11:
        pads = list(op.attributes["pads"])
    else:
        pads = graph.constants[op.inputs[1]].tolist() if op.inputs[1] in graph.constants else None
    if pads is not None and not any(pads):  # also a scalar's, which generated C cannot pad
        return view(op, view="reshape")
    if op.attributes.get("mode", "constant") != "constant":
        return None
    value: Any = op.attributes.get("value", 0.0)
    if graph.opset >= 11:
        if any(name and name not in graph.constants for name in op.inputs[1:]):
            return None
        if len(op.inputs) > 3 and op.inputs[3]:
            return None
        if len(op.inputs) > 2 and op.inputs[2]:
            value = graph.constants[op.inputs[2]].reshape(-1)[0].item()
    if pads is None or any(p < 0 for p in pads):
        return None
    rank = len(graph.values[op.output].shape)
    attributes = {"offsets": (tuple(pads[:rank]),), "fill": value}
    return Operation("copy-into", op.name, op.inputs[:1], op.outputs, attributes)


SELECTORS: Mapping[str, Callable[[Operation, Graph], Selected]] = {
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"), _reshape),
    "Cast": _cast,
    "Concat": _concat,
    "Dropout": _dropout,
    "Expand": _expand,
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
    "Transpose": _transpose,
}
