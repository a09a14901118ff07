"""Compute at compile time what does not depend on the inputs, as long as the model does not grow.

The constant region is the set of nodes all of whose inputs are constant, and Shape and Size of
tensors with known shapes. A value at its border, read by what is not constant, becomes an
initializer.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import ClassVar

import networkx as nx
import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator
from onnx_ir.passes.common import LiftConstantsToInitializersPass

from budgetc_passes.contract import Evidence, Needs, Note, PassError, PassResult
from budgetc_passes.graph import (
    Array,
    add_initializer,
    constant,
    dims,
    drop_dead,
    infer_missing_shapes,
    is_op,
    label,
)
from budgetc_passes.invariants import finish, require

LARGEST_BYTES = 1 << 28
"""A value beyond this size is not computed at all."""

# DequantizeLinear of a constant is how a quantised weight is written: it must be seen as such.
_KEPT = frozenset({
    "DequantizeLinear", "RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike",
    "Multinomial", "Bernoulli",
})  # fmt: skip


@dataclass(frozen=True)
class FoldConstants:
    """Folds constant subgraphs, and lifts Constant nodes to initializers.

    Requires: opset >= 9, functions inlined. Ensures: no Constant node is left
    but for outputs, and folding adds at most `slack` bytes for each connected region; the interface
    is unchanged.
    Cost: never grows size beyond the slack; lowers latency.

    Attributes:
        slack: bytes by which a folded region may outgrow the constants that it makes unnecessary.
    """

    name: ClassVar[str] = "fold-constants"
    slack: int = field(default=256)

    def __post_init__(self) -> None:
        """Check the options."""
        if self.slack < 0:
            message = f"fold-constants: slack is {self.slack}; it is a number of bytes, 0 or more"
            raise ValueError(message)

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Lift Constant nodes, then fold as much of the constant region as pays."""
        before = require(model, self.name)
        notes = _lift(model)
        region = _Region(model)
        notes += region.refused
        kept: set[ir.Node] = set()
        # What is refused stays as a node, and its own inputs are then at the border.
        while grown := _outgrown(region, kept, self.slack):
            notes += [Note("refused", label(node), text) for node, text in grown.items()]
            kept |= grown.keys()
        for value in region.border(kept):
            notes.append(_replace(value, region.known[value]))
        if any(note.kind == "did" for note in notes):
            infer_missing_shapes(model)  # a Reshape says more when its target is a constant
        return finish(model, self.name, before, notes)


def _lift(model: ir.Model) -> list[Note]:
    found = [node for node in model.graph.all_nodes() if is_op(node, "Constant")]
    names = [label(node) for node in found if not node.outputs[0].is_graph_output()]
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    return [Note("did", node, "lifted to an initializer") for node in names]


class _Region:
    """The nodes that can be computed now, and what they compute."""

    def __init__(self, model: ir.Model) -> None:
        self.known: dict[ir.Value, Array] = {}
        self.nodes: list[ir.Node] = []
        self.refused: list[Note] = []
        for node in model.graph:
            inputs = self._inputs(node)
            if inputs is None:
                continue
            try:
                outputs = _evaluate(node, inputs, model.graph.opset_imports)
            except Exception as error:
                text = f"not folded: the reference evaluator cannot compute it ({error})"
                self.refused.append(Note("refused", label(node), text))
                continue
            self.nodes.append(node)
            self.known.update(zip(node.outputs, outputs, strict=False))

    def _inputs(self, node: ir.Node) -> list[Array | None] | None:
        """The node's inputs, or None where it is not to be computed."""
        if node.domain != "" or node.op_type in _KEPT or is_op(node, "Constant"):
            return None
        sizes = [dims(value) for value in node.outputs]
        if any(size is not None and np.prod(size) * 4 > LARGEST_BYTES for size in sizes):
            return None
        if any(
            a.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS) for a in _attributes(node)
        ):
            return None
        if is_op(node, "Shape", "Size"):
            shape = dims(node.inputs[0])
            # Only the shape counts, and a broadcast zero has one without holding elements.
            return None if shape is None else [np.broadcast_to(np.float32(0), shape)]
        arrays: list[Array | None] = []
        for value in node.inputs:
            array = None if value is None else self.known.get(value, constant(value))
            if value is not None and array is None:
                return None
            arrays.append(array)
        return arrays

    def border(self, kept: Collection[ir.Node]) -> list[ir.Value]:
        """Values that are computed, and are outputs or read by what stays as it is."""
        folded = set(self.nodes) - set(kept)
        return [
            value
            for node in self.nodes
            if node in folded
            for value in node.outputs
            if value.is_graph_output() or any(use.node not in folded for use in value.uses())
        ]

    def components(self, kept: Collection[ir.Node], slack: int) -> list[set[ir.Node]]:
        """Nodes to fold, grouped by what they compute from; small shared constants do not tie."""
        graph = nx.Graph()
        folded = [node for node in self.nodes if node not in kept]
        graph.add_nodes_from(folded)
        for node in folded:
            for value in node.inputs:
                array = constant(value)
                if value is None or (array is not None and array.nbytes <= slack):
                    continue
                producer = value.producer()
                if array is not None or producer in graph:
                    graph.add_edge(node, value if array is not None else producer)
        return [
            {item for item in component if isinstance(item, ir.Node)}
            for component in nx.connected_components(graph)
        ]


