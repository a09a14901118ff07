"""The fusion family as one pass: activations, pads, biases and batch normalisations."""

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from budgetc_passes.contract import Evidence, Needs, Pass, PassResult
from budgetc_passes.fixpoint import run_to_fixed_point
from budgetc_passes.fusion.activations import RecogniseActivations
from budgetc_passes.fusion.batch_norm import FoldBatchNorm
from budgetc_passes.fusion.bias import FoldBias
from budgetc_passes.fusion.pad import FoldPad
from budgetc_passes.invariants import finish, require

PARTS: tuple[Pass, ...] = (RecogniseActivations(), FoldPad(), FoldBias(), FoldBatchNorm())


@dataclass(frozen=True)
class Fuse:
    """Runs every fusion until nothing is left to draw together; best after `clean`.

    Requires: opset >= 9, functions inlined. Ensures: what each part ensures.
    Cost: never grows size or latency but for a few numbers (see the parts).
    """

    name: ClassVar[str] = "fuse"

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Run the parts to a fixed point."""
        before = require(model, self.name)
        result = run_to_fixed_point(PARTS, model, evidence, self.name)
        return finish(result.model, self.name, before, result.notes)
