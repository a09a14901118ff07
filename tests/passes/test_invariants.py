"""Tests of what every pass checks."""

import onnx
import onnx_ir as ir
import pytest
from budgetc_passes.contract import Note, PassError
from budgetc_passes.invariants import finish, require


@pytest.fixture
def model(parse):
    """y = -relu(x)."""
    return ir.from_proto(parse("g (float[2] x) => (float[2] y) { a = Relu (x) y = Neg (a) }"))


def test_functions_are_refused():
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17, "own" : 1]>
           g (float[2] x) => (float[2] y) { y = own.twice (x) }
           <domain: "own", opset_import: ["" : 17]> twice (x) => (y) { y = Add (x, x) }"""
    )
    with pytest.raises(PassError, match=r"twice.*Inline"):
        require(ir.from_proto(proto), "test")


def test_a_changed_interface_is_a_bug(model):
    before = require(model, "test")
    model.graph.outputs[0].name = "z"
    with pytest.raises(PassError, match="BUG: test changed the interface"):
        finish(model, "test", before, [])


def test_a_value_read_before_it_exists_is_a_bug(model):
    before = require(model, "test")
    relu = model.graph[0]
    model.graph.remove(relu)
    model.graph.append(relu)
    with pytest.raises(PassError, match="reading 'a' before it exists"):
        finish(model, "test", before, [])


def test_modified_is_what_the_notes_say(model):
    before = require(model, "test")
    refused, did = Note("refused", "n", "no"), Note("did", "n", "yes")
    assert not finish(model, "test", before, [refused]).modified
    assert finish(model, "test", before, [refused, did, did]).notes == (refused, did)
