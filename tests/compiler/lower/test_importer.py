"""What ONNX nodes become, and what is refused at the door."""

import numpy as np
import onnx
import pytest
from budgetc.lower.graph import Value
from budgetc.lower.importer import import_model
from budgetc_specs.errors import ModelError


def test_a_node_becomes_an_operation(make_graph, weights):
    graph = make_graph(
        "g (float[1,3,8,8] x) => (float[1,4,4,4] y)"
        '{ y = Conv<strides=[2,2], pads=[1,1,1,1], auto_pad="NOTSET">(x, w) }',
        w=weights(4, 3, 3, 3),
    )
    (op,) = graph.operations
    assert (op.kind, op.inputs, op.outputs) == ("Conv", ("x", "w"), ("y",))
    assert op.attributes["strides"] == (2, 2)
    assert op.attributes["auto_pad"] == "NOTSET"
    assert graph.inputs == ("x",)
    assert graph.outputs == ("y",)
    assert graph.values["y"] == Value((1, 4, 4, 4), "float32")
    assert graph.values["w"] == Value((4, 3, 3, 3), "float32")
    assert graph.opset == 17


def test_a_cast_to_the_type_of_a_value_does_not_wait_for_it(make_graph):
    graph = make_graph(
        "g (float[3] x, int32[2] like) => (int32[3] y) { y = CastLike(x, like) }", 19
    )
    (op,) = graph.operations
    assert (op.kind, op.inputs, op.attributes["to"]) == ("Cast", ("x",), onnx.TensorProto.INT32)
    assert graph.node_model(op).graph.node[0].op_type == "Cast"


def test_what_no_output_needs_is_not_imported(make_graph):
    graph = make_graph("g (float[3] x) => (float[3] y) { y = Relu(x)  z = Exp(x) }")
    assert [op.kind for op in graph.operations] == ["Relu"]


def test_an_optional_output_that_nobody_reads_is_dropped(make_graph):
    text = "g (float[1,2,4,4] x) => ({}) {{ y, i = MaxPool<kernel_shape=[2,2]>(x) }}"
    unread = make_graph(text.format("float[1,2,3,3] y"))
    assert unread.operations[0].outputs == ("y",)
    assert list(unread.operations[0].attributes["proto"].output) == ["y"]
    read = make_graph(text.format("float[1,2,3,3] y, int64[1,2,3,3] i"))
    assert read.operations[0].outputs == ("y", "i")


def test_what_holds_nothing_is_known(make_graph):
    graph = make_graph(
        "g (float[3] x, float[0] n) => (float[3] y) <int64[1] s = {2}, int64[1] e = {1}>"
        "{ a = Slice(x, s, e)  y = Concat<axis=0>(a, x, n) }"
    )
    assert graph.inputs == ("x", "n")
    assert {name: graph.constants[name].shape for name in ("a", "n")} == {"a": (0,), "n": (0,)}


@pytest.mark.parametrize(
    ("text", "opset", "message"),
    [
        ("g (float[3] x) => (float[3] y) { y = Relu(x) }", 6, "opset 6"),
        (
            "g (float[2] x, bool c) => (float[2] y) { y = If<"
            "then_branch = a () => (float[2] t) { t = Relu(x) },"
            "else_branch = b () => (float[2] e) { e = Exp(x) }>(c) }",
            17,
            'the If node "If_0" chooses or repeats',
        ),
    ],
)
def test_what_loading_resolves_is_refused_by_itself(make_model, text, opset, message):
    with pytest.raises(ModelError) as error:
        import_model(make_model(text, opset).SerializeToString())
    assert message in error.value.message
    assert error.value.repair


def test_an_operator_of_another_domain_keeps_its_version(make_model):
    model = make_model("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    model.graph.node[0].op_type = "Normalizer"
    model.graph.node[0].domain = "ai.onnx.ml"
    model.opset_import.append(onnx.helper.make_opsetid("ai.onnx.ml", 3))
    graph = import_model(model.SerializeToString())
    alone = graph.node_model(graph.operations[0])
    assert [(o.domain, o.version) for o in alone.opset_import] == [("ai.onnx.ml", 3)]


def test_an_element_type_without_a_place_in_c(make_model):
    model = make_model("g (complex64[3] x) => (complex64[3] y) { y = Identity(x) }")
    with pytest.raises(ModelError, match='"x" is of type complex64') as refused:
        import_model(model.SerializeToString())
    assert "float32" in refused.value.repair


def test_a_value_without_a_static_shape_is_refused(make_model):
    model = make_model("g (float[n] x) => (float[n] y) { y = Relu(x) }")
    with pytest.raises(ModelError, match='"x" has no static shape'):
        import_model(model.SerializeToString())


def test_constants_keep_their_values(make_graph):
    table = np.arange(6, dtype=np.int8).reshape(2, 3)
    graph = make_graph("g (int8[2,3] x) => (int8[4,3] y) { y = Concat<axis=0>(x, k) }", k=table)
    np.testing.assert_array_equal(graph.constants["k"], table, strict=True)
