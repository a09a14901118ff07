"""Quantised graphs in fixed point: every value against the reference, and near what onnxruntime computes in float.

The libraries are the host's with a sheet that has no floating-point unit: the same lowering, and kernels with vectors.
"""

import numpy as np
import pytest
from budgetc.baseline import make_session
from budgetc.lower.lower import form
from budgetc.model import parse_model
from budgetc.verification.fixed_point import FixedPointReference

C = "c = Conv<pads=[1,1,1,1]>(x, w, b)"
TWO = f"{C} d = Conv<pads=[1,1,1,1]>(x, v, b)"
POOLED = "<kernel_shape=[2,2], strides=[2,2]>(c)"
GRAPHS = {
    "convolution": ("5,9,7", f"{C} y = Relu(c)"),
    "limits": ("5,9,7", f"{C} lo = Constant<value_float=-0.4>() y = Clip(c, lo)"),
    "residual": ("5,9,7", f"{TWO} s = Add(c, d) y = Relu(s)"),
    "product of two": ("5,9,7", f"{TWO} y = Mul(c, d)"),
    "averages": ("5,4,3", f"{C} y = AveragePool{POOLED}"),
    "global average": ("5,1,1", f"{C} y = GlobalAveragePool(c)"),
    "maxima": ("5,4,3", f"{C} y = MaxPool{POOLED}"),
    "concat": ("10,9,7", f"{TWO} y = Concat<axis=1>(c, d)"),
}
"""The shape of the output, and what makes it of x, 3 channels of 9 x 7."""


@pytest.fixture
def fixed_point(build_library, inputs_of):
    """Every output of some inferences is the reference's; hands out each beside onnxruntime's."""

    def pairs(proto):
        library = build_library(proto, float_unit="none")
        reference = FixedPointReference(library.model.data)
        assert reference.whole
        near = make_session(library.model.data, exact_integers=True)
        found = []
        for seed in range(100, 104):
            feed = inputs_of(library.model, seed)
            ours, wanted = library.run(feed), reference.run(feed)
            for name, value in wanted.items():
                np.testing.assert_array_equal(ours[name], value, name, strict=True)
                found.append((value, near.run(feed)[name]))
        return found

    return pairs


@pytest.mark.parametrize("name", GRAPHS)
def test_layers_are_the_references_and_a_level_off_onnxruntime(
    name, quantised, fixed_point, weights
):
    shape, nodes = GRAPHS[name]
    proto = quantised(
        f"g (float[1,3,9,7] x) => (float[1,{shape}] y) {{ {nodes} }}",
        w=weights(5, 3, 3, 3),
        v=weights(5, 3, 3, 3, seed=1),
        b=weights(5, seed=2),
    )
    for ours, near in fixed_point(proto):
        levels = np.unique(np.abs(near))
        level = levels[levels > 0].min()
        assert np.abs(ours - near).max() <= 2.01 * level, "a level of its own, and one before it"


@pytest.mark.parametrize("output", ["quantized", "float"])
def test_a_softmax_at_the_end(output, quantised, fixed_point, weights):
    proto = quantised(
        "g (float[2,24] x) => (float[2,10] y) { h = Gemm(x, w, b)  y = Softmax<axis=-1>(h) }",
        options={"output": output},
        w=weights(24, 10),
        b=weights(10, seed=2),
    )
    for ours, near in fixed_point(proto):
        np.testing.assert_allclose(ours, near, atol=0.04)
        np.testing.assert_allclose(ours.sum(axis=1), 1, atol=1e-5)


UNARY = """g (uint8[1,40] x) => (uint8[1,40] y)
<float sx = {0.05}, uint8 zx = {100}, float sy = {0.004}, uint8 zy = {7}>
{ d = DequantizeLinear(x, sx, zx)  f = OPERATOR(d)  y = QuantizeLinear(f, sy, zy) }"""


@pytest.mark.parametrize("operator", ["Sigmoid", "HardSwish", "Exp", "LeakyRelu<alpha=0.1>"])
def test_other_functions_of_a_code_are_tables(operator, make_model, fixed_point):
    proto = make_model(UNARY.replace("OPERATOR", operator))
    for ours, near in fixed_point(proto):
        assert np.abs(ours.astype(int) - near.astype(int)).max() <= 1
    (op,) = form(parse_model(proto.SerializeToString(), "m.onnx").data, fixed_point=True).operations
    assert op.kind == "lookup"


def test_ports_of_signed_codes(make_model, fixed_point):
    proto = make_model(
        """g (int8[1,3,6,6] x) => (int8[1,4,4,4] y) <float sx = {0.03}, int8 zx = {-9},
            float sw = {0.02}, int8 zw = {0}, float sy = {0.2}, int8 zy = {11}>
        { d = DequantizeLinear(x, sx, zx)  e = DequantizeLinear(w, sw, zw)  c = Conv(d, e)
          y = QuantizeLinear(c, sy, zy) }""",
        w=np.random.default_rng(5).integers(-127, 128, (4, 3, 3, 3)).astype(np.int8),
    )
    for ours, near in fixed_point(proto):
        assert np.abs(ours.astype(int) - near.astype(int)).max() <= 1


def test_a_code_of_another_scale_is_an_integer_times_a_factor(make_model, fixed_point):
    proto = make_model(
        """g (uint8[1,300] x) => (uint8[1,300] y)
        <float sx = {0.05}, uint8 zx = {100}, float sy = {0.011}, uint8 zy = {128}>
        { d = DequantizeLinear(x, sx, zx)  y = QuantizeLinear(d, sy, zy) }"""
    )
    for ours, near in fixed_point(proto):
        assert np.abs(ours.astype(int) - near.astype(int)).max() <= 1


def test_what_has_no_form_stays_float(make_model):
    text = """g (float[1,8] x) => (float[1,8] y) <float s = {0.05}, uint8 z = {0}>
    { q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  y = LpNormalization(d) }"""
    graph = form(parse_model(make_model(text).SerializeToString(), "m.onnx").data, fixed_point=True)
    assert [op.kind for op in graph.operations][:2] == ["map", "map"]
    assert graph.operations[-1].kind != "map"


def test_recurrent_layers_keep_their_floats(make_model, weights):
    proto = make_model(
        "g (float[5,1,3] x) => (float[5,1,1,4] y) { y = GRU<hidden_size=4>(x, w, r) }",
        w=weights(1, 12, 3),
        r=weights(1, 12, 4),
    )
    data = parse_model(proto.SerializeToString(), "m.onnx").data
    kinds = [[op.kind for op in form(data, fixed_point=f).operations] for f in (False, True)]
    assert kinds[0] == kinds[1]
