"""Scale the weights of convolutions: no use to anybody, but all that a pass must have, and may have."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
from budgetc_passes.contract import Evidence, Needs, Note, PassResult
from budgetc_passes.names import join_names, split_names
from budgetc_passes.offer import Offer, Part, Stage
from budgetc_specs.capability import Capability
from budgetc_specs.recipe import Step, Value


@dataclass(frozen=True)
class ScaleWeights:
    """Multiplies the weights of every Conv by a factor.

    Requires: float weights. Ensures: the graph is as it was but for these numbers.
    Cost: the function of the model.

    Attributes:
        factor: what the weights are multiplied by.
        layers: names of the layers to scale, separated by ";"; without any, all.
    """

    name: ClassVar[str] = "scale-weights"
    stage: ClassVar[Stage] = "structure"
    factor: float = 1.0
    layers: str = ""

    def __post_init__(self) -> None:
        """Check the options."""
        if self.factor <= 0:
            message = f"scale-weights: factor is {self.factor}; it must be above 0"
            raise ValueError(message)

    @classmethod
    def offer(cls, model: ir.Model, capability: Capability) -> Offer:
        """Each convolution as it is or scaled; by how much is the same for all."""
        del capability
        parts = [
            Part(node.name or "", ("kept", "scaled"), (node.name or "",), weight.const_value.size)
            for node in model.graph
            if node.op_type == "Conv"
            if (weight := node.inputs[1]) is not None and weight.const_value is not None
        ]
        return Offer(tuple(parts), {"factor": (0.5, 0.25)})

    @classmethod
    def step(cls, levels: Mapping[str, Value], options: Mapping[str, Value]) -> Step | None:
        """The layers to scale by name."""
        scaled = [name for name, level in levels.items() if level == "scaled"]
        return Step.of(cls.name, **options, layers=join_names(scaled)) if scaled else None

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Scale what is an initializer, refuse the rest."""
        del evidence
        notes = []
        chosen = split_names(self.layers)
        for node in model.graph:
            if node.op_type != "Conv" or (chosen and node.name not in chosen):
                continue
            weight = node.inputs[1]
            if weight is None or weight.const_value is None:
                notes.append(Note("refused", node.name or "", "its weights are computed"))
                continue
            scaled = weight.const_value.numpy() * self.factor
            weight.const_value = ir.tensor(scaled.astype("float32"), name=weight.name)
            notes.append(Note("did", node.name or "", f"weights times {self.factor:g}"))
        return PassResult(model, any(n.kind == "did" for n in notes), tuple(notes))
