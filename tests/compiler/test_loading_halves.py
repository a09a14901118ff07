"""Half-precision models are computed in f32; their ports, and what they cast themselves, keep the type."""

import ml_dtypes
import numpy as np
import onnx
import pytest
from budgetc.loading.halves import widen_halves
from budgetc.model import parse_model
from onnx import TensorProto, numpy_helper, parser
from onnx.reference import ReferenceEvaluator


def half_model(text, opset=17, **weights):
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["": {opset}]> {text}')
    for name, array in weights.items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


def operators(data):
    return [n.op_type for n in onnx.load_model_from_string(data).graph.node]


def test_what_is_between_the_ports_is_f32():
    weights = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float16)
    model = parse_model(
        half_model(
            "g (float16[2,4] x) => (float16[2,3] y) { a = MatMul(x, w)  y = Relu(a) }", w=weights
        ).SerializeToString(),
        "half.onnx",
    )
    assert [(p.name, p.dtype) for p in (*model.inputs, *model.outputs)] == [
        ("x", "float16"),
        ("y", "float16"),
    ]
    assert operators(model.data) == ["Cast", "MatMul", "Relu", "Cast"]
    proto = onnx.load_model_from_string(model.data)
    assert [t.data_type for t in proto.graph.initializer] == [TensorProto.FLOAT]
    x = np.random.default_rng(1).standard_normal((2, 4)).astype(np.float16)
    (y,) = ReferenceEvaluator(proto).run(None, {"x": x})
    wanted = np.maximum(x.astype(np.float32) @ weights.astype(np.float32), 0).astype(np.float16)
    np.testing.assert_array_equal(y, wanted)


def test_casts_of_the_model_still_round():
    model = parse_model(
        half_model(
            "g (float[3] x) => (float[3] y) { h = Cast<to=10>(x)  y = Cast<to=1>(h) }"
        ).SerializeToString(),
        "half.onnx",
    )
    x = np.array([1.0001, 70000.0, 1e-9], np.float32)
    with np.errstate(over="ignore"):
        (y,) = ReferenceEvaluator(onnx.load_model_from_string(model.data)).run(None, {"x": x})
    np.testing.assert_array_equal(y, np.array([1.0, np.inf, 0.0], np.float32))


def test_weights_that_the_model_widens_itself_stay_short():
    """As the pass `bf16` stores them; what computes with others is f32."""
    weights = np.random.default_rng(0).standard_normal((4, 3)).astype(ml_dtypes.bfloat16)
    text = "g (float[2,4] x) => (float[2,3] y) { v = Cast<to=1>(w)  y = MatMul(x, v) }"
    data = parse_model(half_model(text, w=weights).SerializeToString(), "half.onnx").data
    (stored,) = onnx.load_model_from_string(data).graph.initializer
    assert stored.data_type == TensorProto.BFLOAT16
    assert operators(data) == ["Cast", "MatMul"]


def test_a_value_that_is_port_and_operand():
    model = parse_model(
        half_model(
            "g (bfloat16[3] x) => (bfloat16[3] y, bfloat16[3] z) { y = Add(x, x)  z = Mul(y, x) }"
        ).SerializeToString(),
        "half.onnx",
    )
    assert operators(model.data).count("Cast") == 3
    assert [p.dtype for p in model.outputs] == ["bfloat16", "bfloat16"]


def test_types_in_attributes():
    proto = half_model(
        "g (float16[2] x) => (float16[2] y) <int64[1] n = {2}> { z = ConstantOfShape(n)  y = Add(x, z) }"
    )
    value = numpy_helper.from_array(np.array([1.5], np.float16))
    proto.graph.node[0].attribute.append(onnx.helper.make_attribute("value", value))
    model = parse_model(proto.SerializeToString(), "half.onnx")
    x = np.array([1, 2], np.float16)
    (y,) = ReferenceEvaluator(onnx.load_model_from_string(model.data)).run(None, {"x": x})
    np.testing.assert_array_equal(y, np.array([2.5, 3.5], np.float16))


@pytest.mark.parametrize(
    "text",
    [
        "g (float[3] x) => (float[3] y) { y = Relu(x) }",
        "g (float16[3] x, bool c) => (float16[3] y) "
        "{ y = If<then_branch = t () => (float16[3] a) { a = Identity(x) },"
        " else_branch = e () => (float16[3] b) { b = Relu(x) }>(c) }",
    ],
    ids=["no halves", "control flow"],
)
def test_others_stay_as_they_are(text):
    model = onnx.shape_inference.infer_shapes(half_model(text))
    before = model.SerializeToString()
    assert not widen_halves(model)
    assert model.SerializeToString() == before
