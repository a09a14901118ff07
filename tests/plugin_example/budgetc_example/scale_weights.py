"""Scale the weights of every convolution: no use to anybody, but all that a pass must have."""

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
from budgetc_passes.contract import Evidence, Needs, Note, PassResult


@dataclass(frozen=True)
class ScaleWeights:
    """Multiplies the weights of every Conv by a factor.

    Requires: float weights. Ensures: the graph is as it was but for these numbers.
    Cost: the function of the model.

    Attributes:
        factor: what the weights are multiplied by.
    """

    name: ClassVar[str] = "scale-weights"
    factor: float = 1.0

    def __post_init__(self) -> None:
        """Check the options."""
        if self.factor <= 0:
            message = f"scale-weights: factor is {self.factor}; it must be above 0"
            raise ValueError(message)

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Scale what is an initializer, refuse the rest."""
        del evidence
        notes = []
        for node in model.graph:
            if node.op_type != "Conv":
                continue
            weight = node.inputs[1]
            if weight is None or weight.const_value is None:
                notes.append(Note("refused", node.name or "", "its weights are computed"))
                continue
            scaled = weight.const_value.numpy() * self.factor
            weight.const_value = ir.tensor(scaled.astype("float32"), name=weight.name)
            notes.append(Note("did", node.name or "", f"weights times {self.factor:g}"))
        return PassResult(model, any(n.kind == "did" for n in notes), tuple(notes))
