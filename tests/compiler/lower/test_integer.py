"""Integer operations formed of QDQ pairs, and their bits against onnxruntime's integer kernels."""

import numpy as np
import pytest
from budgetc.baseline import make_session
from budgetc.lower.integer import form_integer_operations
from budgetc.lower.integer_products import per_filter
from budgetc_targets.expression import Apply

CONV = """g (uint8[1,3,6,6] x) => (uint8[1,4,4,4] y) <
    float sx = {0.03}, uint8 zx = {120}, float sy = {0.11}, uint8 zy = {130},
    int8[4] zw = {0,0,0,0}>
{
    d = DequantizeLinear(x, sx, zx)
    e = DequantizeLinear<axis=AXIS>(w, sw, zw)
    c = Conv(d, e)
    y = QuantizeLinear(c, sy, zy)
}"""


def integers(*shape, seed=0, limit=64):
    return np.random.default_rng(seed).integers(-limit, limit + 1, shape).astype(np.int8)


@pytest.fixture
def conv():
    return {"w": integers(4, 3, 3, 3), "sw": np.array([0.01, 0.02, 0.03, 0.04], np.float32)}


def formed(graph):
    form_integer_operations(graph)
    return graph


def test_a_convolution_between_pairs_becomes_one_operation(make_graph, conv):
    graph = formed(make_graph(CONV.replace("AXIS", "0"), **conv))
    (op,) = graph.operations
    assert op.kind == "convolution"
    assert op.inputs[0] == "x"
    assert op.outputs == ("y",)
    assert op.attributes["border"] == 120, "the border is what stands for zero"
    multiplier = graph.constants[op.inputs[1]]
    assert multiplier.shape == (1, 4, 1, 1)
    np.testing.assert_allclose(
        multiplier.ravel(), np.float32(0.03) * conv["sw"] / np.float32(0.11), rtol=1e-6
    )


def test_the_zero_point_of_the_input_is_in_the_bias(make_graph, conv):
    graph = formed(make_graph(CONV.replace("AXIS", "0"), **conv))
    sums = conv["w"].astype(int).sum(axis=(1, 2, 3))
    assert graph.operations[0].attributes["bias"].tolist() == (-120 * sums).tolist()


def test_the_expression_scales_rounds_shifts_and_clamps(make_graph, conv):
    graph = formed(make_graph(CONV.replace("AXIS", "0"), **conv))
    names = []
    node = graph.operations[0].expression
    while isinstance(node, Apply):
        names.append(node.fn)
        node = node.args[0]
    assert names == ["min", "max", "add", "round_int", "mul", "to_float"]


def test_scales_along_another_axis_than_the_filters_are_not_taken_for_theirs(make_graph):
    """onnxruntime reads them so; ONNX does not."""
    text = """g (uint8[2,4] x) => (uint8[2,4] y) <
        float sx = {0.03}, uint8 zx = {120}, float sy = {0.11}, uint8 zy = {130}, int8[4] zw = {0,0,0,0}>
    { d = DequantizeLinear(x, sx, zx)  e = DequantizeLinear<axis=AXIS>(w, sw, zw)
      c = MatMul(d, e)  y = QuantizeLinear(c, sy, zy) }"""
    square = {"w": integers(4, 4), "sw": np.array([0.01, 0.02, 0.03, 0.04], np.float32)}
    kinds = [op.kind for op in formed(make_graph(text.replace("AXIS", "1"), **square)).operations]
    assert kinds == ["product"]
    kinds = [op.kind for op in formed(make_graph(text.replace("AXIS", "0"), **square)).operations]
    assert "product" not in kinds


def test_a_sum_that_could_leave_32_bits_stays_float(make_graph):
    text = """g (uint8[1,70000] x) => (uint8[1,2] y) <
        float sx = {0.03}, uint8 zx = {0}, float sw = {0.1}, int8 zw = {0}>
    { d = DequantizeLinear(x, sx, zx)  e = DequantizeLinear(w, sw, zw)
      c = MatMul(d, e)  y = QuantizeLinear(c, sx, zx) }"""
    kinds = [
        op.kind for op in formed(make_graph(text, w=np.full((70000, 2), 127, np.int8))).operations
    ]
    assert "product" not in kinds
    fits = formed(make_graph(text, w=np.full((70000, 2), 1, np.int8)))
    assert [op.kind for op in fits.operations] == ["product"]


def test_a_bias_in_other_units_is_converted(make_graph, conv):
    text = (
        CONV.replace("AXIS", "0")
        .replace("Conv(d, e)", "Conv(d, e, b)")
        .replace("c = Conv", "b = DequantizeLinear<axis=0>(bq, sb, zb)  c = Conv")
    )
    units = np.float32(0.03) * conv["sw"]
    bias = {"bq": np.array([10, -20, 30, 40], np.int32), "zb": np.zeros(4, np.int32)}
    sums = -120 * conv["w"].astype(int).sum(axis=(1, 2, 3))
    same = formed(make_graph(text, **conv, **bias, sb=units))
    assert (same.operations[0].attributes["bias"] - sums).tolist() == [10, -20, 30, 40]
    halves = formed(make_graph(text, **conv, **bias, sb=units / 2))
    assert (halves.operations[0].attributes["bias"] - sums).tolist() == [5, -10, 15, 20]


