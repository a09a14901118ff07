"""Fold BatchNormalization into the layer before it.

    BN(W x + b)  ->  (s W) x + s (b - mean) + beta,   s = gamma / sqrt(var + epsilon)

One that no layer can take becomes  s x + (beta - s mean),  a Mul and an Add.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from budgetc_passes.contract import Evidence, Needs, Note, PassResult
from budgetc_passes.fusion.affine import Vector, absorb, layer_before
from budgetc_passes.graph import (
    add_initializer,
    add_node,
    constant,
    dims,
    drop_dead,
    float_attribute,
    graph_of,
    int_attribute,
    is_op,
    label,
    substitute,
)
from budgetc_passes.invariants import finish, require


@dataclass(frozen=True)
class FoldBatchNorm:
    """Folds inference BatchNormalization into the Conv, ConvTranspose, Gemm or MatMul before it.

    A BatchNormalization *before* a convolution is not folded forward: at padded borders the shift
    would have to be left out.

    Requires: opset >= 9, functions inlined. Ensures: no BatchNormalization with constant statistics
    and known shape is left; the interface is unchanged.
    Cost: never grows size or latency; weights are rounded once.
    Source: Jacob et al. 2018, arXiv 1712.05877, section 3.2.
    """

    name: ClassVar[str] = "fold-batch-norm"

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Fold or rewrite every BatchNormalization."""
        before = require(model, self.name)
        notes: list[Note] = []
        for node in list(model.graph):
            if is_op(node, "BatchNormalization"):
                notes += _fold(node)
        return finish(model, self.name, before, notes)


def _fold(node: ir.Node) -> list[Note]:
    name = label(node)
    try:
        scale, shift = _statistics(node)
    except ValueError as error:
        return [Note("refused", name, f"kept as it is: {error}")]
    value, output = node.inputs[0], node.outputs[0]
    found = layer_before(value)
    if isinstance(found, str):
        reason: str | None = found
    elif found.op_type in ("Gemm", "MatMul") and len(dims(output) or ()) != 2:
        reason = "its channels are not the matrix product's columns"
    else:
        reason = absorb(found, scale, shift)
        if reason is None:
            substitute(output, found.outputs[0])
            drop_dead(node)
            return [Note("did", name, f"folded into {label(found)}")]
    return [
        Note("refused", name, f"not folded: {reason}"),
        _write_out(node, scale, shift),
    ]


def _statistics(node: ir.Node) -> tuple[Vector, Vector]:
    """The scale and shift that the normalisation amounts to.

    Raises:
        ValueError: it trains, its statistics are not constant, or they make no finite scale.
    """
    if int_attribute(node, "training_mode", 0) or any(
        value.uses() or value.is_graph_output() for value in node.outputs[1:]
    ):
        message = "it is in training mode"
        raise ValueError(message)
    arrays = [constant(value) for value in node.inputs[1:5]]
    gamma, beta, mean, var = (None if a is None else a.astype(np.float64) for a in arrays)
    if gamma is None or beta is None or mean is None or var is None:
        message = "its scale, bias, mean and variance are not all constant"
        raise ValueError(message)
    if dims(node.inputs[0]) is None:
        message = "the shape of its input is not known"
        raise ValueError(message)
    spread = var + float_attribute(node, "epsilon", 1e-5)
    if not (spread > 0).all():
        message = f"variance plus epsilon is not positive (least: {spread.min():g})"
        raise ValueError(message)
    scale = gamma / np.sqrt(spread)
    shift = beta - scale * mean
    if not (np.isfinite(scale).all() and np.isfinite(shift).all()):
        message = "its statistics do not make a finite scale and shift"
        raise ValueError(message)
    return scale, shift


def _write_out(node: ir.Node, scale: Vector, shift: Vector) -> Note:
    graph, value, output = graph_of(node), node.inputs[0], node.outputs[0]
    dtype = output.dtype or ir.DataType.FLOAT
    rank = len(dims(value) or ())
    column = (-1,) + (1,) * (rank - 2)
    name = output.name or "batch_norm"
    factor = add_initializer(graph, f"{name}.scale", scale.reshape(column).astype(dtype.numpy()))
    summand = add_initializer(graph, f"{name}.shift", shift.reshape(column).astype(dtype.numpy()))
    product = add_node(
        node,
        "Mul",
        (value, factor),
        shape=output.shape,
        dtype=dtype,
        stem=f"{name}.scaled",
    )
    total = add_node(
        node,
        "Add",
        (product, summand),
        shape=output.shape,
        dtype=dtype,
        stem=f"{name}.shifted",
    )
    note = Note("did", label(node), "written as a Mul and an Add")
    substitute(output, total)
    drop_dead(node)
    return note
