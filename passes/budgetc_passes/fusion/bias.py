"""Fold constant additions and multiplications into the layer before them.

(W x + b) + k  ->  W x + (b + k)         k one number per output channel; Sub alike
(W x + b) * k  ->  (k W) x + k b         Div alike
x W + k        ->  Gemm(x, W, k)         x and W matrices
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from budgetc_passes.contract import Evidence, Needs, Note, PassResult
from budgetc_passes.fusion.affine import absorb, channel_axis, layer_before, per_channel
from budgetc_passes.graph import Array, constant, dims, drop_dead, is_op, label, substitute
from budgetc_passes.invariants import finish, require


@dataclass(frozen=True)
class FoldBias:
    """Makes per-channel constants after a layer part of its weights and bias.

    Requires: opset >= 9, functions inlined. Ensures: no Add, Sub, Mul or Div with one number per
    channel reads a foldable layer that nothing else reads; the interface is unchanged.
    Cost: never grows size or latency, but for a scalar that becomes a bias of one number a channel.
    """

    name: ClassVar[str] = "fold-bias"

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Fold along each chain, from the layer downwards."""
        before = require(model, self.name)
        notes: list[Note] = []
        for node in list(model.graph):
            if is_op(node, "Add", "Sub", "Mul", "Div"):
                notes += _fold(node)
        return finish(model, self.name, before, notes)


def _fold(node: ir.Node) -> list[Note]:
    found = [(at, constant(value)) for at, value in enumerate(node.inputs)]
    constants = [(at, array) for at, array in found if array is not None]
    if len(constants) != 1:
        return []
    ((at, array),) = constants
    value, output = node.inputs[1 - at], node.outputs[0]
    layer = layer_before(value)
    if value is None or isinstance(layer, str):
        # Constants meet all sorts of operators; only one that follows a layer is worth a line.
        if value is not None and is_op(value.producer(), "Conv", "ConvTranspose", "Gemm"):
            return [Note("refused", label(node), f"not folded: {layer}")]
        return []
    reason = _absorb(node, layer, array, constant_first=at == 0)
    if reason is not None:
        return [Note("refused", label(node), f"not folded into {label(layer)}: {reason}")]
    note = Note("did", label(node), f"folded into {label(layer)}")
    substitute(output, layer.outputs[0])
    drop_dead(node)
    return [note]


def _absorb(node: ir.Node, layer: ir.Node, array: Array, *, constant_first: bool) -> str | None:
    shape = dims(layer.outputs[0])
    if shape is None or dims(node.outputs[0]) != shape:
        return "the constant broadcasts the layer's output to another shape"
    vector = per_channel(array, shape, channel_axis(layer))
    if vector is None:
        return f"the constant of shape {list(array.shape)} is not one number per output channel"
    if is_op(node, "Add"):
        return absorb(layer, None, vector)
    if is_op(node, "Sub"):
        if constant_first:
            return absorb(layer, np.full_like(vector, -1.0), vector)
        return absorb(layer, None, -vector)
    if is_op(node, "Mul"):
        return absorb(layer, vector, None)
    if constant_first:
        return "it divides by the layer's output"
    if not vector.all():
        return "it divides by zero"
    return absorb(layer, 1.0 / vector, None)