def test_a_bias_for_each_row_is_none_for_each_filter():
    row, column = np.ones((1, 5), np.float32), np.ones((5, 1), np.float32)
    assert per_filter(row, 5).shape == (5,)
    assert per_filter(column, 5) is None
    assert per_filter(np.float32(2.0).reshape(()), 5).tolist() == [2.0] * 5
    assert per_filter(None, 5) is None


def test_a_product_without_a_quantiser_gives_reals(make_graph, conv):
    text = CONV.replace("AXIS", "0").replace("uint8[1,4,4,4] y", "float[1,4,4,4] c")
    graph = formed(make_graph(text.replace("y = QuantizeLinear(c, sy, zy)", ""), **conv))
    (op,) = graph.operations
    assert op.kind == "convolution"
    assert graph.values[op.output].dtype == "float32"


QUANTISED = {
    "convolution": (
        "(float[1,3,8,8] x) => (float[1,5,8,8] y)",
        "y = Conv<pads=[1,1,1,1]>(x, w, b)",
    ),
    "convolution, batch 2, strided, relu": (
        "(float[2,3,8,8] x) => (float[2,6,2,2] u)",
        "y = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w, b)  z = Relu(y)  u = Conv(z, v)",
    ),
    "depthwise": (
        "(float[1,20,8,8] x) => (float[1,20,8,8] z)",
        "y = Conv<pads=[2,2,2,2], dilations=[2,2], group=20>(x, w, b)  z = Relu(y)",
    ),
    "groups": ("(float[1,6,8,8] x) => (float[1,4,6,6] y)", "y = Conv<group=2>(x, w, b)"),
    "one dimension": ("(float[2,3,9] x) => (float[2,5,9] y)", "y = Conv<pads=[1,1]>(x, w, b)"),
    "gemm": (
        "(float[3,7] x) => (float[3,4] u)",
        "y = Gemm<transB=1>(x, w, b)  z = Relu(y)  u = Gemm(z, v)",
    ),
    "matmul": ("(float[2,3,7] x) => (float[2,3,5] z)", "y = MatMul(x, w)  z = Add(y, b)"),
    "residual": (
        "(float[1,3,8,8] x) => (float[1,5,8,8] r)",
        "y = Conv<pads=[1,1,1,1]>(x, w, b)  u = Conv<pads=[1,1,1,1]>(y, v)  z = Add(y, u)  r = Relu(z)",
    ),
    "max pool and head": (
        "(float[1,3,8,8] x) => (float[1,7] g)",
        "y = Conv<pads=[1,1,1,1]>(x, w, b)  m = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(y)"
        " f = Flatten(m)  g = Gemm(f, v)",
    ),
    "average pools": (
        "(float[1,3,8,8] x) => (float[1,7] g)",
        "y = Conv<pads=[1,1,1,1]>(x, w, b)  m = AveragePool<kernel_shape=[2,2], strides=[2,2]>(y)"
        " a = GlobalAveragePool(m)  f = Flatten(a)  g = Gemm(f, v)",
    ),
    "concatenation": (
        "(float[1,3,8,8] x) => (float[1,3,7,7] d)",
        "y = Conv<pads=[1,1,1,1]>(x, w, b)  z = Conv(x, v)  c = Concat<axis=1>(y, z)  d = Conv(c, u)",
    ),
    "images transposed": (
        "(float[1,8,8,3] x) => (float[1,8,8,5] z)",
        "t = Transpose<perm=[0,3,1,2]>(x)  y = Conv<pads=[1,1,1,1]>(t, w, b)"
        " z = Transpose<perm=[0,2,3,1]>(y)",
    ),
}
SHAPES = {
    "convolution": {"w": (5, 3, 3, 3), "b": (5,)},
    "convolution, batch 2, strided, relu": {"w": (5, 3, 3, 3), "b": (5,), "v": (6, 5, 3, 3)},
    "depthwise": {"w": (20, 1, 3, 3), "b": (20,)},
    "groups": {"w": (4, 3, 3, 3), "b": (4,)},
    "one dimension": {"w": (5, 3, 3), "b": (5,)},
    "gemm": {"w": (5, 7), "b": (5,), "v": (5, 4)},
    "matmul": {"w": (7, 5), "b": (5,)},
    "residual": {"w": (5, 3, 3, 3), "b": (5,), "v": (5, 5, 3, 3)},
    "max pool and head": {"w": (5, 3, 3, 3), "b": (5,), "v": (80, 7)},
    "average pools": {"w": (5, 3, 3, 3), "b": (5,), "v": (5, 7)},
    "concatenation": {"w": (5, 3, 3, 3), "b": (5,), "v": (4, 3, 1, 1), "u": (3, 9, 2, 2)},
    "images transposed": {"w": (5, 3, 3, 3), "b": (5,)},
}


