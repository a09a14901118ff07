"""Recognise activations that an exporter wrote out.

    Max(x, a), Min(x, b)                        ->  Clip
    Clip(Clip(x, a, b), c, d)                   ->  Clip(x, clip(a, c, d), clip(b, c, d))
    Clip(x, 0, inf)                             ->  Relu, which is merged with Clips alike
    Clip(x + 3, 0, 6) / 6                       ->  HardSigmoid(x, alpha=1/6, beta=1/2)
    Clip(x / 6 + 1/2, 0, 1)                     ->  HardSigmoid(x, alpha=1/6, beta=1/2)
    x * HardSigmoid(x), x * Clip(x+3, 0, 6) / 6 ->  HardSwish(x)        opset >= 14

Relu6 is Clip(x, 0, 6). x * Sigmoid(x) stays: the operator for it is newer than most tools.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from budgetc_passes.contract import Evidence, Needs, Note, PassResult
from budgetc_passes.graph import (
    add_initializer,
    add_node,
    clip_bounds,
    dims,
    drop_dead,
    float_attribute,
    graph_of,
    is_op,
    label,
    only_consumer,
    opset,
    scalar,
    substitute,
)
from budgetc_passes.invariants import finish, require

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)


@dataclass(frozen=True)
class RecogniseActivations:
    """Draws Min, Max, Clip, Relu and products of them into one activation, which a kernel can fuse.

    Requires: opset >= 9, functions inlined, no NaN in the activations (Clip and Max differ there).
    Ensures: no Clip or Relu reads a Clip or Relu that nothing else reads; the interface is
    unchanged.
    Cost: never grows latency; size by two numbers at most for each Clip.
    """

    name: ClassVar[str] = "recognise-activations"

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Try every rule on every node, in the order of the graph, until none applies."""
        before = require(model, self.name)
        version = opset(model)
        notes: list[Note] = []
        progress = True
        while progress:
            progress = False
            for node in list(model.graph):
                if node.graph is None:  # removed with an earlier one
                    continue
                note = _rewrite(node, version)
                if note is not None and note not in notes:
                    notes.append(note)
                    progress = progress or note.kind == "did"
        return finish(model, self.name, before, notes)


def _rewrite(node: ir.Node, version: int) -> Note | None:
    if node.outputs[0].dtype not in FLOATS:
        return None
    if is_op(node, "Min", "Max"):
        return _clamp(node, version)
    if is_op(node, "Clip", "Relu"):
        return _clip(node, version)
    if is_op(node, "Mul", "Div"):
        return _product(node, version)
    return None


def _clamp(node: ir.Node, version: int) -> Note | None:
    if len(node.inputs) != 2:
        return None
    for at in (0, 1):
        bound, value = scalar(node.inputs[at]), node.inputs[1 - at]
        if bound is None or value is None or dims(value) != dims(node.outputs[0]):
            continue
        lower, upper = (bound, np.inf) if is_op(node, "Max") else (-np.inf, bound)
        return _write_clip(node, value, lower, upper, version)
    return None


def _clip(node: ir.Node, version: int) -> Note | None:
    bounds, value = clip_bounds(node), node.inputs[0]
    if bounds is None or value is None or bounds[0] > bounds[1]:
        return None
    if bounds == (-np.inf, np.inf):
        note = Note("did", label(node), "removed: it clamps to nothing")
        if not substitute(node.outputs[0], value):
            return None
        drop_dead(node)
        return note
    inner = value.producer()
    if inner is not None and only_consumer(value) is node:
        inside = clip_bounds(inner)
        if inside is not None and inside[0] <= inside[1] and inner.inputs[0] is not None:
            lower, upper = (float(np.clip(bound, *bounds)) for bound in inside)
            return _write_clip(node, inner.inputs[0], lower, upper, version)
    rule = _hard_sigmoid_of_sixth(node, bounds)
    if rule is not None:
        return rule
    if is_op(node, "Clip") and bounds == (0.0, np.inf):
        return _write_clip(node, value, *bounds, version)
    return None


def _write_clip(node: ir.Node, value: ir.Value, lower: float, upper: float, version: int) -> Note:
    """Put a Clip of `value` in the place of the node; a Relu where that is what it is."""
    if (lower, upper) == (0.0, np.inf):
        return _replace(node, "Relu", [value], {})
    bounds = (("min", lower), ("max", upper))
    if version < 11:
        attributes = {name: bound for name, bound in bounds if np.isfinite(bound)}
        return _replace(node, "Clip", [value], attributes)
    dtype = node.outputs[0].dtype or ir.DataType.FLOAT
    inputs: list[ir.Value | None] = [value]
    for name, bound in bounds:
        array = np.array(bound, dtype.numpy())
        stem = f"{node.outputs[0].name}.{name}"
        inputs.append(add_initializer(graph_of(node), stem, array) if np.isfinite(bound) else None)
    while inputs[-1] is None:
        inputs.pop()
    return _replace(node, "Clip", inputs, {})


