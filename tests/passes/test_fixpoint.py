"""Tests of running parts to a fixed point."""

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir
import pytest
from budgetc_passes.contract import Needs, Note, PassError, PassResult
from budgetc_passes.fixpoint import run_to_fixed_point


@dataclass(frozen=True)
class RemoveOneNegation:
    """Takes away the last two Neg nodes, or refuses."""

    name: ClassVar[str] = "remove-one-negation"

    def needs(self):
        return Needs()

    def run(self, model, evidence):
        count = len(model.graph)
        if count < 2:
            return PassResult(model, False, (Note("refused", "rest", f"{count} left"),))
        model.graph.remove(list(model.graph)[-2:])
        return PassResult(model, True, (Note("did", f"{count}", "two gone"),))


@dataclass(frozen=True)
class Busy:
    """Always says that it did something."""

    name: ClassVar[str] = "busy"

    def needs(self):
        return Needs()

    def run(self, model, evidence):
        return PassResult(model, True, (Note("did", "n", "again"),))


def chain(count):
    value = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape([1]))
    nodes, last = [], value
    for _ in range(count):
        nodes.append(ir.node("Neg", [last]))
        last = nodes[-1].outputs[0]
    return ir.Model(ir.Graph([value], [], nodes=nodes, opset_imports={"": 17}), ir_version=8)


def test_rounds_go_on_until_nothing_changes(evidence):
    result = run_to_fixed_point([RemoveOneNegation()], chain(5), evidence, "test")
    assert len(result.model.graph) == 1
    assert result.modified
    assert [note.text for note in result.notes] == ["two gone", "two gone", "1 left"]


def test_parts_that_never_rest_are_a_bug(evidence):
    with pytest.raises(PassError, match="BUG: test did not settle"):
        run_to_fixed_point([Busy()], chain(1), evidence, "test")
