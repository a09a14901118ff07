"""Quantise early: a QuantizeLinear goes before what only moves elements, which then moves bytes.

    Q(move(x))         ->  move(Q(x))             the kernel that makes x stores a quarter
    Q(Concat(a, b))    ->  Concat(Q(a), Q(b))
    Q(Relu(x))         ->  Q(x)                   where the zero point is the lowest integer
    Q(DQ(x))           ->  x                      where both have the same scale and zero point

Q is monotonic, so MaxPool counts as a move. One scale serves the whole tensor, or nothing is done. Where there are
kernels that compute with bfloat16 numbers, a Cast to these goes the same way, but for MaxPool.
"""

from dataclasses import replace
from typing import Literal

from budgetc.lower.graph import Graph, Operation
from budgetc.lower.halves import HALF, rounds, widens
from budgetc.lower.quantisation import LIMITS, Quantisation, quantisation_of

MOVES = {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Identity", "MaxPool"}

_Code = Quantisation | Literal["bfloat16"]
"""What a value is rounded to."""


def quantise_early(graph: Graph, *, halves: bool = False) -> None:
    """Rewrite the graph in place.

    Args:
        graph: is changed.
        halves: whether there are kernels that compute with bfloat16 numbers.
    """
    while _move_one(graph, halves=halves):
        pass
    graph.remove_dead()


def _code(op: Operation, graph: Graph, *, halves: bool) -> _Code | None:
    """What the operation rounds to; None where it is no such operation."""
    if op.kind == "QuantizeLinear":
        return quantisation_of(op, graph)
    return HALF if halves and rounds(op, graph) else None


def _move_one(graph: Graph, *, halves: bool) -> bool:
    """Take one operation that rounds one step up; whether there was one to take."""
    producers, uses = graph.producers(), graph.uses()
    for position, op in enumerate(graph.operations):
        target = _code(op, graph, halves=halves)
        inner = producers.get(op.inputs[0]) if op.inputs else None
        if target is None or inner is None:
            continue
        if _dequantises(inner, target, graph):
            graph.operations[position] = replace(op, kind="Identity", inputs=inner.inputs[:1])
            return True
        if len(inner.outputs) != 1 or uses[inner.output] != 1:
            continue
        if inner.kind == "Relu" and _begins_at_zero(target):
            graph.operations[position] = replace(op, inputs=(inner.inputs[0], *op.inputs[1:]))
            return True
        movable = inner.kind == "Concat" or inner.kind in MOVES
        movable &= target != HALF or inner.kind != "MaxPool"
        moved = inner.inputs if inner.kind == "Concat" else inner.inputs[:1]
        # Where the move is between the same integers already, forming takes the pair away.
        if not movable or all(_dequantises(producers.get(n), target, graph) for n in moved):
            continue
        graph.operations[position : position + 1] = _before(op, inner, len(moved), graph)
        graph.operations.remove(inner)
        return True
    return False


def _begins_at_zero(target: _Code) -> bool:
    return isinstance(target, Quantisation) and target.zero == LIMITS[target.dtype][0]


def _dequantises(op: Operation | None, target: _Code, graph: Graph) -> bool:
    """Whether the operation makes f32 of such codes."""
    if target == HALF:
        return op is not None and widens(op, graph)
    return op is not None and op.kind == "DequantizeLinear" and quantisation_of(op, graph) == target


def _before(op: Operation, inner: Operation, count: int, graph: Graph) -> list[Operation]:
    """The first `count` inputs of `inner` quantised, then `inner` on the integers."""
    dtype = graph.values[op.output].dtype
    quantised: dict[str, str] = {}
    operations = []
    for name in inner.inputs[:count]:
        if name in quantised:
            continue
        shape = graph.values[name].shape
        quantised[name] = graph.add_value(f"{op.output}.early", shape, dtype)
        number = f".{len(quantised)}" if len(quantised) > 1 else ""
        operations.append(
            replace(
                op,
                name=op.name + number,
                inputs=(name, *op.inputs[1:]),
                outputs=(quantised[name],),
            )
        )
    inputs = (*(quantised[n] for n in inner.inputs[:count]), *inner.inputs[count:])
    return [*operations, replace(inner, inputs=inputs, outputs=op.outputs)]
