"""Make a model deeper by layers that compute nothing yet, so that it computes what it did.

Behind a layer l with an activation f for which f(f(x)) = f(x), as for Relu and Clip,

    f(l(x))  =  f(I f(l(x)) + 0)

with I the convolution whose kernel is one at its centre for a channel itself and zero elsewhere, or the unit matrix.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from budgetc_specs.recipe import Step

from budgetc_passes.contract import Evidence, Needs, Note, PassResult
from budgetc_passes.graph import (
    add_initializer,
    add_node,
    clip_bounds,
    constant,
    dims,
    graph_of,
    input_at,
    int_attribute,
    is_op,
    label,
    only_consumer,
)
from budgetc_passes.invariants import finish, require
from budgetc_passes.names import require_known, split_names
from budgetc_passes.selection import check

LAYERS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Deepen:
    """Adds layers that hand on what they get: the same answers, and more for training to work with.

    A new layer comes behind one that ends in a Relu or Clip, and ends in the same: a convolution
    behind a convolution, a depthwise one behind a depthwise one, a matrix product behind a matrix
    product. It has a bias, zero at first.

    Requires: opset >= 9, functions inlined, float weights. Ensures: outputs equal those of the model
    before, wherever activations are finite; the model passes the full ONNX checker; the interface is
    unchanged.
    Cost: grows size and latency; pays only if the model is trained afterwards.
    Source: Chen, Goodfellow and Shlens 2016, arXiv 1511.05641, section 2.3 (Net2DeeperNet).

    Attributes:
        layers: behind which layers, by name, separated by ";"; one inside of a name has a backslash
            before it. Without names, behind each that suits.
        kernel: the size of a new convolution's kernel on each axis, odd.
    """

    name: ClassVar[str] = "deepen"
    layers: str = ""
    kernel: int = 3

    def __post_init__(self) -> None:
        """Check the options."""
        if self.kernel < 1 or self.kernel % 2 == 0:
            message = f"deepen: kernel is {self.kernel}; it is an odd number, such as 3"
            raise ValueError(message)

    @classmethod
    def growths(cls) -> tuple[Step, ...]:
        """A layer behind each that suits."""
        return (Step.of(cls.name),)

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Put a layer behind each that is wanted.

        Raises:
            PassError: `layers` names a layer that the model lacks.
        """
        before = require(model, self.name)
        candidates = {label(node): node for node in model.graph if is_op(node, *LAYERS)}
        wanted = split_names(self.layers)
        require_known(wanted, list(candidates), "deepen: layers")
        notes: list[Note] = []
        places = {name: _activation(candidates[name]) for name in wanted or candidates}
        taken: set[ir.Node] = set()
        for name, place in places.items():
            if isinstance(place, str):
                notes.append(Note("refused", name, f"nothing put behind it: {place}"))
            elif place in taken:
                text = "a new layer is there already, behind the sum that it goes into"
                notes.append(Note("refused", name, text))
            else:
                taken.add(place)
                added = self._insert(candidates[name], place)
                notes.append(Note("did", name, f"{added} put behind {label(place)}"))
        result = finish(model, self.name, before, notes)
        if result.modified:
            check(model, self.name)
        return result

    def _insert(self, layer: ir.Node, activation: ir.Node) -> str:
        """Give the activation the new layer for an input, and the new layer the activation's like."""
        value = activation.inputs[0]
        assert value is not None
        shape, dtype = dims(value) or (), value.dtype
        stem = f"{label(layer)}.deeper"
        first = add_node(
            activation,
            activation.op_type,
            (value, *activation.inputs[1:]),
            shape=shape,
            dtype=dtype,
            stem=f"{stem}.activation",
            attributes={name: each.value for name, each in activation.attributes.items()},
        )
        convolves = is_op(layer, "Conv", "ConvTranspose")
        channels = shape[1 if convolves else -1]
        groups = channels if int_attribute(layer, "group", 1) == channels else 1
        weight = self._identity(channels, groups, len(shape) - 2 if convolves else 0)
        kind = np.float32 if dtype is None else dtype.numpy()
        graph = graph_of(activation)
        kernel = add_initializer(graph, f"{stem}.weight", weight.astype(kind))
        bias = add_initializer(graph, f"{stem}.bias", np.zeros(channels, kind))
        if convolves:
            spatial = len(shape) - 2
            made = add_node(
                activation,
                "Conv",
                (first, kernel, bias),
                shape=shape,
                dtype=dtype,
                stem=stem,
                attributes={
                    "group": groups,
                    "kernel_shape": [self.kernel] * spatial,
                    "pads": [self.kernel // 2] * (2 * spatial),
                },
            )
        elif len(shape) == 2:
            made = add_node(
                activation, "Gemm", (first, kernel, bias), shape=shape, dtype=dtype, stem=stem
            )
        else:
            product = add_node(
                activation,
                "MatMul",
                (first, kernel),
                shape=shape,
                dtype=dtype,
                stem=f"{stem}.product",
            )
            made = add_node(activation, "Add", (product, bias), shape=shape, dtype=dtype, stem=stem)
        activation.replace_input_with(0, made)
        producer = made.producer()
        assert producer is not None
        return label(producer)

    def _identity(self, channels: int, groups: int, spatial: int) -> npt.NDArray[np.float64]:
        if not spatial:
            return np.eye(channels)
        kernel = np.zeros((channels, channels // groups, *[self.kernel] * spatial))
        centre: tuple[slice | int, ...] = (slice(None), slice(None), *[self.kernel // 2] * spatial)
        kernel[centre] = 1.0 if groups > 1 else np.eye(channels)
        return kernel


def _activation(layer: ir.Node) -> ir.Node | str:
    """The Relu or Clip that the layer ends in, be it behind a sum, or why there is none."""
    weight, value = constant(input_at(layer, 1)), layer.outputs[0]
    if weight is None or weight.dtype.kind != "f":
        return "its weights are not constant floats"
    while (reader := only_consumer(value)) is not None:
        if clip_bounds(reader) is not None and reader.inputs[0] is value:
            if dims(value) is None:
                return f"the shape of {value.name} is not known"
            return reader
        if not is_op(reader, "BatchNormalization", "Add"):
            return f"{label(reader)} ({reader.op_type}) comes behind it, neither Relu nor Clip"
        value = reader.outputs[0]
    return f"{value.name} is an output, or has several readers, and none that it alone feeds is Relu or Clip"
