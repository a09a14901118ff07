"""Half precision computed in f32: ports keep their type, everything between is widened.

Passes that look for f32 should find it. What a half-precision model rounds after every operator is rounded at its ends
only, and where the model itself casts.
"""

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper

from budgetc.loading.draft import Draft, value_types
from budgetc.loading.normalise import all_graphs

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
    types = {n: t.tensor_type.elem_type for n, t in value_types(graph).items()}
    halves = {name: kind for name, kind in types.items() if kind in HALVES}
    if not halves or len(list(all_graphs(graph))) > 1:
        return False
    _Widener(model, halves).widen()
    kept = [i for i in graph.value_info if i.name not in halves]
    del graph.value_info[:]
    graph.value_info.extend(kept)
    return True


class _Widener:
    def __init__(self, model: onnx.ModelProto, halves: dict[str, int]) -> None:
        self.graph, self.halves = model.graph, halves
        self.draft = Draft(model)
        # Where each value is: as f32, and as the half that it is in the model.
        self.wide: dict[str, str] = {}
        self.narrow: dict[str, str] = {}

    def widen(self) -> None:
        graph = self.graph
        computed = {n for node in graph.node if node.op_type != "Cast" for n in node.input}
        for tensor in graph.initializer:
            if tensor.data_type not in HALVES:
                continue
            if tensor.name in computed:
                _widen_tensor(tensor)
                self.wide[tensor.name] = tensor.name
            else:  # rounded weights, say: the model widens them itself
                self.narrow[tensor.name] = tensor.name
        for value in graph.input:
            if value.name in self.halves:
                self.narrow[value.name] = value.name
        made = {o.name for o in graph.output}
        for node in graph.node:
            self._convert(node, made)
        for value in graph.output:
            if value.name in self.halves and value.name not in self.narrow:
                self._cast(self.wide[value.name], self.halves[value.name], value.name, value.name)
        self.draft.commit()

    def _convert(self, node: onnx.NodeProto, ports: set[str]) -> None:
        by_type = node.op_type in _BY_TYPE
        kept = self._as_half if by_type else self._as_wide
        node.input[:] = [kept(name) if name in self.halves else name for name in node.input]
        for index, name in enumerate(node.output):
            if name not in self.halves:
                continue
            if by_type:
                self.narrow[name] = name
            elif name in ports:  # the port's name is for the half
                self.wide[name] = node.output[index] = self.draft.fresh(f"{name}.f32")
            else:
                self.wide[name] = name
        if not by_type:
            _widen_attributes(node)
        self.draft.keep(node)

    def _as_wide(self, name: str) -> str:
        if name not in self.wide:
            self.wide[name] = self._cast(self.narrow[name], TensorProto.FLOAT, f"{name}.f32")
        return self.wide[name]

    def _as_half(self, name: str) -> str:
        if name not in self.narrow:
            self.narrow[name] = self._cast(self.wide[name], self.halves[name], f"{name}.half")
        return self.narrow[name]

    def _cast(self, source: str, kind: int, stem: str, output: str | None = None) -> str:
        return self.draft.add("Cast", [source], stem, output=output, attributes={"to": kind})


def _widen_tensor(tensor: onnx.TensorProto) -> None:
    array = numpy_helper.to_array(tensor).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))


def _widen_attributes(node: onnx.NodeProto) -> None:
    """A type or a tensor among the attributes says what the output is, such as ConstantOfShape's value."""
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR and attribute.t.data_type in HALVES:
            _widen_tensor(attribute.t)
        if attribute.name == "dtype" and attribute.i in HALVES:
            attribute.i = TensorProto.FLOAT
