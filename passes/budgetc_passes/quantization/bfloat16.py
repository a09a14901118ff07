"""Compute layers with bfloat16 numbers: both factors of every product have 8 significant bits, sums are float32.

    y = sum r(x) r(W) + b,   r(v) = the nearest number of 8 significant bits, ties to even, with float32's exponents

In the graph r is a Cast to BFLOAT16 and one back, which any runtime can follow; weights are stored rounded.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import ml_dtypes
import numpy as np
import onnx_ir as ir
from budgetc_specs.capability import Capability
from budgetc_specs.recipe import Step, Value

from budgetc_passes.contract import Evidence, Needs, Note, PassResult
from budgetc_passes.graph import (
    add_initializer,
    add_node,
    graph_of,
    int_attribute,
    is_op,
    label,
)
from budgetc_passes.invariants import finish, require
from budgetc_passes.names import join_names, require_known, split_names
from budgetc_passes.offer import Offer, Part, Stage
from budgetc_passes.operators import ELEMENTWISE_NARY, ELEMENTWISE_UNARY
from budgetc_passes.quantization.operators import kind_of, role_of, weight_array
from budgetc_passes.quantization.opset import prepared

_ELEMENTWISE = (ELEMENTWISE_NARY | ELEMENTWISE_UNARY) - {"Cast"}
_CODED = ("Cast", "DequantizeLinear")
_IMAGE = 4


@dataclass(frozen=True)
class Bfloat16:
    """Store weights in 16 bits and multiply rounded numbers: half the size, and up to twice as fast.

    What a layer reads is rounded for whoever else reads it elementwise, such as a residual sum, so
    that one copy of it serves all. The graph keeps float32 inputs and outputs and is ordinary ONNX: a
    Cast to BFLOAT16 and one back around each rounded tensor. No samples are needed: the exponents are
    float32's, so that nothing saturates. After `quantize` it takes the layers that stayed float.

    Requires: float32. On a target whose sheet has no dot product of such numbers the model stays as
    it is. Ensures: opset 13 or above; the interface is unchanged.
    Cost: accuracy, usually next to none. Layers of 3x3 that are faster by Winograd's method in float
    stay so, on rounded numbers and with weights that are larger, where no budget of size forbids it.
    Source: Kalamkar et al. 2019, arXiv 1905.12322, sections 3 and 4.

    Attributes:
        skip: names of nodes that stay float, separated by ";"; one inside of a name has a backslash
            before it.
    """

    name: ClassVar[str] = "bf16"
    stage: ClassVar[Stage] = "halves"

    skip: str = ""

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    @classmethod
    def offer(cls, model: ir.Model, capability: Capability) -> Offer:
        """A part for each product that can compute so: `float` or `bf16`."""
        if capability.bfloat16_dot is None:
            return Offer()
        parts = []
        for node in prepared(model).graph:
            if kind_of(node) == "anchor" and _refusal(node) is None:
                role = role_of(node)
                assert not isinstance(role, str), "BUG: what is not refused has a role"
                size = weight_array(node, role).size
                parts.append(Part(label(node), ("float", "bf16"), (label(node),), size))
        return Offer(tuple(parts))

    @classmethod
    def step(cls, levels: Mapping[str, Value], options: Mapping[str, Value]) -> Step | None:
        """All layers, but for those that stay float by name."""
        skipped = [name for name, level in levels.items() if level == "float"]
        if len(skipped) == len(levels):
            return None
        return Step.of(cls.name, skip=join_names(skipped)) if skipped else Step.of(cls.name)

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Round what the layers read.

        Raises:
            PassError: `skip` names no node, or the model's opset cannot be raised to 13.
        """
        if evidence.capability.bfloat16_dot is None:
            text = (
                f"the sheet of {evidence.capability.cpu} has no dot product of bfloat16 numbers "
                "(`bfloat16_dot`): left as it was"
            )
            return PassResult(model, modified=False, notes=(Note("refused", "", text),))
        before = require(model, self.name)
        ready = prepared(model)
        skip = split_names(self.skip)
        require_known(skip, [label(node) for node in ready.graph], "bf16: skip")
        notes, chosen = [], []
        for node in ready.graph:
            if kind_of(node) != "anchor" or label(node) in skip or _coded(node):
                continue
            reason = _refusal(node)
            if reason is None:
                chosen.append(node)
            else:
                notes.append(Note("refused", label(node), f"left as it is: {reason}"))
        for node in chosen:
            _round_weights(node)
            notes.append(Note("did", label(node), "multiplies in bfloat16"))
        for value in dict.fromkeys(node.inputs[0] for node in chosen):
            assert value is not None, "BUG: a product lacks an operand"
            _round_activations(value, chosen)
        return finish(ready, self.name, before, notes)


