"""Name averages over a whole picture what they are.

AveragePool(x), its window as large as x  ->  GlobalAveragePool(x)

Both are the same mean. onnxruntime sums the codes of a quantised global one, and the reals of any other; a sum of
codes needs no picture of floats before it.
"""

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from budgetc_passes.contract import Evidence, Needs, Note, PassResult
from budgetc_passes.graph import dims, ints_attribute, is_op, label
from budgetc_passes.invariants import finish, require


@dataclass(frozen=True)
class NameGlobalPools:
    """Writes an AveragePool of the whole picture as GlobalAveragePool; pays in quantised models.

    Requires: opset >= 9, functions inlined. Ensures: no AveragePool is left whose window is all of a
    picture of known size.
    Cost: never grows size or latency.
    """

    name: ClassVar[str] = "name-global-pools"

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Rename every such operator."""
        before = require(model, self.name)
        notes: list[Note] = []
        for node in model.graph:
            if is_op(node, "AveragePool") and _is_whole(node):
                node.op_type = "GlobalAveragePool"
                node.attributes.clear()
                notes.append(Note("did", label(node), "its window is the whole picture"))
        return finish(model, self.name, before, notes)


def _is_whole(node: ir.Node) -> bool:
    picture, left = dims(node.inputs[0]), dims(node.outputs[0])
    if picture is None or left is None or any(ints_attribute(node, "pads", ())):
        return False
    # Padding that is found by itself is none where a window as large as the picture leaves one element.
    alone = set(left[2:]) == {1} and set(ints_attribute(node, "dilations", (1,))) == {1}
    return alone and ints_attribute(node, "kernel_shape", ()) == tuple(picture[2:])
