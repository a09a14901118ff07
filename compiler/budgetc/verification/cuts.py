"""Where a model can be cut in two, and the models that such cuts leave."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import helper

from budgetc.element_types import ARITHMETIC_TYPES


@dataclass(frozen=True)
class Cut:
    """A place between two nodes.

    Attributes:
        after: the position of the last node before it.
        values: what crosses it, and the outputs that are made before it.
    """

    after: int
    values: tuple[str, ...]


class Cutter:
    """The cuts of a model, in the order of its nodes.

    A quantised neighbourhood, which is one kernel, stays whole: where a dequantised value crosses, its integers do
    instead, and there is no cut before a `QuantizeLinear`.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        graph = model.graph
        self.nodes = list(graph.node)
        self.infos = {i.name: i for i in (*graph.value_info, *graph.output, *graph.input)}
        self.constants = {t.name: t for t in graph.initializer}
        self.outputs = [o.name for o in graph.output]
        self.producer = {o: n for n in self.nodes for o in n.output if o}
        self.position = {o: k for k, n in enumerate(self.nodes) for o in n.output if o}
        self.readers: dict[str, list[int]] = {}
        for k, node in enumerate(self.nodes):
            for name in node.input:
                self.readers.setdefault(name, []).append(k)
        self.varies = {i.name for i in graph.input}  # what depends on an input
        for node in self.nodes:
            if self.varies.intersection(node.input):
                self.varies.update(node.output)

    def cuts(self) -> list[Cut]:
        """Every cut; the last one is behind all nodes."""
        found: list[Cut] = []
        for after in range(len(self.nodes)):
            values = self._crossing(after)
            if values is not None and (not found or found[-1].values != values):
                found.append(Cut(after, values))
        return found

    def nodes_between(self, inputs: Iterable[str], outputs: Iterable[str]) -> list[onnx.NodeProto]:
        """The nodes that make the outputs of the inputs, in order."""
        known = set(inputs)
        wanted, needed = list(outputs), set[int]()
        while wanted:
            name = wanted.pop()
            if name in known or name not in self.position or self.position[name] in needed:
                continue
            needed.add(self.position[name])
            wanted.extend(self.nodes[self.position[name]].input)
        return [self.nodes[k] for k in sorted(needed)]

    def part(self, inputs: Sequence[str], outputs: Sequence[str]) -> onnx.ModelProto:
        """The model from these values to those; inputs that nothing reads are left out."""
        nodes = self.nodes_between(inputs, outputs)
        read = {name for node in nodes for name in node.input}
        made = {name for node in nodes for name in node.output}
        ports = [n for n in inputs if n in read]
        ports += [i.name for i in self.model.graph.input if i.name in read and i.name not in ports]
        graph = helper.make_graph(
            nodes,
            "part",
            [self.infos[name] for name in ports],
            [self.infos[name] for name in outputs],
            [t for name, t in self.constants.items() if name in read],
            value_info=[
                i
                for n, i in self.infos.items()
                if n in made and n not in outputs and n not in ports
            ],
        )
        made_model = helper.make_model(graph, opset_imports=list(self.model.opset_import))
        made_model.ir_version = self.model.ir_version
        return made_model

    def _crossing(self, after: int) -> tuple[str, ...] | None:
        """What crosses behind a node; None where it cannot be cut there."""
        values: list[str] = []
        for node in self.nodes[: after + 1]:
            for name in node.output:
                if name not in self.varies:
                    continue
                readers = [k for k in self.readers.get(name, ()) if k > after]
                if name in self.outputs:
                    values.append(name)
                elif readers:
                    if all(self.nodes[k].op_type == "QuantizeLinear" for k in readers):
                        return None
                    values.append(self._integers(name))
        graph_inputs = {i.name for i in self.model.graph.input}
        values = [v for v in dict.fromkeys(values) if v not in graph_inputs]
        if not values or not all(self._is_port(v) for v in values):
            return None
        return tuple(values)

    def _integers(self, name: str) -> str:
        """What a value is dequantised from, or itself."""
        node = self.producer[name]
        return node.input[0] if node.op_type == "DequantizeLinear" else name

    def _is_port(self, name: str) -> bool:
        info = self.infos.get(name)
        if info is None or not info.type.HasField("tensor_type"):
            return False
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type))
        return dtype.name in ARITHMETIC_TYPES
