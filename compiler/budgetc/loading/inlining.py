"""The body of a control-flow operator put into the graph around it, once or several times."""

from collections.abc import Mapping, Sequence

import onnx

from budgetc.loading.draft import Draft
from budgetc.loading.normalise import all_graphs, subgraphs


class Body:
    """A subgraph to be written into a draft; its constants are written once, however often it is.

    Args:
        draft: what it is written into.
        graph: the subgraph.
        stem: what its values and nodes are called after.
    """

    def __init__(self, draft: Draft, graph: onnx.GraphProto, stem: str) -> None:
        self._draft, self._graph, self._stem = draft, graph, stem
        self._constants: dict[str, str] = {}

    def write(self, inputs: Sequence[str], results: Mapping[int, str] | None = None) -> list[str]:
        """Write the nodes once.

        Args:
            inputs: what the subgraph's inputs are.
            results: names that outputs must have, by their index.

        Returns:
            The names of the outputs.
        """
        if not self._constants:
            for tensor in self._graph.initializer:
                self._constants[tensor.name] = self._draft.take(tensor, self._name(tensor.name))
        formal = [i.name for i in self._graph.input]
        names = {**self._constants, **dict(zip(formal, inputs, strict=True))}
        made = {name for node in self._graph.node for name in node.output if name}
        wanted = dict(results or {})
        for index, output in enumerate(self._graph.output):
            if index in wanted and output.name in made and output.name not in names:
                names[output.name] = wanted.pop(index)
        for name in sorted(made.difference(names)):
            names[name] = self._draft.fresh(self._name(name))
        for node in self._graph.node:
            copy = renamed(node, names)
            copy.name = self._draft.fresh_node(self._name(node.name))
            self._draft.keep(copy)
        outputs = [names.get(o.name, o.name) for o in self._graph.output]
        for index, name in wanted.items():
            self._draft.add("Identity", [outputs[index]], self._stem, output=name)
            outputs[index] = name
        return outputs

    def _name(self, inner: str) -> str:
        return f"{self._stem}.{inner}"


def renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> onnx.NodeProto:
    """A copy of the node with values renamed, those that its subgraphs take from outside too."""
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    for field in (copy.input, copy.output):
        changed = [names.get(name, name) for name in field]
        del field[:]
        field.extend(changed)
    for graph in subgraphs(copy):
        _rename_captured(graph, names)
    return copy


def _rename_captured(graph: onnx.GraphProto, names: Mapping[str, str]) -> None:
    own = {v.name for v in (*graph.input, *graph.initializer)}
    own.update(name for node in graph.node for name in node.output)
    outside = {old: new for old, new in names.items() if old not in own}
    for node in graph.node:
        changed = [outside.get(name, name) for name in node.input]
        del node.input[:]
        node.input.extend(changed)
        for inner in subgraphs(node):
            _rename_captured(inner, outside)
    for output in graph.output:
        output.name = outside.get(output.name, output.name)


def node_count(graph: onnx.GraphProto) -> int:
    """Nodes of a graph and of the graphs inside it."""
    return sum(len(each.node) for each in all_graphs(graph))