def _replace(
    node: ir.Node, op_type: str, inputs: list[ir.Value | None], attributes: dict[str, float]
) -> Note:
    old = node.outputs[0]
    new = add_node(
        node,
        op_type,
        inputs,
        shape=old.shape,
        dtype=old.dtype,
        stem=f"{old.name}.{op_type.lower()}",
        attributes=attributes,
    )
    note = Note("did", label(node), f"recognised as {op_type}")
    substitute(old, new)
    drop_dead(node)
    return note


def _close(number: float | None, wanted: float) -> bool:
    return number is not None and abs(number - wanted) <= 1e-6 * max(1.0, abs(wanted))


def _with_scalar(node: ir.Node | None, *op_types: str) -> Iterator[tuple[ir.Value, float]]:
    """The other input and the number, of a binary node with one scalar constant."""
    if node is None or not is_op(node, *op_types) or len(node.inputs) != 2:
        return
    for at in (1, 0) if is_op(node, "Add", "Mul") else (1,):
        number, other = scalar(node.inputs[at]), node.inputs[1 - at]
        if number is not None and other is not None and dims(other) == dims(node.outputs[0]):
            yield other, number


def _sixths(node: ir.Node | None) -> Iterator[ir.Value]:
    """What the node divides by six."""
    yield from (value for value, number in _with_scalar(node, "Div") if _close(number, 6.0))
    yield from (value for value, number in _with_scalar(node, "Mul") if _close(number, 1 / 6))


def _shifted_relu6(value: ir.Value | None) -> ir.Value | None:
    """The x of a value that is Clip(x + 3, 0, 6)."""
    clip = None if value is None else value.producer()
    if clip is None or not is_op(clip, "Clip") or clip_bounds(clip) != (0.0, 6.0):
        return None
    added = clip.inputs[0].producer() if clip.inputs[0] is not None else None
    return next((x for x, number in _with_scalar(added, "Add") if _close(number, 3.0)), None)


def _hard_sigmoid_of_sixth(node: ir.Node, bounds: tuple[float, float]) -> Note | None:
    if bounds != (0.0, 1.0) or node.inputs[0] is None:
        return None
    for value, number in _with_scalar(node.inputs[0].producer(), "Add"):
        for x in _sixths(value.producer()):
            if _close(number, 0.5):
                return _replace(node, "HardSigmoid", [x], {"alpha": 1 / 6, "beta": 0.5})
    return None


def _product(node: ir.Node, version: int) -> Note | None:
    for value in _sixths(node):
        x = _shifted_relu6(value)
        if x is not None:
            return _replace(node, "HardSigmoid", [x], {"alpha": 1 / 6, "beta": 0.5})
        inner = value.producer()
        if inner is not None and is_op(inner, "Mul"):
            for at in (0, 1):
                if (
                    inner.inputs[at] is not None
                    and _shifted_relu6(inner.inputs[1 - at]) is (inner.inputs[at])
                ):
                    return _hard_swish(node, inner.inputs[at], version)
    if is_op(node, "Mul") and len(node.inputs) == 2:
        for at in (0, 1):
            x, other = node.inputs[at], node.inputs[1 - at]
            gate = None if other is None else other.producer()
            if gate is None or x is None:
                continue
            if _is_hard_sigmoid(gate) and gate.inputs[0] is x:
                return _hard_swish(node, x, version)
            # the sixth may also be taken of x itself
            base = _shifted_relu6(other)
            if base is not None and any(value is base for value in _sixths(x.producer())):
                return _hard_swish(node, base, version)
    return None


def _is_hard_sigmoid(node: ir.Node) -> bool:
    return (
        is_op(node, "HardSigmoid")
        and _close(float_attribute(node, "alpha", 0.2), 1 / 6)
        and _close(float_attribute(node, "beta", 0.5), 0.5)
    )


def _hard_swish(node: ir.Node, x: ir.Value | None, version: int) -> Note:
    if version < 14:
        text = f"is a HardSwish, which the model's opset {version} does not have (14 does)"
        return Note("refused", label(node), text)
    return _replace(node, "HardSwish", [x], {})