@pytest.mark.parametrize("name", QUANTISED)
def test_the_bits_are_onnxruntimes(quantised, check_exact, weights, name):
    ports, body = QUANTISED[name]
    made = {n: weights(*shape, seed=i) for i, (n, shape) in enumerate(SHAPES[name].items())}
    library = check_exact(quantised(f"g {ports} {{ {body} }}", **made))
    assert "foreign" not in library.kernels


@pytest.mark.parametrize("options", [{"per": "tensor"}, {"weight_bits": 8}, {"weight_bits": 7}])
def test_every_form_of_weights_is_exact(quantised, check_exact, weights, options):
    text = "g (float[1,4,5,5] x) => (float[1,9,5,5] y) { y = Conv<pads=[1,1,1,1]>(x, w) }"
    check_exact(quantised(text, options=options, w=weights(9, 4, 3, 3)))


def test_integers_in_and_out_are_exact(make_model, check_exact, conv):
    library = check_exact(make_model(CONV.replace("AXIS", "0"), **conv))
    assert [p.dtype for p in library.lowered.inputs + library.lowered.outputs] == ["uint8"] * 2


TWO = "float sa = {0.0371}, uint8 za = {121}, float sb = {0.0213}, uint8 zb = {87}, "
PAIR = f"""g (uint8[65536] a, uint8[65536] b) => (uint8[65536] y) <{TWO} float sy = {{SCALE}}, uint8 zy = {{113}}> {{
    da = DequantizeLinear(a, sa, za)  db = DequantizeLinear(b, sb, zb)
    c = OPERATOR(da, db)  y = QuantizeLinear(c, sy, zy) }}"""


@pytest.mark.parametrize("operator", ["Add", "Mul"])
@pytest.mark.parametrize("scale", ["0.0519", "0.0371", "0.0213"])
def test_every_pair_of_codes(build_library, make_model, operator, scale):
    """Equal scales have the most ties."""
    proto = make_model(PAIR.replace("OPERATOR", operator).replace("SCALE", scale))
    pairs = np.arange(65536)
    feeds = {"a": (pairs // 256).astype(np.uint8), "b": (pairs % 256).astype(np.uint8)}
    ours = build_library(proto).run(feeds)["y"]
    theirs = make_session(proto.SerializeToString(), exact_integers=True).run(feeds)["y"]
    np.testing.assert_array_equal(ours, theirs)


IMAGE = f"""g (uint8[1,8,16,16] a) => (uint8[OUT] y) <{TWO} float sy = {{SCALE}}, uint8 zy = {{113}}> {{
    da = DequantizeLinear(a, sa, za)  c = OPERATOR(da)  y = QuantizeLinear(c, sy, zy) }}"""


@pytest.mark.parametrize("scale", ["0.0519", "0.0371"])
@pytest.mark.parametrize(
    ("operator", "shape"),
    [
        ("AveragePool<kernel_shape=[2,2], strides=[2,2]>", "1,8,8,8"),
        ("AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>", "1,8,16,16"),
        ("AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>", "1,8,16,16"),
        ("GlobalAveragePool", "1,8,1,1"),
        ("LeakyRelu<alpha=0.1>", "1,8,16,16"),
        ("Sigmoid", "1,8,16,16"),
    ],
)
def test_all_codes_at_ties(build_library, make_model, operator, shape, scale):
    text = IMAGE.replace("OPERATOR", operator).replace("SCALE", scale).replace("OUT", shape)
    proto = make_model(text)
    library = build_library(proto)
    oracle = make_session(proto.SerializeToString(), exact_integers=True)
    for seed in range(4):
        a = np.random.default_rng(seed).integers(0, 256, (1, 8, 16, 16)).astype(np.uint8)
        np.testing.assert_array_equal(library.run({"a": a})["y"], oracle.run({"a": a})["y"])


@pytest.mark.parametrize("batch", ["", "3,"])
def test_a_product_of_activations(build_library, make_model, batch):
    text = f"""g (uint8[{batch}16,40] a, uint8[{batch}40,24] b) => (uint8[{batch}16,24] y) <{TWO}
        float sy = {{0.3}}, uint8 zy = {{113}}> {{ y = QLinearMatMul(a, sa, za, b, sb, zb, sy, zy) }}"""
    proto = make_model(text)
    library = build_library(proto)
    random = np.random.default_rng(0)
    feeds = {
        p.name: random.integers(0, 256, p.shape).astype(np.uint8) for p in library.model.inputs
    }
    theirs = make_session(proto.SerializeToString(), exact_integers=True).run(feeds)["y"]
    np.testing.assert_array_equal(library.run(feeds)["y"], theirs)
    assert "matmul" in library.kernels
