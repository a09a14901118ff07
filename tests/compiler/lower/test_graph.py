"""The lowering graph's own operations."""

import numpy as np
import pytest
from budgetc.lower.graph import Graph, Operation, Value


@pytest.fixture
def graph():
    value = Value((2,), "float32")
    operations = [
        Operation("Relu", "r", ("x",), ("a",)),
        Operation("Add", "s", ("a", "a"), ("b",)),
        Operation("Exp", "unused", ("a",), ("c",)),
    ]
    return Graph(("x",), ("b",), operations, dict.fromkeys("xabc", value), {})


def test_uses_count_every_reading_and_outputs_as_one(graph):
    assert graph.uses() == {"x": 1, "a": 3, "b": 1}


def test_producers_and_consumers(graph):
    assert graph.producers()["b"].name == "s"
    assert [op.name for op in graph.consumers("a")] == ["s", "unused"]


def test_dead_operations_go(graph):
    graph.remove_dead()
    assert [op.name for op in graph.operations] == ["r", "s"]


def test_a_view_that_changes_nothing_goes_unless_it_is_an_output(graph):
    view = {"view": "reshape"}
    graph.values["t"] = Value((1, 2), "float32")
    graph.operations[1:] = [
        Operation("view", "same", ("a",), ("b",), view),
        Operation("view", "other", ("b",), ("t",), view),
        Operation("view", "last", ("b",), ("c",), view),
    ]
    graph.outputs = ("c", "t")
    graph.skip_idle_views()
    assert [(op.name, op.inputs) for op in graph.operations] == [
        ("r", ("x",)),
        ("other", ("a",)),
        ("last", ("a",)),
    ]


def test_new_names_are_free(graph):
    names = [
        graph.add_value("a", (1,), "uint8"),
        graph.add_constant("a", np.zeros(3, np.int8)[::-1]),
    ]
    assert len({"a", *names}) == 3
    assert graph.values[names[1]] == Value((3,), "int8")
    assert graph.constants[names[1]].flags.c_contiguous


def test_constants_without_dimensions_keep_none(graph):
    assert graph.constants[graph.add_constant("k", np.float32(3).reshape(()))].shape == ()


def test_labels_name_the_operator_of_the_model(make_graph):
    made = make_graph("g (float[3] x) => (float[3] y) { y = Relu(x) }")
    assert made.operations[0].label == 'the Relu node "y"'
    assert Operation("map", "m", (), ("y",)).label == 'the map node "m"'


def test_a_node_becomes_a_model_of_its_own(make_graph, weights):
    made = make_graph(
        "g (float[2,3] x) => (float[2,4] y) { y = MatMul(x, w) }", 13, w=weights(3, 4)
    )
    model = made.node_model(made.operations[0])
    assert [i.name for i in model.graph.input] == ["x"]
    assert [i.name for i in model.graph.initializer] == ["w"]
    assert model.opset_import[0].version == 13


def test_several_outputs_are_not_the_output():
    op = Operation("Split", "s", ("x",), ("a", "b"))
    with pytest.raises(AssertionError, match="BUG"):
        _ = op.output