def _coded(node: ir.Node) -> bool:
    """Whether a product computes in integers, or in shorter floats, already."""
    weight = node.inputs[1]
    return weight is not None and is_op(weight.producer(), *_CODED)


def _refusal(node: ir.Node) -> str | None:
    """Why a product cannot compute so; None where it can."""
    role = role_of(node)
    if isinstance(role, str):
        return role
    if role.weight is None:
        return "it multiplies two activations"
    weight = weight_array(node, role)
    if is_op(node, "Conv"):
        if weight.ndim > _IMAGE:
            return "it has more than two spatial dimensions"
        if int_attribute(node, "group", 1) > 1 and weight.shape[1] == 1:
            return "a depthwise convolution has no sums of pairs"
    elif weight.ndim != 2:
        return "its weights are more than a matrix"
    if not np.isfinite(_rounded(weight)).all():
        return "its weights are not finite, or not when they are rounded"
    return None


def _rounded(array: np.typing.NDArray[np.float32]) -> np.typing.NDArray[np.generic]:
    with np.errstate(over="ignore"):
        return array.astype(ml_dtypes.bfloat16)


def _round_weights(node: ir.Node) -> None:
    """Store the weights rounded, with Gemm's alpha in them, and widen them for whoever follows the graph."""
    role, old = role_of(node), node.inputs[1]
    assert not isinstance(role, str), "BUG: what is not refused has a role"
    assert old is not None, "BUG: a product lacks its weights"
    array = weight_array(node, role)
    stored = add_initializer(graph_of(node), f"{old.name}.bf16", _rounded(array))
    wide = add_node(
        node,
        "Cast",
        [stored],
        shape=array.shape,
        dtype=ir.DataType.FLOAT,
        stem=f"{old.name}.rounded",
        attributes={"to": int(ir.DataType.FLOAT)},
    )
    node.replace_input_with(1, wide)
    if is_op(node, "Gemm"):
        node.attributes["alpha"] = ir.AttrFloat32("alpha", 1.0)


def _round_activations(value: ir.Value, chosen: Iterable[ir.Node]) -> None:
    """Round a tensor for the chosen layers, and for its other readers where all of these are elementwise."""
    layers = set(chosen)
    uses = tuple(value.uses())
    everywhere = not value.is_graph_output() and all(
        use.node in layers or is_op(use.node, *_ELEMENTWISE) for use in uses
    )
    taken = [use for use in uses if everywhere or (use.node in layers and use.idx == 0)]
    order = {node: at for at, node in enumerate(graph_of(taken[0].node))}
    first = min((use.node for use in taken), key=order.__getitem__)
    wide = value
    for kind in (ir.DataType.BFLOAT16, ir.DataType.FLOAT):
        stem = f"{value.name}.{'bf16' if kind == ir.DataType.BFLOAT16 else 'rounded'}"
        wide = add_node(
            first,
            "Cast",
            [wide],
            shape=value.shape,
            dtype=kind,
            stem=stem,
            attributes={"to": int(kind)},
        )
    for use in taken:
        use.node.replace_input_with(use.idx, wide)
