"""Networks as onnxruntime's quantiser leaves them, in each of its forms: every bit is onnxruntime's."""

import logging

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from budgetc.baseline import make_session
from budgetc.registry import make_passes
from budgetc.search.recipes import float_recipe
from budgetc_passes.contract import Evidence
from onnx import numpy_helper, parser
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

NET = """g (float[1,3,12,12] x) => (float[1,10] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1, b1)
    b = Relu(a)
    c = Conv<pads=[1,1,1,1], group=8>(b, w2, b2)
    d = LeakyRelu<alpha=0.1>(c)
    e = Add(d, b)
    m = MaxPool<kernel_shape=[2,2], strides=[2,2]>(e)
    s = Sigmoid(m)
    u = Mul(s, m)
    v = Concat<axis=1>(u, m)
    p = AveragePool<kernel_shape=[2,2], strides=[2,2]>(v)
    g = GlobalAveragePool(p)
    h = Flatten(g)
    y = Gemm<transB=1>(h, w3, b3)
}"""
SHAPE = (1, 3, 12, 12)


def network(opset=17):
    random = np.random.default_rng(0)
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["": {opset}]>\n{NET}')
    shapes = {
        "w1": (8, 3, 3, 3),
        "b1": (8,),
        "w2": (8, 1, 3, 3),
        "b2": (8,),
        "w3": (10, 16),
        "b3": (10,),
    }
    for name, shape in shapes.items():
        scale = np.sqrt(np.prod(shape[1:]) or 1)
        array = (random.standard_normal(shape) / scale).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


class Samples(CalibrationDataReader):
    """Eight images of noise."""

    def __init__(self):
        random = np.random.default_rng(5)
        self.left = [{"x": random.standard_normal(SHAPE).astype(np.float32)} for _ in range(8)]

    def get_next(self):
        return self.left.pop() if self.left else None


@pytest.fixture
def quantise(tmp_path):
    """The network after onnxruntime's static quantiser."""

    def make(form, activations, weights, per_channel, symmetric):
        onnx.save(network(), tmp_path / "float.onnx")
        logging.disable(
            logging.WARNING
        )  # it recommends a preparation that the network does not need
        try:
            quantize_static(
                tmp_path / "float.onnx",
                tmp_path / "int8.onnx",
                Samples(),
                quant_format=QuantFormat[form],
                activation_type=QuantType[activations],
                weight_type=QuantType[weights],
                per_channel=per_channel,
                extra_options={"ActivationSymmetric": symmetric},
            )
        finally:
            logging.disable(logging.NOTSET)
        return onnx.load(tmp_path / "int8.onnx")

    return make


def check_bits(library, model):
    oracle = make_session(model.SerializeToString(), exact_integers=True)
    random = np.random.default_rng(77)
    for _ in range(10):
        feeds = {"x": random.standard_normal(SHAPE).astype(np.float32)}
        np.testing.assert_array_equal(library.run(feeds)["y"], oracle.run(feeds)["y"])


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize(
    ("form", "activations", "weights"),
    [
        ("QDQ", "QUInt8", "QInt8"),
        ("QDQ", "QUInt8", "QUInt8"),
        ("QDQ", "QInt8", "QInt8"),
        ("QOperator", "QUInt8", "QInt8"),
        ("QOperator", "QUInt8", "QUInt8"),
    ],
)
def test_static(build_library, quantise, form, activations, weights, per_channel, symmetric):
    """Signed activations in operators are left out: onnxruntime has no QGemm for them."""
    model = quantise(form, activations, weights, per_channel, symmetric)
    library = build_library(model)
    assert "foreign" not in library.kernels
    assert library.kernels.count("convolution") >= 2
    check_bits(library, model)


@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_after_the_passes_of_every_candidate(build_library, quantise, host, form):
    """Cleaning and fusing a quantised model changes no bit."""
    from budgetc.model import parse_model

    model = quantise(form, "QInt8" if form == "QDQ" else "QUInt8", "QInt8", True, False)
    current = ir.from_proto(
        onnx.load_model_from_string(parse_model(model.SerializeToString(), "m.onnx").data)
    )
    for step in make_passes(float_recipe()):
        current = step.run(current, Evidence(host)).model
    check_bits(build_library(ir.to_proto(current)), model)


@pytest.mark.parametrize("kind", ["QInt8", "QUInt8"])
def test_dynamic(check_float, tmp_path, kind):
    """Products of activations that are quantised on the way, as a transformer has them."""
    random = np.random.default_rng(1)
    text = (
        "g (float[1,7,16] x) => (float[1,7,8] y) { a = MatMul(x, w) b = Relu(a) y = MatMul(b, v) }"
    )
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["": 17]>\n{text}')
    for name, shape in (("w", (16, 24)), ("v", (24, 8))):
        array = random.standard_normal(shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.save(model, tmp_path / "float.onnx")
    logging.disable(logging.WARNING)
    try:
        quantize_dynamic(
            tmp_path / "float.onnx", tmp_path / "int8.onnx", weight_type=QuantType[kind]
        )
    finally:
        logging.disable(logging.NOTSET)
    made = onnx.load(tmp_path / "int8.onnx")
    body = onnx.printer.to_text(made.graph)
    weights = {t.name: numpy_helper.to_array(t) for t in made.graph.initializer}
    assert "DynamicQuantizeLinear" in body
    del made.graph.initializer[:]
    graph = onnx.printer.to_text(made.graph)
    library = check_float(graph, made.opset_import[0].version, **weights)
    assert "foreign" not in library.kernels
