"""Writing new nodes into a graph in the place of others: fresh names, and one form for every operator set."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from budgetc.loading.normalise import (
    STANDARD,
    all_graphs,
    replace_nodes,
    subgraphs,
    tensor_of,
)

_AXES_ARE_INPUTS = 13  # of Squeeze and Unsqueeze, from this operator set on
_SLICE_TAKES_INPUTS = 10


class _Names:
    """Names that are taken, and the number to try next for each stem."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)
        self._next: dict[str, int] = {}

    def fresh(self, stem: str) -> str:
        name, count = stem, self._next.get(stem, 0)
        while name in self._taken or (count and name == stem):
            count += 1
            name = f"{stem}.{count}"
        self._taken.add(name)
        self._next[stem] = count
        return name


class Draft:
    """The nodes that a graph is to have; `commit` puts them in the place of those it has.

    Names are unique among all values of the graph and of the graphs inside it.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.opset = opset_of(model)
        self.nodes: list[onnx.NodeProto] = []
        self._initializers: list[onnx.TensorProto] = []
        self._values = _Names(value_names(model.graph))
        self._nodes = _Names(n.name for g in all_graphs(model.graph) for n in g.node)
        self._scalars: dict[tuple[str, float], str] = {}
        self._dispensable: list[onnx.NodeProto] = []

    def fresh(self, stem: str) -> str:
        """A value name that nothing has: the stem itself, or numbered."""
        return self._values.fresh(stem)

    def fresh_node(self, stem: str) -> str:
        """The same for the name of a node."""
        return self._nodes.fresh(stem)

    def constant(self, array: npt.ArrayLike, stem: str) -> str:
        """A new initializer."""
        name = self.fresh(stem)
        self._initializers.append(tensor_of(name, np.asarray(array)))
        return name

    def scalar(self, value: float, dtype: str = "float32") -> str:
        """A number as an initializer; equal ones are one."""
        key = (dtype, value)
        if key not in self._scalars:
            self._scalars[key] = self.constant(np.array(value, dtype), f"scalar_{dtype}_{value}")
        return self._scalars[key]

    def keep(self, node: onnx.NodeProto) -> None:
        """Take a node over as it is."""
        self.nodes.append(node)

    def add(
        self,
        op_type: str,
        inputs: Sequence[str],
        stem: str,
        *,
        output: str | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> str:
        """A new node of the standard domain, and the name of its result.

        Args:
            op_type: the operator.
            inputs: names, "" for those left out; such at the end fall away.
            stem: what the node and its result are called after.
            output: the result's name where it is given.
            attributes: those whose value is None are left out.
        """
        names = list(inputs)
        while names and not names[-1]:
            names.pop()
        result = self.fresh(stem) if output is None else output
        given = {k: v for k, v in (attributes or {}).items() if v is not None}
        node = helper.make_node(op_type, names, [result], name=self.fresh_node(stem), **given)
        self.nodes.append(node)
        return result

    def unsqueeze(self, value: str, axis: int, stem: str) -> str:
        """The value with a new dimension of one."""
        return self._with_axis("Unsqueeze", value, axis, stem)

    def squeeze(self, value: str, axis: int, stem: str) -> str:
        """The value without a dimension of one."""
        return self._with_axis("Squeeze", value, axis, stem)

    def slice(self, value: str, axis: int, start: int, stem: str, size: int = 1) -> str:
        """A range of a dimension, by default one position of it."""
        bounds = {"starts": [start], "ends": [start + size], "axes": [axis]}
        if self.opset < _SLICE_TAKES_INPUTS:
            return self.add("Slice", [value], stem, attributes=bounds)
        names = [self.constant(np.array(v, np.int64), f"{stem}.{k}") for k, v in bounds.items()]
        return self.add("Slice", [value, *names], stem)

    def take(self, tensor: onnx.TensorProto, stem: str) -> str:
        """A constant of another graph as an initializer of this one."""
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        copy.name = self.fresh(stem)
        self._initializers.append(copy)
        return copy.name

    def keep_if_needed(self, node: onnx.NodeProto) -> None:
        """Take a node over that goes where nobody reads it in the end."""
        self.nodes.append(node)
        self._dispensable.append(node)

    def mark(self) -> tuple[int, int]:
        """Where the draft stands, for `reset`."""
        return len(self.nodes), len(self._initializers)

    def reset(self, mark: tuple[int, int]) -> None:
        """Forget what was written since a mark."""
        del self.nodes[mark[0] :], self._initializers[mark[1] :]
        kept = {t.name for t in self._initializers}
        self._scalars = {k: name for k, name in self._scalars.items() if name in kept}

    def commit(self) -> None:
        """Give the graph the nodes and initializers of the draft."""
        read = Counter(name for node in self.nodes for name in _read(node))
        read.update(o.name for o in self.graph.output)
        gone = set()
        for node in reversed(self._dispensable):
            if not any(read[name] for name in node.output if name):
                gone.add(id(node))
                read.subtract(_read(node))
        self.nodes = [node for node in self.nodes if id(node) not in gone]
        replace_nodes(self.graph, self.nodes)
        self.graph.initializer.extend(self._initializers)
        self._initializers = []

    def _with_axis(self, op_type: str, value: str, axis: int, stem: str) -> str:
        if self.opset < _AXES_ARE_INPUTS:
            return self.add(op_type, [value], stem, attributes={"axes": [axis]})
        axes = self.constant(np.array([axis], np.int64), f"{stem}.axes")
        return self.add(op_type, [value, axes], stem)


def opset_of(model: onnx.ModelProto) -> int:
    """The version of the standard operator set that a model imports; 0 where it imports none."""
    return next((o.version for o in model.opset_import if o.domain in STANDARD), 0)


def value_names(graph: onnx.GraphProto) -> Iterable[str]:
    """The names of all values of a graph and of the graphs inside it."""
    for each in all_graphs(graph):
        yield from (value.name for value in (*each.input, *each.output, *each.initializer))
        for node in each.node:
            yield from (name for name in (*node.input, *node.output) if name)


def value_types(graph: onnx.GraphProto) -> dict[str, onnx.TypeProto]:
    """The types of a graph's values, as far as they are written down."""
    types = {t.name: helper.make_tensor_type_proto(t.data_type, t.dims) for t in graph.initializer}
    return types | {i.name: i.type for i in (*graph.input, *graph.value_info, *graph.output)}


def attributes_of(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values; strings decoded."""
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in found.items()}


def _read(node: onnx.NodeProto) -> Iterable[str]:
    """What a node reads, and its subgraphs from outside or inside."""
    yield from node.input
    for graph in subgraphs(node):
        yield from (o.name for o in graph.output)
        for inner in graph.node:
            yield from _read(inner)
