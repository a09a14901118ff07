"""Fuse elementwise maps into each other and into the kernel before them, so that a tensor is touched once."""

from collections import Counter
from collections.abc import Mapping

from budgetc_targets.expression import ACCUMULATOR, Expr, Ref, size, substitute

from budgetc.lower.graph import Graph, Operation

KERNELS = ("convolution", "product", "pooling")
MOST_OPERANDS = 8  # pointers beyond the registers of a call cost more than a saved sweep
CHEAP = 4


def fuse(graph: Graph) -> None:
    """Rewrite the graph in place. One sweep suffices: whatever an operation takes in is final by then."""
    uses, producers = graph.uses(), graph.producers()
    gone: set[str] = set()
    order: list[Operation] = []
    for original in graph.operations:
        op = original
        if op.kind in ("map", "softmax", "reduction"):
            op = _take_maps(op, graph, producers, uses, gone)
        if op.kind == "map":
            op = _join_kernel(op, graph, producers, uses, gone)
        for name in op.outputs:
            producers[name] = op
        order.append(op)
    graph.operations = [op for op in order if op.outputs[0] not in gone]
    graph.remove_dead()


def _take_maps(
    op: Operation,
    graph: Graph,
    producers: Mapping[str, Operation],
    uses: Counter[str],
    gone: set[str],
) -> Operation:
    """Pull the maps that feed an operation into its expression."""
    again = True
    while again:
        again = False
        for position, name in enumerate(op.inputs):
            inner = producers.get(name)
            if inner is None or inner.kind != "map" or inner.expression is None:
                continue
            alone = uses[name] == op.inputs.count(name)
            if not (alone or _dequantises(inner, graph)):
                continue
            if len(set(op.inputs) | set(inner.inputs)) > MOST_OPERANDS:
                continue
            op = _inline(op, position, inner)
            if alone:
                gone.add(name)
            uses[name] -= 1
            uses.update(inner.inputs)
            again = True
            break
    return op


def _dequantises(op: Operation, graph: Graph) -> bool:
    """Whether the map is so cheap that every reader may repeat it: few steps from one small integer."""
    assert op.expression is not None
    integer = graph.values[op.inputs[0]].dtype in ("uint8", "int8")
    return len(op.inputs) == 1 and integer and size(op.expression) <= CHEAP


def _inline(op: Operation, position: int, inner: Operation) -> Operation:
    """The operation with input `position` replaced by the map's own inputs."""
    assert op.expression is not None
    assert inner.expression is not None
    name = op.inputs[position]
    inputs = [i for i in op.inputs if i != name]
    inputs += [i for i in inner.inputs if i not in inputs]
    body = substitute(inner.expression, lambda r: Ref(inputs.index(inner.inputs[r.index])))

    def outer(reference: Ref) -> Expr:
        if reference == ACCUMULATOR:
            return reference
        wanted = op.inputs[reference.index]
        return body if wanted == name else Ref(inputs.index(wanted))

    return Operation(
        op.kind,
        op.name,
        tuple(inputs),
        op.outputs,
        op.attributes,
        substitute(op.expression, outer),
        op.anchors,
    )


def _join_kernel(
    op: Operation,
    graph: Graph,
    producers: dict[str, Operation],
    uses: Counter[str],
    gone: set[str],
) -> Operation:
    """Make a map the epilogue of the kernel that computes one of its inputs; the latest such kernel is taken."""
    shape = graph.values[op.output].shape
    candidates = [
        producers[name]
        for name in op.inputs
        if name in producers
        and producers[name].kind in KERNELS
        and uses[name] == op.inputs.count(name)
        and graph.values[name].shape == shape
    ]
    if not candidates:
        return op
    kernel = max(candidates, key=lambda k: _position(graph, k))
    if len(set(op.inputs) | set(kernel.inputs)) > MOST_OPERANDS + 1:
        return op
    assert kernel.expression is not None
    assert op.expression is not None
    anchors = list(kernel.inputs[: kernel.anchors])
    sides = list(dict.fromkeys(kernel.inputs[kernel.anchors :]))
    sides += [i for i in op.inputs if i != kernel.output and i not in sides]

    def place(name: str) -> Ref:
        return Ref(len(anchors) + sides.index(name))

    def inside(reference: Ref) -> Expr:
        return reference if reference == ACCUMULATOR else place(kernel.inputs[reference.index])

    value = substitute(kernel.expression, inside)

    def outside(reference: Ref) -> Expr:
        name = op.inputs[reference.index]
        return value if name == kernel.output else place(name)

    gone.add(kernel.output)
    return Operation(
        kernel.kind,
        kernel.name,
        (*anchors, *sides),
        op.outputs,
        kernel.attributes,
        substitute(op.expression, outside),
        kernel.anchors,
    )


def _position(graph: Graph, op: Operation) -> int:
    """Where the operation's anchor stands in the original order."""
    names = [o.name for o in graph.operations]
    return names.index(op.name) if op.name in names else -1
