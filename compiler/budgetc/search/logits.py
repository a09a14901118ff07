"""The numbers before a model's last Softmax or Sigmoid, in which noise shows that probabilities swallow."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx

Array = npt.NDArray[np.generic]

_SQUASHING = {"Softmax", "Sigmoid"}
_FLATTENED_BEFORE = 13
"""Softmax of older operator sets takes all dimensions from its axis on as one."""


@dataclass(frozen=True)
class Tap:
    """Where the numbers behind one output come from.

    Attributes:
        value: the name of the tensor; the output itself where nothing squashes it.
        axes: the dimensions along which a number that is added to all changes nothing.
    """

    value: str
    axes: tuple[int, ...] = ()

    def of(self, arrays: Mapping[str, Array]) -> Array:
        """One inference's numbers, as float64, without what a Softmax does not look at."""
        numbers = arrays[self.value].astype(np.float64)
        return numbers - numbers.mean(axis=self.axes, keepdims=True) if self.axes else numbers


def tapped(data: bytes) -> tuple[bytes, Mapping[str, Tap]]:
    """The model with the numbers before its probabilities as further outputs.

    Args:
        data: a serialised model with shapes; Identity nodes before an output do not matter.

    Returns:
        The model, and for each of its own outputs where its numbers come from.
    """
    model = onnx.load_model_from_string(data)
    makers = {name: node for node in model.graph.node for name in node.output}
    known = {value.name: value for value in (*model.graph.value_info, *model.graph.output)}
    own = [output.name for output in model.graph.output]
    taps = {}
    for name in own:
        node = makers.get(name)
        while node is not None and node.op_type == "Identity":
            node = makers.get(node.input[0])
        if node is None or node.op_type not in _SQUASHING or node.input[0] not in known:
            taps[name] = Tap(name)
            continue
        value = known[node.input[0]]
        taps[name] = Tap(value.name, _axes(model, node, len(value.type.tensor_type.shape.dim)))
        if value.name not in {output.name for output in model.graph.output}:
            model.graph.output.append(value)
    return model.SerializeToString(), taps


def _axes(model: onnx.ModelProto, node: onnx.NodeProto, rank: int) -> tuple[int, ...]:
    if node.op_type != "Softmax":
        return ()
    version = next(o.version for o in model.opset_import if o.domain in {"", "ai.onnx"})
    old = version < _FLATTENED_BEFORE
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1 if old else -1) % rank
    return tuple(range(axis, rank)) if old else (axis,)
