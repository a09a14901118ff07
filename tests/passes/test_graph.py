"""Tests of questions and edits on graphs."""

import numpy as np
import onnx_ir as ir
import pytest
from budgetc_passes import graph as g


@pytest.fixture
def model(parse):
    """a = x + k, b = relu(a), and both are outputs."""
    return ir.from_proto(
        parse(
            """g (float[2] x, float[2] k) => (float[2] a, float[2] y)
               { a = Add (x, k) b = Relu (a) y = Neg (b) }""",
            k=np.array([1, 2], "f"),
        )
    )


def test_constants_and_shapes(model):
    x, k = model.graph[0].inputs
    assert g.constant(x) is None
    np.testing.assert_array_equal(g.constant(k), [1, 2])
    assert g.scalar(k) is None
    assert g.dims(x) == (2,)
    assert g.dims(None) is None
    assert g.label(model.graph[1]) == "Relu(b)"


def test_an_initializer_that_a_caller_may_override_is_no_constant(model):
    k = model.graph.initializers["k"]
    model.graph.inputs.append(k)
    assert g.constant(k) is None


def test_only_consumer(model):
    a, b = model.graph[0].outputs[0], model.graph[1].outputs[0]
    assert g.only_consumer(a) is None  # an output of the model
    assert g.only_consumer(b) is model.graph[2]


def test_names_are_fresh(model):
    assert g.fresh_name(model.graph, "new") == "new"
    assert g.fresh_name(model.graph, "k") == "k.1"
    assert g.add_initializer(model.graph, "k", np.array(1.0)).name == "k.1"
    assert g.fresh_name(model.graph, "k") == "k.2"


def test_an_output_passes_its_name_on(model):
    y, b = model.graph[2].outputs[0], model.graph[1].outputs[0]
    assert g.substitute(y, b)
    assert [value.name for value in model.graph.outputs] == ["a", "y"]
    assert b.name == "y"
    g.drop_dead(y.producer())
    assert [node.op_type for node in model.graph] == ["Add", "Relu"]


def test_an_output_cannot_take_an_output_or_an_input(model):
    y, a = model.graph[2].outputs[0], model.graph[0].outputs[0]
    assert not g.substitute(y, a)
    assert not g.substitute(y, model.graph.inputs[0])
    assert [value.name for value in model.graph.outputs] == ["a", "y"]


def test_set_constant_does_not_touch_other_readers(model):
    add = model.graph[0]
    g.set_constant(add, 1, np.array([5, 6], "f"), "k")
    assert add.inputs[1].name == "k"  # in place: nobody else reads it
    other = g.add_node(
        model.graph[1], "Mul", [add.outputs[0], add.inputs[1]], shape=[2], dtype=None, stem="m"
    )
    g.set_constant(add, 1, np.array([7, 8], "f"), "k")
    assert add.inputs[1].name == "k.1"
    np.testing.assert_array_equal(g.constant(other.producer().inputs[1]), [5, 6])


@pytest.mark.parametrize(
    ("line", "opset", "wanted"),
    [
        ("Relu (x)", 17, (0, np.inf)),
        ("Clip (x)", 17, (-np.inf, np.inf)),
        ("Clip <min = -1.0> (x)", 9, (-1, np.inf)),
        ("Clip <min = -3.4028235e38, max = 6.0> (x)", 9, (-np.inf, 6)),
        ("Neg (x)", 17, None),
    ],
)
def test_clip_bounds(parse, line, opset, wanted):
    model = ir.from_proto(parse(f"g (float[2] x) => (float[2] y) {{ y = {line} }}", opset))
    assert g.clip_bounds(model.graph[0]) == wanted


def test_clip_bounds_that_are_computed_are_unknown(parse):
    model = ir.from_proto(parse("g (float[2] x, float l) => (float[2] y) { y = Clip (x, l) }"))
    assert g.clip_bounds(model.graph[0]) is None
