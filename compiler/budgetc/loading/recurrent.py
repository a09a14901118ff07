"""Recurrent layers with the batch before the steps, as ONNX allows and onnxruntime does not, in the usual order.

LSTM<layout=1>(X, .., h, c)  ->  Transpose of X, h and c,  LSTM,  Transpose of Y, Y_h and Y_c
"""

import onnx
from onnx import helper

from budgetc.loading.normalise import STANDARD, all_graphs, replace_nodes

_LAYERS = frozenset({"LSTM", "GRU", "RNN"})
_READ = (0, 5, 6)  # X, initial_h, initial_c
_SWAPPED = [1, 0, 2]
_MADE = ([2, 0, 1, 3], _SWAPPED, _SWAPPED)  # Y, Y_h, Y_c


def put_steps_first(model: onnx.ModelProto) -> None:
    """Rewrite every such layer, in place, in all graphs of the model."""
    for graph in all_graphs(model.graph):
        if not any(_batch_first(node) for node in graph.node):
            continue
        taken = {name for node in graph.node for name in (*node.input, *node.output)}
        taken |= {value.name for value in (*graph.input, *graph.initializer)}
        nodes: list[onnx.NodeProto] = []
        for node in graph.node:
            nodes.extend(_turned(node, taken) if _batch_first(node) else [node])
        replace_nodes(graph, nodes)


def _batch_first(node: onnx.NodeProto) -> bool:
    standard = node.domain in STANDARD and node.op_type in _LAYERS
    return standard and any(a.name == "layout" and a.i == 1 for a in node.attribute)


def _turned(node: onnx.NodeProto, taken: set[str]) -> list[onnx.NodeProto]:
    layer = onnx.NodeProto.FromString(node.SerializeToString())
    kept = [a for a in layer.attribute if a.name != "layout"]
    del layer.attribute[:]
    layer.attribute.extend(kept)
    before, after = [], []

    def fresh(name: str) -> str:
        name = f"{name}_steps_first"
        while name in taken:
            name += "_"
        taken.add(name)
        return name

    for position in _READ:
        if position < len(node.input) and node.input[position]:
            name = fresh(node.input[position])
            layer.input[position] = name
            before.append(
                helper.make_node("Transpose", [node.input[position]], [name], perm=_SWAPPED)
            )
    for position, perm in enumerate(_MADE[: len(node.output)]):
        if node.output[position]:
            name = fresh(node.output[position])
            layer.output[position] = name
            after.append(helper.make_node("Transpose", [name], [node.output[position]], perm=perm))
    return [*before, layer, *after]
