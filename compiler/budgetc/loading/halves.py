"""Half precision computed in f32: ports keep their type, everything between is widened.

No kernel computes with 16-bit floats, and passes that look for f32 should find it. What a half-precision model
rounds after every operator is rounded at its ends only, and where the model itself casts.
"""

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, helper, numpy_helper

HALVES = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})

_BY_TYPE = frozenset(
    [
        "BitCast",
        "Cast",
        "CastLike",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "EyeLike",
        "QuantizeLinear",
    ]
)
"""Operators whose result depends on the element type itself; they keep reading and making halves."""


def widen_halves(model: onnx.ModelProto) -> bool:
    """Compute in f32 what a model with known types computes in 16-bit floats, in place.

    A model with control flow stays as it is.

    Returns:
        Whether anything changed; then the types between the ports are to be inferred again.
    """
    graph = model.graph
    types = _types(graph)
    halves = {name: kind for name, kind in types.items() if kind in HALVES}
    if not halves or any(_has_graph(node) for node in graph.node):
        return False
    _Widener(graph, halves).widen()
    kept = [i for i in graph.value_info if i.name not in halves]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    return True


class _Widener:
    def __init__(self, graph: onnx.GraphProto, halves: dict[str, int]) -> None:
        self.graph, self.halves = graph, halves
        self.nodes: list[onnx.NodeProto] = []
        self.taken = set(_names(graph))
        # Where each value is: as f32, and as the half that it is in the model.
        self.wide: dict[str, str] = {}
        self.narrow: dict[str, str] = {}

    def widen(self) -> None:
        graph = self.graph
        initializers = {t.name for t in graph.initializer}
        for tensor in graph.initializer:
            if tensor.data_type in HALVES:
                array = numpy_helper.to_array(tensor).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
                self.wide[tensor.name] = tensor.name
        for value in graph.input:
            if value.name in self.halves and value.name not in initializers:
                self.narrow[value.name] = value.name
        made = {o.name for o in graph.output}
        for node in graph.node:
            self._convert(node, made)
        for value in graph.output:
            if value.name in self.halves and value.name not in self.narrow:
                self._cast(self.wide[value.name], value.name, self.halves[value.name], value.name)
        del graph.node[:]
        graph.node.extend(self.nodes)

    def _convert(self, node: onnx.NodeProto, ports: set[str]) -> None:
        by_type = node.op_type in _BY_TYPE
        kept = self._as_half if by_type else self._as_wide
        inputs = [kept(name) if name in self.halves else name for name in node.input]
        node.input[:] = inputs
        for index, name in enumerate(node.output):
            if name not in self.halves:
                continue
            if by_type:
                self.narrow[name] = name
            elif name in ports:  # the port's name is for the half
                self.wide[name] = node.output[index] = self._fresh(name)
            else:
                self.wide[name] = name
        if not by_type:
            _widen_attributes(node)
        self.nodes.append(node)

    def _as_wide(self, name: str) -> str:
        if name not in self.wide:
            self.wide[name] = self._fresh(name)
            self._cast(self.narrow[name], self.wide[name], TensorProto.FLOAT, name)
        return self.wide[name]

    def _as_half(self, name: str) -> str:
        if name not in self.narrow:
            self.narrow[name] = self._fresh(name)
            self._cast(self.wide[name], self.narrow[name], self.halves[name], name)
        return self.narrow[name]

    def _cast(self, source: str, target: str, kind: int, hint: str) -> None:
        name = self._fresh(f"{hint}.cast")
        self.nodes.append(helper.make_node("Cast", [source], [target], name=name, to=kind))

    def _fresh(self, hint: str) -> str:
        name, number = f"{hint}.f32", 1
        while name in self.taken:
            number += 1
            name = f"{hint}.f32_{number}"
        self.taken.add(name)
        return name


def _widen_attributes(node: onnx.NodeProto) -> None:
    """A type or a tensor among the attributes says what the output is, such as ConstantOfShape's value."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR and attribute.t.data_type in HALVES:
            array = numpy_helper.to_array(attribute.t).astype(np.float32)
            attribute.t.CopyFrom(numpy_helper.from_array(array, attribute.t.name))
        if attribute.name == "dtype" and attribute.i in HALVES:
            attribute.i = TensorProto.FLOAT


def _types(graph: onnx.GraphProto) -> dict[str, int]:
    types = {t.name: t.data_type for t in graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        if info.type.HasField("tensor_type"):
            types.setdefault(info.name, info.type.tensor_type.elem_type)
    return types


def _names(graph: onnx.GraphProto) -> Iterable[str]:
    for node in graph.node:
        yield from (node.name, *node.input, *node.output)
    yield from (t.name for t in (*graph.input, *graph.output, *graph.initializer))


def _has_graph(node: onnx.NodeProto) -> bool:
    return any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute)
