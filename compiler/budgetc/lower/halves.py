"""Layers that multiply bfloat16 numbers: they read 16 bits where the graph rounds to them and widens them again.

    Conv(widen(b), W)  ->  Conv(b, W)     where b is bfloat16 and W, in f32, has no digit beyond its 8

The kernel multiplies pairs of them and sums in f32, which is what the graph says: widening changes no number.
"""

from dataclasses import replace
from typing import Literal

import ml_dtypes
import numpy as np
from budgetc_targets.expression import Ref, apply

from budgetc.lower.graph import Array, Graph, Operation
from budgetc.lower.select_moves import Selected

HALF: Literal["bfloat16"] = "bfloat16"

_LAYERS = ("convolution", "product")


def cast_halves(op: Operation, graph: Graph) -> Selected:
    """A Cast between f32 and bfloat16 as a map; other casts of the latter are left to generated C."""
    if rounds(op, graph):
        return Operation("map", op.name, op.inputs, op.outputs, {}, apply("round_bf16", Ref(0)))
    if widens(op, graph):
        return Operation("map", op.name, op.inputs, op.outputs, {}, Ref(0))
    return None


def rounds(op: Operation, graph: Graph) -> bool:
    """Whether the operation is a Cast of f32 to bfloat16 inside the graph.

    In a port its result is for others, and has numbers below the normal ones, which the instruction takes for zero.
    """
    return _casts(op, graph) == ("float32", HALF) and op.output not in graph.outputs


def widens(op: Operation, graph: Graph) -> bool:
    """Whether the operation is a Cast of bfloat16 to f32."""
    return _casts(op, graph) == (HALF, "float32")


def _casts(op: Operation, graph: Graph) -> tuple[str, str] | None:
    """From which element type to which; None where it is no Cast."""
    if op.kind != "Cast":
        return None
    return graph.values[op.inputs[0]].dtype, graph.values[op.output].dtype


def multiply_halves(graph: Graph) -> None:
    """Let every layer that may do so multiply bfloat16 numbers, in place; operations are chosen, and not yet fused."""
    producers = graph.producers()
    for position, op in enumerate(graph.operations):
        maker = producers.get(op.inputs[0]) if op.inputs else None
        if op.kind not in _LAYERS or maker is None or not _hands_on(maker, graph):
            continue
        weight = _narrowed(op)
        if weight is not None:
            attributes = {**op.attributes, "weight": weight}
            inputs = (maker.inputs[0], *op.inputs[1:])
            graph.operations[position] = replace(op, inputs=inputs, attributes=attributes)
    graph.remove_dead()


def _hands_on(op: Operation, graph: Graph) -> bool:
    """Whether the operation is what became of a Cast of bfloat16 to f32."""
    return op.kind == "map" and op.expression == Ref(0) and graph.values[op.inputs[0]].dtype == HALF


def _narrowed(op: Operation) -> Array | None:
    """The weights as bfloat16, where they are that and one filter sees more than one channel."""
    weight: Array = op.attributes["weight"]
    if op.attributes.get("group", 1) > 1 and weight.shape[1] == 1:
        return None
    narrow: Array = weight.astype(ml_dtypes.bfloat16)
    return narrow if np.array_equal(narrow.astype(np.float32), weight) else None