def _attributes(node: ir.Node) -> list[ir.Attr]:
    return list(node.attributes.values())


def _outgrown(region: _Region, kept: set[ir.Node], slack: int) -> dict[ir.Node, str]:
    """Nodes at the border whose folding would make the model grow, and by how much."""
    border = region.border(kept)
    found: dict[ir.Node, str] = {}
    for nodes in region.components(kept, slack):
        mine = [value for value in border if value.producer() in nodes]
        read = {value for node in nodes for value in node.inputs if value is not None}
        gone = sum(
            array.nbytes
            for value in read
            if (array := constant(value)) is not None
            and all(use.node in nodes for use in value.uses())
        )
        grown = sum(region.known[value].nbytes for value in mine) - gone
        if grown <= slack:
            continue
        for value in mine:
            node, size = value.producer(), region.known[value].nbytes
            if node is not None and (size > slack or value.is_graph_output()):
                found[node] = f"not folded: its {size} bytes would make the model grow by {grown}"
    for value in border:
        node = value.producer()
        if value.is_graph_output() and node is not None:
            found.setdefault(node, "not folded: a model output needs a node that computes it")
    return {node: text for node, text in found.items() if node not in kept}


def _evaluate(
    node: ir.Node, inputs: list[Array | None], opset_imports: dict[str, int]
) -> list[Array]:
    names = [f"i{at}" if array is not None else "" for at, array in enumerate(inputs)]
    outputs = [f"o{at}" for at in range(len(node.outputs))]
    copy = ir.serde.serialize_node(node)
    del copy.input[:], copy.output[:]
    copy.input.extend(names)
    copy.output.extend(outputs)
    info = onnx.helper.make_empty_tensor_value_info
    graph = onnx.helper.make_graph(
        [copy], "folded", [info(name) for name in names if name], [info(name) for name in outputs]
    )
    opsets = [
        onnx.helper.make_opsetid(domain, version) for domain, version in opset_imports.items()
    ]
    model = onnx.helper.make_model(graph, opset_imports=opsets)
    feeds = {name: array for name, array in zip(names, inputs, strict=True) if name}
    with np.errstate(all="ignore"):
        results = ReferenceEvaluator(model).run(None, feeds)
    arrays = [np.asarray(result) for result in results]
    for value, array in zip(node.outputs, arrays, strict=True):
        dtype = ir.DataType.from_numpy(array.dtype)
        if (value.dtype not in (None, dtype)) or (dims(value) not in (None, array.shape)):
            message = f"it gave {dtype}{list(array.shape)} for {value}"
            raise ValueError(message)
    return arrays


def _replace(value: ir.Value, array: Array) -> Note:
    node = value.producer()
    graph = value.graph
    if node is None or graph is None:
        message = f"BUG: {value.name} has no producer to fold"
        raise PassError(message)
    note = Note("did", label(node), f"folded to a constant of {array.nbytes} bytes")
    value.replace_all_uses_with(add_initializer(graph, f"{value.name}.folded", array))
    drop_dead(node)
    return note
