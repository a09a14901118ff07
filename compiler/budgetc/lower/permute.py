"""Flatten without a copy: the weights of the product behind a flattened image are reordered."""

from dataclasses import replace

from budgetc.lower.graph import Graph, Operation
from budgetc.lower.placement import channels_last

FOLLOWS = ("convolution", "pooling", "map", "Conv")


def permute_flattened_weights(graph: Graph) -> None:
    """Turn  reshape(x[n, c, h, w] -> [n, chw]) @ W  into  reshape(transpose(x)) @ W[hwc order], in place.

    The transposed x is what lies in memory, so the reshape costs nothing. Only where every reader is a product.
    """
    producers = graph.producers()
    result: list[Operation] = []
    for op in graph.operations:
        if not (op.kind == "view" and op.attributes["view"] == "reshape"):
            result.append(op)
            continue
        x, y = graph.values[op.inputs[0]], graph.values[op.output]
        readers = list(graph.consumers(op.output))
        spatial = x.shape[2:]
        fits = (
            len(x.shape) in (3, 4)
            and len(y.shape) == 2
            and y.shape[0] == x.shape[0]
            and x.shape[1] > 1
            and max(spatial, default=1) > 1
            and op.output not in graph.outputs
            and bool(readers)
            and all(r.kind == "product" and r.inputs[0] == op.output for r in readers)
        )
        maker = producers.get(op.inputs[0])
        if not fits or maker is None or maker.kind not in FOLLOWS:
            result.append(op)
            continue
        order = channels_last(len(x.shape))
        turned = graph.add_value(f"{op.output}.turned", tuple(x.shape[d] for d in order), x.dtype)
        transpose = {"view": "transpose", "perm": order}
        result.append(Operation("view", op.name, op.inputs, (turned,), transpose))
        result.append(replace(op, inputs=(turned,)))
        _reorder(graph, readers, x.shape, order)
        producers = graph.producers()
    graph.operations = [_current(graph, op) for op in result]


def _reorder(
    graph: Graph, readers: list[Operation], shape: tuple[int, ...], order: tuple[int, ...]
) -> None:
    for reader in readers:
        weight = reader.attributes["weight"]
        columns = weight.shape[1]
        cube = weight.reshape(*shape[1:], columns)
        axes = (*(d - 1 for d in order[1:]), len(shape) - 1)
        reordered = cube.transpose(axes).reshape(-1, columns)
        position = graph.operations.index(reader)
        attributes = {**reader.attributes, "weight": reordered}
        graph.operations[position] = replace(reader, attributes=attributes)


def _current(graph: Graph, op: Operation) -> Operation:
    """The operation as it stands in the graph now, where its weights were reordered meanwhile."""
    for other in graph.operations:
        if other.outputs == op.outputs and other.kind == op.kind == "product":
            return other
    return op
