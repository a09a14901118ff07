"""Remove operators that hand on their input unchanged.

Identity(x), Dropout(x), Cast(x) to its own type      ->  x
Reshape, Flatten, Expand, ... to the shape x has      ->  x
Transpose that moves nothing, Pad by nothing,
Slice of all, Concat and Sum of one, pools of 1 x 1   ->  x
x + 0, x - 0, x * 1, x / 1, x ^ 1                     ->  x      where the shape stays
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from budgetc_passes.contract import Evidence, Needs, Note, PassResult
from budgetc_passes.graph import (
    constant,
    dims,
    drop_dead,
    input_at,
    int_list,
    ints_attribute,
    is_op,
    label,
    substitute,
)
from budgetc_passes.invariants import finish, require


@dataclass(frozen=True)
class RemoveIdentities:
    """Removes what changes neither values, shape nor type; pays always.

    Requires: opset >= 9, functions inlined. Ensures: no such operator is left, but between an input
    or constant and an output, where something must carry the output's name.
    Cost: never grows size or latency.
    """

    name: ClassVar[str] = "remove-identities"

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Remove every identity, in the order of the graph."""
        before = require(model, self.name)
        notes: list[Note] = []
        for node in list(model.graph):
            value = handed_on(node) if node.graph is not None else None
            if value is None:
                continue
            name = label(node)
            if substitute(node.outputs[0], value):
                drop_dead(node)
                notes.append(Note("did", name, f"removed: {node.op_type} changes nothing"))
            elif not is_op(node, "Identity"):
                # The name needs a carrier, and the cheapest is the one that computes nothing.
                node.op_type = "Identity"
                node.attributes.clear()
                node.replace_input_with(0, value)
                node.resize_inputs(1)
                notes.append(Note("did", name, "written as Identity: it carries an output's name"))
        return finish(model, self.name, before, notes)


def handed_on(node: ir.Node) -> ir.Value | None:
    """The input that the node's output equals in every element, with shape and type; else None."""
    rule = _RULES.get(node.op_type) if node.domain == "" else None
    if rule is None or any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return None
    at = rule(node)
    value = None if at is None else input_at(node, at)
    if value is None:
        return None
    output = node.outputs[0]
    if is_op(node, "Identity", "Dropout"):
        return value
    same = dims(value) is not None and dims(value) == dims(output) and value.dtype == output.dtype
    return value if same else None


def _always(_: ir.Node) -> int | None:
    return 0


def _dropout(node: ir.Node) -> int | None:
    training = input_at(node, 2)
    flag = constant(training)
    return 0 if training is None or (flag is not None and not flag.any()) else None


def _transpose(node: ir.Node) -> int | None:
    shape = dims(node.inputs[0]) or ()
    perm = ints_attribute(node, "perm", range(len(shape))[::-1])
    return 0 if list(perm) == sorted(perm) else None


def _pad(node: ir.Node) -> int | None:
    amounts = int_list(node, 1, "pads")
    return 0 if amounts is not None and not any(amounts) else None


def _slice(node: ir.Node) -> int | None:
    # The same shape with positive steps is everything; a negative step would turn it round.
    steps = int_list(node, 4, "steps")
    if input_at(node, 4) is not None and steps is None:
        return None
    return 0 if steps is None or min(steps) > 0 else None


def _of_one(node: ir.Node) -> int | None:
    return 0 if len(node.inputs) == 1 else None


def _pool(node: ir.Node) -> int | None:
    window = ints_attribute(node, "kernel_shape", (2,))
    moved = (
        *ints_attribute(node, "pads", ()),
        *(s - 1 for s in ints_attribute(node, "strides", ())),
    )
    return 0 if set(window) == {1} and not any(moved) else None


def _neutral(number: float, *, either: bool) -> Callable[[ir.Node], int | None]:
    def rule(node: ir.Node) -> int | None:
        for at in (1, 0) if either else (1,):
            array = constant(input_at(node, at))
            if array is None or not np.issubdtype(array.dtype, np.number):
                continue
            if (array == number).all():
                return 1 - at
        return None

    return rule


_RULES: Mapping[str, Callable[[ir.Node], int | None]] = {
    "Identity": _always,
    "Dropout": _dropout,
    "Cast": _always,
    "CastLike": _always,
    "Reshape": _always,
    "Flatten": _always,
    "Squeeze": _always,
    "Unsqueeze": _always,
    "Expand": _always,
    "Tile": _always,
    "Transpose": _transpose,
    "Pad": _pad,
    "Slice": _slice,
    "Concat": _of_one,
    "Sum": _of_one,
    "Max": _of_one,
    "Min": _of_one,
    "Mean": _of_one,
    "AveragePool": _pool,
    "MaxPool": _pool,
    "Add": _neutral(0, either=True),
    "Sub": _neutral(0, either=False),
    "Mul": _neutral(1, either=True),
    "Div": _neutral(1, either=False),
    "Pow": _neutral(1, either=False),
}
