"""Write a placement into the graph: QuantizeLinear and DequantizeLinear around every coded tensor.

    x -> Q -> DQ -> Conv(., DQ(w s8), DQ(b s32)) -> Q -> DQ -> ...

A Relu or Clip that the Q behind it implies is taken out. Every coded tensor has one Q and one DQ,
which all its integer readers share.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from budgetc_passes.contract import Note
from budgetc_passes.quantization.operators import (
    bias_vector,
    clip_bounds,
    constant,
    weight_array,
)
from budgetc_passes.quantization.placement import Placement, Unit
from budgetc_passes.quantization.ranges import Affine, Linear, quantize_linear

_STATE_BITS = 8


@dataclass(frozen=True)
class WeightForm:
    """How weights are stored: bits of a code (7 or 8), and whether each channel has its scale."""

    bits: int
    per_channel: bool


def write(
    graph: ir.Graph, placement: Placement, codes: Mapping[ir.Value, Affine], form: WeightForm
) -> tuple[Note, ...]:
    """Change the graph in place as the placement says, and tell what was done to each node."""
    writer = _Writer(graph, placement, codes)
    notes = [writer.arrival(value) for value in placement.coded if writer.arrives(value)]
    notes += [note for unit in placement.units for note in writer.rewrite(unit, form)]
    for value in placement.coded:
        writer.encode(value)
    writer.sweep()
    return tuple(notes)


class _Writer:
    def __init__(
        self, graph: ir.Graph, placement: Placement, codes: Mapping[ir.Value, Affine]
    ) -> None:
        self.graph = graph
        self.placement = placement
        self.codes = codes
        self.units = {unit.node: unit for unit in placement.units}
        self.names = {value.name for value in ir.convenience.create_value_mapping(graph).values()}
        self.names |= {node.name for node in graph}
        self.first = graph[0]
        self.source: dict[ir.Value, ir.Value] = {}
        self.folded: list[ir.Node] = []
        self.replaced: list[ir.Value] = []

    def arrives(self, value: ir.Value) -> bool:
        """Whether the tensor comes out of something that computes in float."""
        return value not in self.placement.internal and constant(value) is None

    def arrival(self, value: ir.Value) -> Note:
        """What becomes of a float tensor at the door to the integers."""
        producer = value.producer()
        code = self.codes[value]
        text = f"float tensor {value.name!r} is quantised to u8 {_span(code)} {code}"
        return Note("did", "" if producer is None else producer.name or "", text)

    def rewrite(self, unit: Unit, form: WeightForm) -> list[Note]:
        """Store weights and bias as integers; mark an activation that the code implies."""
        name = unit.node.name or ""
        notes = []
        said = []
        if unit.role.weight is not None:
            linear = self._weights(unit, form)
            scales = linear.weight_scale.reshape(-1)
            said.append(
                f"weights s8 of {form.bits} bits, {len(scales)} scales "
                f"{scales.min():.4g} to {scales.max():.4g}"
            )
            if linear.widened:
                channels = f"scales of channels {list(linear.widened)}"
                notes.append(Note("did", name, f"{channels} enlarged: their bias has to fit s32"))
        if unit.role.state_weight is not None:
            scales = self._state_weights(unit, form)
            said.append(
                f"weights of its state s8 of {_STATE_BITS} bits, {len(scales)} scales "
                f"{scales.min():.4g} to {scales.max():.4g}"
            )
        code = self.codes.get(unit.output) if unit.output in self.placement.internal else None
        said.append("result stays float32" if code is None else f"result u8 {_span(code)} {code}")
        if unit.follower is not None:
            bounds = clip_bounds(unit.follower)
            implied = code is not None and bounds is not None and code.implies_clip(*bounds)
            if implied:
                self.folded.append(unit.follower)
                self.source[unit.output] = unit.node.outputs[0]
            said.append(f"{unit.follower.op_type} {'implied by it' if implied else 'before it'}")
        return [Note("did", name, f"{unit.node.op_type}: {', '.join(said)}"), *notes]

    def encode(self, value: ir.Value) -> None:
        """Put the tensor's code between it and its readers."""
        code, name = self.codes[value], value.name or ""
        scale = self._initializer(f"{name}_scale", np.asarray(code.scale, np.float32))
        zero_point = self._initializer(f"{name}_zero_point", np.asarray(code.zero_point, np.uint8))
        readers = [
            (use.node, use.idx)
            for use in value.uses()
            if value in self.placement.internal or self._reads(use.node, value)
        ]
        array = constant(value)
        if array is not None:
            quantized = self._initializer(f"{name}_quantized", code.quantize(array))
            nodes = []
        else:
            quantized = self._like(value, f"{name}_quantized", ir.DataType.UINT8)
            source = self.source.get(value, value)
            nodes = [self._node("QuantizeLinear", [source, scale, zero_point], quantized, {})]
        real = self._like(value, f"{name}_dequantized", ir.DataType.FLOAT)
        nodes.append(self._node("DequantizeLinear", [quantized, scale, zero_point], real, {}))
        self._insert(self.source.get(value, value), nodes)
        for node, index in readers:
            node.replace_input_with(index, real)
        if value in self.placement.internal and value.is_graph_output():
            self._hand_over(value, real)
        if array is not None:
            self.replaced.append(value)

    def sweep(self) -> None:
        """Remove what nothing reads any more: implied activations, replaced constants."""
        for node in self.folded:
            self.replaced += [value for value in node.inputs[1:] if value is not None]
            self.graph.remove(node, safe=True)
        for value in dict.fromkeys(self.replaced):
            if value.uses() or value.is_graph_output():
                continue
            producer = value.producer()
            if producer is not None:
                self.graph.remove(producer, safe=True)
            elif value.name and value.name in self.graph.initializers:
                del self.graph.initializers[value.name]

    def _weights(self, unit: Unit, form: WeightForm) -> Linear:
        node, role = unit.node, unit.role
        axis = role.channel_axis if form.per_channel else None
        scale = self.codes[unit.inputs[0]].scale
        linear = quantize_linear(
            weight_array(node, role), bias_vector(node, role), scale, axis, form.bits
        )
        self._store(node, role.weight, linear.weight, linear.weight_scale, axis)
        if linear.bias is not None and linear.bias_scale is not None:
            self._store(
                node, role.bias, linear.bias, linear.bias_scale, None if axis is None else 0
            )
        for attribute in ("alpha", "beta"):  # they are in the constants now
            if unit.node.op_type == "Gemm":
                node.attributes.pop(attribute, None)
        return linear

    def _state_weights(self, unit: Unit, form: WeightForm) -> npt.NDArray[np.float32]:
        """Store what multiplies a float state, for which no dot product saturates; its scales."""
        node, index = unit.node, unit.role.state_weight or 0
        axis = unit.role.channel_axis if form.per_channel else None
        array = np.asarray(constant(node.inputs[index]), np.float32)
        linear = quantize_linear(array, None, np.float32(1.0), axis, _STATE_BITS)
        self._store(node, index, linear.weight, linear.weight_scale, axis)
        return linear.weight_scale.reshape(-1)

    def _store(
        self,
        node: ir.Node,
        index: int | None,
        array: npt.NDArray[np.signedinteger],
        scale: npt.NDArray[np.float32],
        axis: int | None,
    ) -> None:
        """Replace a float input by a DequantizeLinear over an integer initializer."""
        value = node.inputs[index or 0]
        if value is None:
            raise AssertionError(f"BUG: {node.name!r} lost its input {index}")
        name = value.name
        inputs = [
            self._initializer(f"{name}_quantized", array),
            self._initializer(f"{name}_scale", scale),
            self._initializer(f"{name}_zero_point", np.zeros(scale.shape, array.dtype)),
        ]
        real = self._like(value, f"{name}_dequantized", ir.DataType.FLOAT)
        real.shape = ir.Shape(array.shape)
        attributes = {} if axis is None else {"axis": axis}
        self.graph.insert_before(node, self._node("DequantizeLinear", inputs, real, attributes))
        node.replace_input_with(index or 0, real)
        self.replaced.append(value)

    def _reads(self, node: ir.Node, value: ir.Value) -> bool:
        unit = self.units.get(node)
        return unit is not None and value in unit.inputs

    def _hand_over(self, value: ir.Value, real: ir.Value) -> None:
        """Give the graph output, name and all, to the dequantised tensor."""
        name = value.name
        value.name = self._fresh(f"{name}_float")
        real.name = name
        for i, output in enumerate(self.graph.outputs):
            if output is value:
                self.graph.outputs[i] = real

    def _insert(self, after: ir.Value, nodes: list[ir.Node]) -> None:
        producer = after.producer()
        if producer is None or constant(after) is not None:
            self.graph.insert_before(self.first, nodes)
        else:
            self.graph.insert_after(producer, nodes)

    def _node(
        self, op_type: str, inputs: list[ir.Value], output: ir.Value, attributes: dict[str, int]
    ) -> ir.Node:
        name = self._fresh(f"{output.name}_node")
        return ir.node(op_type, inputs, attributes, outputs=[output], name=name)

    def _initializer(self, name: str, array: npt.NDArray[np.generic]) -> ir.Value:
        fresh = self._fresh(name)
        tensor = ir.tensor(array, name=fresh)
        value = ir.Value(
            name=fresh,
            shape=ir.Shape(array.shape),
            type=ir.TensorType(tensor.dtype),
            const_value=tensor,
        )
        self.graph.register_initializer(value)
        return value

    def _like(self, value: ir.Value, name: str, dtype: ir.DataType) -> ir.Value:
        shape = None if value.shape is None else ir.Shape(list(value.shape))
        return ir.Value(name=self._fresh(name), shape=shape, type=ir.TensorType(dtype))

    def _fresh(self, name: str) -> str:
        candidate, count = name, 1
        while candidate in self.names:
            candidate, count = f"{name}_{count}", count + 1
        self.names.add(candidate)
        return candidate


def _span(code: Affine) -> str:
    low, high = code.dequantize(np.array([0, 255], np.uint8))
    return f"[{low:.4g}, {high:.4g}]"
