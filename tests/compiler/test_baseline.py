"""onnxruntime as reference, oracle and peer: right outputs, exact integers, and errors that are ours."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from budgetc.baseline import by_sample, make_session, run_over, seconds_of_inference, timer
from budgetc.data import load_data
from budgetc.measure.classification import top1
from budgetc.model import load_model
from budgetc_specs.errors import ModelError
from onnx import TensorProto, helper, numpy_helper

EXAMPLES = Path(__file__).parents[2] / "specs/examples"


@pytest.fixture(scope="module", params=[1, 8])
def mnist(request):
    batch = request.param
    model = load_model(EXAMPLES / "mnist/mnist5k_cnn.onnx", {"input": [batch, 1, 28, 28]})
    return model, load_data(EXAMPLES / "mnist/evaluation.npz", model)


def test_the_float_reference_is_as_good_as_it_should_be(mnist):
    model, data = mnist
    outputs = run_over(make_session(model.data).run, data)
    assert outputs["logits"].shape == (1000, 10)
    assert top1(outputs, data.labels, outputs).mean() == 0.981


def test_a_part_of_the_data(mnist):
    model, data = mnist
    outputs = run_over(make_session(model.data, optimisation="none").run, data, limit=3)
    assert outputs["logits"].shape == (3 * model.inputs[0].shape[0], 10)


def test_timer(mnist):
    model, data = mnist
    taken = timer(make_session(model.data), next(data.samples()))(7)
    assert taken.shape == (7,)
    assert taken.dtype == np.int64
    assert (taken > 1000).all()


def test_seconds_of_inference_are_those_of_the_timer(mnist):
    model, data = mnist
    session = make_session(model.data)
    taken = np.median(timer(session, next(data.samples()))(50)) * 1e-9
    inputs = {"input": np.concatenate([each["input"] for each in data.samples(2)])}
    assert taken / 4 < seconds_of_inference(session, model.inputs, inputs) < taken * 4


def test_by_sample():
    outputs = {
        "batched": np.arange(12).reshape(4, 3),
        "rows": np.arange(24).reshape(8, 3),
        "flat": np.arange(40),
    }
    shaped = by_sample(outputs, 4)
    assert {n: a.shape for n, a in shaped.items()} == {
        "batched": (4, 3),
        "rows": (4, 2, 3),
        "flat": (4, 10),
    }
    assert shaped["rows"][1].tolist() == [[6, 7, 8], [9, 10, 11]]


def test_the_oracle_does_not_saturate():
    """255 * 127 * 2 exceeds 16 bits, where u8 x s8 pairs are summed on CPUs without VNNI."""
    depth = 64
    tensors = [
        helper.make_tensor("one", TensorProto.FLOAT, [], [1.0]),
        helper.make_tensor("big", TensorProto.FLOAT, [], [16384.0]),
        helper.make_tensor("zx", TensorProto.UINT8, [], [0]),
        helper.make_tensor("zw", TensorProto.INT8, [], [0]),
        helper.make_tensor("w", TensorProto.INT8, [depth, 4], [127] * (4 * depth)),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "one", "zx"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "one", "zx"], ["xd"]),
        helper.make_node("DequantizeLinear", ["w", "one", "zw"], ["wd"]),
        helper.make_node("MatMul", ["xd", "wd"], ["m"]),
        helper.make_node("QuantizeLinear", ["m", "big", "zx"], ["yq"]),
        helper.make_node("DequantizeLinear", ["yq", "big", "zx"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, depth])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    x = np.full((1, depth), 255, np.float32)
    y = make_session(model.SerializeToString(), exact_integers=True).run({"x": x})["y"]
    assert y.tolist() == [[round(255 * 127 * depth / 16384) * 16384.0] * 4]


def test_what_onnxruntime_refuses(mnist):
    model, _ = mnist
    with pytest.raises(ModelError, match=r"^onnxruntime does not load the model: .*PROTOBUF"):
        make_session(b"garbage")
    session = make_session(model.data)
    with pytest.raises(ModelError, match=r"^onnxruntime does not run the model: "):
        session.run({"input": np.zeros((3, 3), np.float32)})
    future = onnx.load_model_from_string(model.data)
    future.opset_import[0].version = 10_000
    with pytest.raises(ModelError, match="onnxruntime does not load the model"):
        make_session(future.SerializeToString())


def _two_coded_products(shared):
    """Two products in QDQ form, whose weights have one zero point or one each."""
    random = np.random.default_rng(0)
    zeros = ["zero", "zero" if shared else "zero_1"]
    constants = {
        "w0": random.integers(-127, 128, (8, 8)).astype(np.int8),
        "w1": random.integers(-127, 128, (8, 8)).astype(np.int8),
        **dict.fromkeys(zeros, np.int8(0)),
        "scale": np.float32(0.01),
        "middle": np.uint8(128),
    }
    nodes, value = [], "x"
    for i, zero in enumerate(zeros):
        steps = [
            ("QuantizeLinear", [value, "scale", "middle"], f"q{i}"),
            ("DequantizeLinear", [f"q{i}", "scale", "middle"], f"d{i}"),
            ("DequantizeLinear", [f"w{i}", "scale", zero], f"v{i}"),
            ("MatMul", [f"d{i}", f"v{i}"], f"m{i}"),
            ("QuantizeLinear", [f"m{i}", "scale", "middle"], f"o{i}"),
            ("DequantizeLinear", [f"o{i}", "scale", "middle"], f"y{i}"),
        ]
        nodes += [helper.make_node(kind, inputs, [output]) for kind, inputs, output in steps]
        value = f"y{i}"
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info(value, TensorProto.FLOAT, [1, 8])],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    opset = [helper.make_opsetid("", 13)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


def test_exact_integers_where_layers_share_a_zero_point():
    """onnxruntime refuses to recode such weights; the answers are those of zero points that are not shared."""
    x = {"x": np.linspace(-1, 1, 8, dtype=np.float32)[None]}
    answers = [
        make_session(_two_coded_products(shared), exact_integers=True).run(x)["y1"]
        for shared in (False, True)
    ]
    np.testing.assert_array_equal(*answers)
