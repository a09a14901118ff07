"""Move Transposes to where they meet, and leave as few elements to be moved as possible.

    Transpose(Transpose(x, p), q)       ->  Transpose(x, [p[i] for i in q])
    Transpose that moves unit axes only ->  Reshape

In between, the layouts of all tensors are chosen together (layout_cut.py).
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from budgetc_passes.cleanup.layout_cut import assign_layouts, permutation, powers
from budgetc_passes.cleanup.layouts import Perm, moves_no_data
from budgetc_passes.contract import Evidence, Needs, Note, PassResult
from budgetc_passes.graph import (
    add_initializer,
    constant,
    dims,
    drop_dead,
    graph_of,
    label,
    only_consumer,
    remove_dead,
    substitute,
)
from budgetc_passes.invariants import finish, require


@dataclass(frozen=True)
class CancelTransposes:
    """Turns graphs exported channels-last, with a Transpose around each operator, into one layout.

    Requires: opset >= 9, functions inlined. Ensures: no Transpose alone reads another, and no other
    choice of layouts (of two at a time) moves fewer elements; the interface is unchanged.
    Cost: never grows size but for the shapes of Reshapes; never moves more elements than before.
    Source: layout assignment as a minimum cut; Ford and Fulkerson 1956 for the cut.
    """

    name: ClassVar[str] = "cancel-transposes"

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Assign layouts for each kind of permutation, then simplify what is left."""
        before = require(model, self.name)
        notes: list[Note] = []
        modified = True
        while modified:  # every round leaves fewer Transposes, or fewer elements to be moved
            new = _round(model)
            notes = [note for note in notes if note.kind == "did"] + new
            modified = any(note.kind == "did" for note in new)
            if modified:
                remove_dead(model)  # a dead reader would still ask for its layout
        return finish(model, self.name, before, notes)


def _round(model: ir.Model) -> list[Note]:
    notes: list[Note] = []
    seen: set[Perm] = set()
    for node in list(model.graph):
        perm = permutation(node) if node.graph is not None else None
        if perm is None or perm in seen or list(perm) == sorted(perm):
            continue
        family = powers(perm)
        seen.update(family)
        notes += assign_layouts(model, family)
    for node in list(model.graph):
        if node.graph is not None and permutation(node) is not None:
            notes += _simplify(node)
    return notes


def _simplify(node: ir.Node) -> list[Note]:
    perm, value = permutation(node), node.inputs[0]
    if perm is None or value is None:
        return []
    name = label(node)
    inner = value.producer()
    before = permutation(inner) if inner is not None else None
    if inner is not None and before is not None and inner.inputs[0] is not None:
        merged = tuple(before[axis] for axis in perm)
        if list(merged) == sorted(merged):
            if substitute(node.outputs[0], inner.inputs[0]):
                note = Note("did", name, f"removed: it undoes {label(inner)}")
                drop_dead(node)
                return [note]
        elif only_consumer(value) is node:
            note = Note("did", name, f"merged with {label(inner)}")
            node.attributes["perm"] = ir.AttrInt64s("perm", merged)
            node.replace_input_with(0, inner.inputs[0])
            drop_dead(inner)
            return [note, *_simplify(node)]
    shape, after = dims(value), dims(node.outputs[0])
    if shape is None or after is None or constant(value) is not None:
        return []
    if list(perm) == sorted(perm) or not moves_no_data(shape, perm):
        return []
    stem = f"{node.outputs[0].name}.shape"
    target = add_initializer(graph_of(node), stem, np.array(after, np.int64))
    node.op_type = "Reshape"
    node.attributes.clear()
    node.resize_inputs(2)
    node.replace_input_with(1, target)
    return [Note("did", name, "written as a Reshape: it moves axes of length 1 only")]
