"""Operators on integers come out of the loader as QDQ, and onnxruntime computes the same of both."""

import numpy as np
import onnx
import pytest
from budgetc.baseline import make_session
from budgetc.model import load_model
from budgetc_specs.errors import ModelError
from onnx import TensorProto, helper, numpy_helper, parser

CODES = (
    "float sa = {0.0371}, uint8 za = {121}, float sb = {0.0213}, uint8 zb = {87}, "
    "float sy = {0.0519}, uint8 zy = {113}"
)
BOTH, ONE = "a, sa, za, b, sb, zb, sy, zy", "a, sa, za, sy, zy"
INTEGER_ONLY = {"QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}
INTEGER_ONLY |= {"DynamicQuantizeLinear"}


def parsed(text, opset=17, **weights):
    domains = f'opset_import: ["": {opset}, "com.microsoft": 1]'
    model = parser.parse_model(f"<ir_version: 9, {domains}>\n{text}")
    model.graph.initializer.extend(numpy_helper.from_array(w, n) for n, w in weights.items())
    return model


def loaded(folder, model):
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return load_model(path)


def check(folder, model, steps=0, tolerance=0.0):
    """The loaded model is of the standard domain and gives what onnxruntime gives for the original."""
    made = loaded(folder, model)
    proto = onnx.load_model_from_string(made.data)
    assert all(not n.domain and n.op_type not in INTEGER_ONLY for n in proto.graph.node)
    random = np.random.default_rng(3)
    feeds = {}
    for port in made.inputs:
        drawn = random.integers(0, 256, port.shape).astype(np.uint8)
        real = random.standard_normal(port.shape).astype(np.float32)
        feeds[port.name] = real if port.dtype == "float32" else drawn.astype(port.dtype)
    theirs = make_session(model.SerializeToString(), exact_integers=True).run(feeds)
    ours = make_session(made.data, exact_integers=True).run(feeds)
    for name, value in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (value.dtype, value.shape)
        assert value.std() > 0, "the test sees something"
        allowed = steps if value.dtype.kind in "ui" else tolerance * np.abs(value).max()
        difference = np.abs(ours[name].astype(np.float64) - value.astype(np.float64))
        assert difference.max() <= allowed
    return proto


def integers(*shape, dtype=np.int8, seed=0):
    limits = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(limits.min, limits.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize(
    ("made", "shapes"),
    [
        (f"com.microsoft.QLinearAdd({BOTH})", ("4,6", "4,6", "4,6")),
        (f"com.microsoft.QLinearMul({BOTH})", ("4,6", "4,6", "4,6")),
        (f"com.microsoft.QLinearSigmoid({ONE})", ("4,6", "1", "4,6")),
        (f"com.microsoft.QLinearLeakyRelu<alpha=0.1>({ONE})", ("4,6", "1", "4,6")),
        (f"com.microsoft.QLinearSoftmax<axis=-1, opset=13>({ONE})", ("4,6", "1", "4,6")),
        (
            f"com.microsoft.QLinearAveragePool<kernel_shape=[2,2]>({ONE})",
            ("1,2,5,5", "1", "1,2,4,4"),
        ),
        (f"com.microsoft.QLinearGlobalAveragePool({ONE})", ("1,8,5,5", "1", "1,8,1,1")),
        (
            "com.microsoft.QLinearConcat<axis=1>(sy, zy, a, sa, za, b, sb, zb)",
            ("4,6", "4,3", "4,9"),
        ),
        (f"QLinearMatMul({BOTH})", ("2,4,6", "2,6,5", "2,4,5")),
    ],
)
def test_operators_on_codes(tmp_path, made, shapes):
    a, b, y = shapes
    text = f"g (uint8[{a}] a, uint8[{b}] b) => (uint8[{y}] y) <{CODES}> {{ y = {made} }}"
    check(tmp_path, parsed(text), steps=1 if "Softmax" in made else 0)


@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("count", [1, 4])
def test_a_convolution_of_codes(tmp_path, opset, dtype, count):
    text = f"""g (uint8[1,3,6,6] a) => (uint8[1,4,6,6] y) <{CODES}> {{
        y = QLinearConv<pads=[1,1,1,1]>(a, sa, za, w, sw, zw, sy, zy, bias) }}"""
    scales = np.array([0.01, 0.02, 0.03, 0.04], np.float32)[:count]
    zeros = np.full(count, 0 if dtype == np.int8 else 128, dtype)
    scale, zero = (scales, zeros) if count > 1 else (scales.reshape(()), zeros.reshape(()))
    bias = np.array([100, -200, 300, 0], np.int32)
    w = integers(4, 3, 3, 3, dtype=dtype)
    check(tmp_path, parsed(text, opset, w=w, sw=scale, zw=zero, bias=bias))


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_a_dense_layer_of_codes(tmp_path, transposed, alpha):
    text = f"""g (uint8[2,6] a) => (uint8[2,4] y) <{CODES}> {{
        y = com.microsoft.QGemm<transB={transposed}, alpha={alpha}>(a, sa, za, w, sb, zw, bias, sy, zy) }}"""
    w = integers(4, 6) if transposed else integers(6, 4)
    bias, zero = np.array([[100, -200, 300, 0]], np.int32), np.int8(0)
    check(tmp_path, parsed(text, w=w, zw=np.array(zero), bias=bias))


def test_a_dense_layer_that_gives_reals(tmp_path):
    text = f"""g (uint8[2,6] a) => (float[2,4] y) <{CODES}> {{
        y = com.microsoft.QGemm(a, sa, za, w, sb, zw) }}"""
    zero = np.array(0, np.int8)
    check(tmp_path, parsed(text, w=integers(6, 4), zw=zero), tolerance=1e-6)


def test_sums_of_integers(tmp_path):
    text = """g (uint8[2,6] a, uint8[1,2,5,5] b) => (int32[2,4] y, int32[1,3,4,4] z)
        <uint8 za = {12}, uint8 zb = {87}> {
        y = MatMulInteger(a, w, za, zw)
        z = ConvInteger<pads=[0,0,1,1]>(b, k, zb) }"""
    zeros = np.array([1, -2, 3, 4], np.int8)
    check(tmp_path, parsed(text, w=integers(6, 4), zw=zeros, k=integers(3, 2, 3, 3)))


def test_a_sum_that_is_cast_to_float_stays_one(tmp_path):
    text = """g (uint8[2,6] a, float s) => (float[2,4] y) <uint8 za = {12}> {
        i = MatMulInteger(a, w, za)  f = Cast<to=1>(i)  y = Mul(f, s) }"""
    kinds = [n.op_type for n in check(tmp_path, parsed(text, w=integers(6, 4))).graph.node]
    assert "Cast" not in kinds


@pytest.mark.parametrize("numbers", ["normal", "positive", "zero"])
def test_a_scale_that_is_computed(tmp_path, numbers):
    text = """g (float[3,7] x) => (uint8[3,7] y, float s, uint8 z) { y, s, z = DynamicQuantizeLinear(x) }"""
    made = loaded(tmp_path, parsed(text, 11))
    for seed in range(20):
        x = np.random.default_rng(seed).standard_normal((3, 7)).astype(np.float32)
        x = {"normal": x, "positive": np.abs(x), "zero": np.zeros_like(x)}[numbers]
        theirs = make_session(parsed(text, 11).SerializeToString()).run({"x": x})
        ours = make_session(made.data).run({"x": x})
        for name, value in theirs.items():
            np.testing.assert_array_equal(ours[name], value, err_msg=name)


@pytest.mark.parametrize("bias", ["", ", bias"])
def test_products_that_quantise_on_the_way(tmp_path, bias):
    text = f"""g (float[2,6] x) => (float[2,4] y) <float sw = {{0.02}}, int8 zw = {{0}}> {{
        y = com.microsoft.DynamicQuantizeMatMul(x, w, sw, zw{bias}) }}"""
    given = {"bias": np.arange(4, dtype=np.float32)} if bias else {}
    check(tmp_path, parsed(text, w=integers(6, 4), **given), tolerance=1e-6)
    text = f"""g (uint8[2,6] a) => (float[2,4] y)
        <float sa = {{0.03}}, uint8 za = {{9}}, float sw = {{0.02}}, int8 zw = {{0}}> {{
        y = com.microsoft.MatMulIntegerToFloat(a, w, sa, sw, za, zw{bias}) }}"""
    check(tmp_path, parsed(text, w=integers(6, 4), **given), tolerance=1e-6)


def test_sixteen_bits_raise_the_operator_set(tmp_path):
    text = """g (float[3,4] x) => (float[3,4] y) <float s = {0.001}> {
        q = com.microsoft.QuantizeLinear(x, s, z)  y = com.microsoft.DequantizeLinear(q, s, z) }"""
    made = check(tmp_path, parsed(text, z=np.array(30000, np.uint16)), tolerance=1e-6)
    assert made.opset_import[0].version == 21


def test_weights_of_four_bits_are_stored_in_eight(tmp_path):
    text = "g (float[2,6] x) => (float[2,4] y) { d = DequantizeLinear<axis=1>(w, s, z) y = MatMul(x, d) }"
    scales = np.array([0.1, 0.2, 0.3, 0.4], np.float32)
    model = parsed(text, 21, s=scales)
    for name, shape in (("w", [6, 4]), ("z", [4])):
        numbers = np.random.default_rng(1).integers(-8, 8, shape)
        model.graph.initializer.append(
            helper.make_tensor(name, TensorProto.INT4, shape, numbers.reshape(-1))
        )
    model.ir_version = 10
    made = check(tmp_path, model, tolerance=1e-5)  # 4-bit products have a kernel of their own
    types = {t.name: t.data_type for t in made.graph.initializer}
    assert types["w"] == types["z"] == TensorProto.INT8


def test_a_form_that_is_not_supported_is_named(tmp_path):
    text = f"""g (uint8[1,4,4,2] a) => (uint8[1,1,1,2] y) <{CODES}> {{
        y = com.microsoft.QLinearGlobalAveragePool<channels_last=1>({ONE}) }}"""
    with pytest.raises(ModelError, match=r"QLinearGlobalAveragePool node .* channels_last"):
        loaded(tmp_path, parsed(text))
    text = text.replace("QLinearGlobalAveragePool<channels_last=1>", "QLinearReduceMean")
    with pytest.raises(ModelError, match=r'QLinearReduceMean node .* domain "com.microsoft"'):
        loaded(tmp_path, parsed(text))
