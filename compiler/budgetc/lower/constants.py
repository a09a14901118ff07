"""Evaluate what follows from constants alone, so that no kernel computes it at run time."""

import math
from collections.abc import Collection

import numpy as np
from budgetc_specs.errors import ModelError

from budgetc.baseline import make_session
from budgetc.lower.graph import Array, Graph, Operation

MOST_ELEMENTS = 1 << 26  # a larger result would make the library larger than what it saves
_SHAPES = {"Shape", "Size"}  # they read no element, and every shape is known


def fold_constants(graph: Graph, keep: Collection[str] = ()) -> None:
    """Turn operations over constants into constants, in place.

    Operators in `keep` stay, such as the DequantizeLinear of a weight, which integer kernels need.
    """
    remaining: list[Operation] = []
    for op in graph.operations:
        chosen = op.kind in keep or "proto" not in op.attributes
        results = None if chosen else _evaluate(op, graph)
        if results is None:
            remaining.append(op)
            continue
        for name, array in zip(op.outputs, results, strict=True):
            graph.set_constant(name, array)
    graph.operations = remaining
    graph.remove_dead()


def _evaluate(op: Operation, graph: Graph) -> list[Array] | None:
    """What the operation computes, or None where that is not known now."""
    if op.kind in _SHAPES:
        return [_shape(op, graph.values[op.inputs[0]].shape)]
    if not all(n in graph.constants for n in op.inputs if n):
        return None
    values = [graph.values[name] for name in op.outputs]
    if any(math.prod(v.shape) > MOST_ELEMENTS for v in values):
        return None
    try:
        session = make_session(graph.node_model(op).SerializeToString(), optimisation="none")
        found = session.run({})
    except ModelError:  # then it is computed at run time, by a kernel if there is one
        return None
    return [np.asarray(found[name]) for name in op.outputs]


def _shape(op: Operation, shape: tuple[int, ...]) -> Array:
    if op.kind == "Size":
        return np.array(math.prod(shape), np.int64)
    return np.array(shape[op.attributes.get("start", 0) : op.attributes.get("end")], np.int64)
