"""Products over integers with zero points on either side, known or computed: every bit is onnxruntime's."""

import numpy as np
import pytest
from budgetc.lower.codes import make_codes_unsigned
from budgetc.lower.integer import form_integer_operations

CONV = """g (uint8[1,CHANNELS,7,6] x) => (uint8[1,8,7,6] y) <
    float sx = {0.03}, uint8 zx = {120}, float sy = {0.9}, uint8 zy = {130}>
{ y = QLinearConv<pads=[1,1,1,1], group=GROUP>(x, sx, zx, w, sw, zw, sy, zy) }"""
DENSE = """g (uint8[3,20] x) => (uint8[3,8] y) <
    float sx = {0.03}, uint8 zx = {120}, float sy = {0.9}, uint8 zy = {130}>
{ y = QLinearMatMul(x, sx, zx, w, sw, zw, sy, zy) }"""


def codes(*shape, dtype=np.uint8):
    limits = np.iinfo(dtype)
    return np.random.default_rng(4).integers(limits.min, limits.max, shape, dtype, endpoint=True)


def scales(count):
    return np.linspace(0.01, 0.03, count).astype(np.float32) if count > 1 else np.float32(0.02)


def zeros(count, dtype):
    whole = {np.uint8: 117, np.int8: -9}[dtype]
    return (np.arange(count) + whole).astype(dtype) if count > 1 else dtype(whole)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("count", [1, 8])
@pytest.mark.parametrize("group", [1, 2, 8])
def test_a_zero_point_of_weights(check_exact, make_model, group, count, dtype):
    if dtype == np.int8 and count > 1:
        pytest.skip("onnxruntime has no kernel for signed weights with zero points of each filter")
    text = CONV.replace("CHANNELS", "8").replace("GROUP", str(group))
    made = {"sw": np.array(scales(count)), "zw": np.array(zeros(count, dtype))}
    library = check_exact(make_model(text, w=codes(8, 8 // group, 3, 3, dtype=dtype), **made))
    assert "foreign" not in library.kernels
    assert any(k in library.kernels for k in ("convolution", "depthwise"))


@pytest.mark.parametrize("count", [1, 8])
def test_a_zero_point_of_a_matrix(check_exact, make_model, count):
    made = {"sw": np.array(scales(count)), "zw": np.array(zeros(count, np.uint8))}
    library = check_exact(make_model(DENSE, w=codes(20, 8), **made))
    assert library.kernels.count("convolution") == 2, "the product, and the sum of the row"


def test_weights_that_fit_a_signed_byte_less_their_zero_point_need_no_sum(make_graph):
    made = {"sw": np.array(scales(1)), "zw": np.array(np.uint8(128))}
    text = CONV.replace("CHANNELS", "3").replace("GROUP", "1")
    graph = make_graph(text, w=codes(8, 3, 3, 3), **made)
    make_codes_unsigned(graph)
    form_integer_operations(graph)
    assert [op.kind for op in graph.operations] == ["convolution"]
    assert graph.operations[0].attributes["weight"].dtype == np.int8


@pytest.mark.parametrize("zw", [np.int8(0), np.int8(-9), np.uint8(128), np.uint8(3)])
def test_sums_stay_whole_numbers(check_exact, make_model, zw):
    text = """g (uint8[3,70] x) => (int32[3,8] y) <uint8 zx = {120}> { y = MatMulInteger(x, w, zx, zw) }"""
    library = check_exact(make_model(text, w=codes(70, 8, dtype=type(zw)), zw=np.array(zw)))
    assert set(library.kernels) <= {"convolution", "elementwise"}


def test_sums_beyond_what_floats_can_hold(check_exact, make_model):
    text = (
        """g (uint8[1,2000] x) => (int32[1,8] y) <uint8 zx = {0}> { y = MatMulInteger(x, w, zx) }"""
    )
    weight = np.full((2000, 8), 127, np.int8)
    weight[::2] = 126
    check_exact(make_model(text, w=weight))


@pytest.mark.parametrize("pads", [0, 1])
def test_sums_of_a_convolution(check_exact, make_model, pads):
    text = f"""g (uint8[1,3,7,7] x) => (int32[1,4,OUT,OUT] y) <uint8 zx = {{120}}> {{
        y = ConvInteger<pads=[{pads},{pads},{pads},{pads}]>(x, w, zx) }}""".replace(
        "OUT", str(5 + 2 * pads)
    )
    check_exact(make_model(text, w=codes(4, 3, 3, 3)))


@pytest.mark.parametrize("zw", [np.int8(0), np.uint8(120)])
def test_activations_that_are_quantised_on_the_way(check_float, make_model, zw):
    text = """g (float[3,20] x) => (float[3,8] y) <float sw = {0.02}> {
        q, s, z = DynamicQuantizeLinear(x)
        i = MatMulInteger(q, w, z, zw)
        f = Cast<to=1>(i)
        scale = Mul(s, sw)
        m = Mul(f, scale)
        y = Add(m, bias)
    }"""
    made = {"w": codes(20, 8, dtype=type(zw)), "zw": np.array(zw)}
    library = check_float(text, bias=np.linspace(-1, 1, 8).astype(np.float32), **made)
    assert "foreign" not in library.kernels
    assert "convolution" in library.kernels


def test_a_convolution_that_is_quantised_on_the_way(check_float):
    text = """g (float[1,3,8,8] x) => (float[1,4,8,8] y) <float sw = {0.02}> {
        q, s, z = DynamicQuantizeLinear(x)
        i = ConvInteger<pads=[1,1,1,1]>(q, w, z)
        f = Cast<to=1>(i)
        scale = Mul(s, sw)
        y = Mul(f, scale)
    }"""
    check_float(text, w=codes(4, 3, 3, 3, dtype=np.int8))
