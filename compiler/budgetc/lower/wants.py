"""How convolutions, poolings and reshapes would like their inputs, passed back to whoever computes these."""

from collections.abc import Mapping

from budgetc.lower.graph import Graph, Operation
from budgetc.lower.placement import Want, channels_last
from budgetc.lower.windows import window_of

_PRODUCTS = ("matmul", "attention")


def wants_of(graph: Graph) -> dict[str, Want]:
    """The wish for each value that has one; a wish goes through transposes to the value behind."""
    wants: dict[str, Want] = {}
    producers = graph.producers()
    for op in reversed(graph.operations):
        if op.kind == "view" and op.attributes["view"] == "transpose" and op.output in wants:
            wants.setdefault(op.inputs[0], _turned(wants[op.output], op.attributes["perm"]))
        elif op.kind == "view" and op.attributes["view"] == "reshape":
            behind = producers.get(op.inputs[0])
            if behind and behind.kind == "view" and _maker(behind, producers) in _PRODUCTS:
                rank = len(graph.values[op.inputs[0]].shape)  # a reshape of dense memory is no copy
                wants.setdefault(op.inputs[0], Want(tuple(range(rank)), ((0, 0),) * rank))
        elif op.kind == "pooling":
            shape = graph.values[op.inputs[0]].shape
            natural = Want(channels_last(len(shape)), tuple((0, 0) for _ in shape))
            wants.setdefault(op.inputs[0], natural)
        elif op.kind == "convolution":
            x, y = graph.values[op.inputs[0]].shape, graph.values[op.output].shape
            window = window_of(op, x, y, op.attributes["weight"].shape[2:])
            want = Want(
                channels_last(len(x)), ((0, 0), (0, 0), *window.pads), op.attributes["border"]
            )
            known = wants.get(op.inputs[0])
            wants[op.inputs[0]] = want.joined(known) if known else want
    return wants


def _maker(op: Operation, producers: Mapping[str, Operation]) -> str:
    """The kind of the operation behind transposes."""
    while op.kind == "view" and op.attributes["view"] == "transpose":
        source = producers.get(op.inputs[0])
        if source is None:
            return ""
        op = source
    return op.kind


def _turned(want: Want, perm: tuple[int, ...]) -> Want:
    """The wish for a transpose's input: dimension `perm[d]` of it is dimension d of the output."""
    border = [(0, 0)] * len(perm)
    for new, old in enumerate(perm):
        border[old] = want.border[new]
    return Want(tuple(perm[d] for d in want.order), tuple(border), want.fill)
