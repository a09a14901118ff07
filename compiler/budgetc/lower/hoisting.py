"""Quantise early: a QuantizeLinear goes before what only moves elements, which then moves bytes.

    Q(move(x))         ->  move(Q(x))             the kernel that makes x stores a quarter
    Q(Concat(a, b))    ->  Concat(Q(a), Q(b))
    Q(Relu(x))         ->  Q(x)                   where the zero point is the lowest integer
    Q(DQ(x))           ->  x                      where both have the same scale and zero point

Q is monotonic, so MaxPool counts as a move. One scale serves the whole tensor, or nothing is done.
"""

from dataclasses import replace

from budgetc.lower.graph import Graph, Operation
from budgetc.lower.quantisation import LIMITS, Quantisation, quantisation_of

MOVES = {"Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Identity", "MaxPool"}


def quantise_early(graph: Graph) -> None:
    """Rewrite the graph in place."""
    while _move_one(graph):
        pass
    graph.remove_dead()


def _move_one(graph: Graph) -> bool:
    """Take one QuantizeLinear one step up; whether there was one to take."""
    producers, uses = graph.producers(), graph.uses()
    for position, op in enumerate(graph.operations):
        target = quantisation_of(op, graph) if op.kind == "QuantizeLinear" else None
        inner = producers.get(op.inputs[0])
        if target is None or inner is None:
            continue
        if _dequantises(inner, target, graph):
            graph.operations[position] = replace(op, kind="Identity", inputs=inner.inputs[:1])
            return True
        if len(inner.outputs) != 1 or uses[inner.output] != 1:
            continue
        if inner.kind == "Relu" and target.zero == LIMITS[target.dtype][0]:
            graph.operations[position] = replace(op, inputs=(inner.inputs[0], *op.inputs[1:]))
            return True
        movable = inner.kind == "Concat" or inner.kind in MOVES
        moved = inner.inputs if inner.kind == "Concat" else inner.inputs[:1]
        # Where the move is between the same integers already, forming takes the pair away.
        if not movable or all(_dequantises(producers.get(n), target, graph) for n in moved):
            continue
        graph.operations[position : position + 1] = _before(op, inner, len(moved), graph)
        graph.operations.remove(inner)
        return True
    return False


def _dequantises(op: Operation | None, target: Quantisation, graph: Graph) -> bool:
    """Whether the operation makes reals of integers of this very quantisation."""
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
