"""The cleanup family as one pass: what a graph computes for nothing is taken away."""

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
from onnx_ir.passes.common import (
    CommonSubexpressionEliminationPass,
    DeduplicateInitializersPass,
)

from budgetc_passes.cleanup.constants import FoldConstants
from budgetc_passes.cleanup.global_pools import NameGlobalPools
from budgetc_passes.cleanup.identities import RemoveIdentities
from budgetc_passes.cleanup.transposes import CancelTransposes
from budgetc_passes.contract import Evidence, Needs, Note, Pass, PassResult
from budgetc_passes.fixpoint import run_to_fixed_point
from budgetc_passes.graph import label, remove_dead
from budgetc_passes.invariants import finish, require

EVERY_SIZE = 1 << 62


@dataclass(frozen=True)
class RemoveRepeats:
    """Removes dead nodes, unused initializers, and all but one of equal nodes and initializers.

    Requires: opset >= 9, functions inlined. Ensures: every node and initializer is needed by an
    output, and no two nodes do the same work; the interface is unchanged.
    Cost: never grows size or latency.
    """

    name: ClassVar[str] = "remove-repeats"

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Remove the dead first, so that nothing is merged for them."""
        before = require(model, self.name)
        nodes = {node: label(node) for node in model.graph}
        constants = list(model.graph.initializers)
        remove_dead(model)
        left = set(model.graph)
        notes = [
            Note("did", name, "removed: nothing reads it")
            for node, name in nodes.items()
            if node not in left
        ]
        # The hashing kind of this pass stumbles over arrays that are not contiguous.
        DeduplicateInitializersPass(size_limit=EVERY_SIZE)(model)
        CommonSubexpressionEliminationPass()(model)
        notes += [
            Note("did", name, "removed: another node does the same")
            for node, name in nodes.items()
            if node in left and node.graph is None
        ]
        notes += [
            Note("did", name, "removed: an unused constant, or the same as another")
            for name in constants
            if name not in model.graph.initializers
        ]
        return finish(model, self.name, before, notes)


PARTS: tuple[Pass, ...] = (
    FoldConstants(),
    RemoveIdentities(),
    NameGlobalPools(),
    CancelTransposes(),
    RemoveRepeats(),
)


@dataclass(frozen=True)
class Clean:
    """Runs every cleanup until nothing is left to take away; the first pass of most recipes.

    Requires: opset >= 9, functions inlined. Ensures: what each part ensures.
    Cost: never grows size (beyond the slack of `fold-constants`) or latency.
    """

    name: ClassVar[str] = "clean"

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Run the parts to a fixed point."""
        before = require(model, self.name)
        result = run_to_fixed_point(PARTS, model, evidence, self.name)
        return finish(result.model, self.name, before, result.notes)
