"""Convolutions, products, poolings, softmax and reductions: which kernel, and its numbers."""

import numpy as np
import onnx
import pytest
from budgetc.lower.selection import select
from budgetc_specs.errors import ModelError


def selected(graph):
    select(graph)
    return [op.kind for op in graph.operations]


CONVOLUTIONS = {
    "one dimension": ("2,3,9", "2,5,9", "pads=[1,1]", (5, 3, 3), True),
    "one dimension, dilated": (
        "2,3,12",
        "2,5,5",
        "pads=[1,0], strides=[2], dilations=[2]",
        (5, 3, 3),
        False,
    ),
    "one dimension, groups": ("2,3,12", "2,6,10", "group=3", (6, 1, 3), False),
    "uneven pads": (
        "2,3,9,8",
        "2,5,5,7",
        "pads=[1,0,2,3], strides=[2,1], dilations=[1,2]",
        (5, 3, 3, 3),
        True,
    ),
    "groups": ("1,6,5,5", "1,4,5,5", "group=2, pads=[1,1,1,1]", (4, 3, 3, 3), True),
    "depthwise": ("2,16,5,5", "2,16,5,5", "group=16, pads=[1,1,1,1]", (16, 1, 3, 3), True),
    "few channels deep": (
        "1,5,5,5",
        "1,5,5,5",
        "group=5, pads=[2,2,2,2], dilations=[2,2]",
        (5, 1, 3, 3),
        False,
    ),
    "channel multiplier": ("1,8,5,5", "1,16,3,3", "group=8", (16, 1, 3, 3), False),
    "same upper": (
        "1,3,10,7",
        "1,4,5,4",
        'auto_pad="SAME_UPPER", strides=[2,2]',
        (4, 3, 3, 2),
        False,
    ),
    "same lower": (
        "1,3,10,7",
        "1,4,5,4",
        'auto_pad="SAME_LOWER", strides=[2,2]',
        (4, 3, 3, 2),
        False,
    ),
    "valid": ("1,3,10,7", "1,4,4,3", 'auto_pad="VALID", strides=[2,2]', (4, 3, 3, 2), False),
    "one pixel": ("3,3,1,1", "3,4,1,1", "pads=[1,1,1,1]", (4, 3, 3, 3), True),
    "stride beyond the kernel": ("1,3,9,9", "1,4,3,3", "strides=[4,4]", (4, 3, 1, 1), False),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions(check_float, weights, name):
    x, y, attributes, shape, biased = CONVOLUTIONS[name]
    given = {"w": weights(*shape)} | ({"b": weights(shape[0], seed=1)} if biased else {})
    body = f"y = Conv<{attributes}>({', '.join(['x', *given])})"
    library = check_float(f"g (float[{x}] x) => (float[{y}] y) {{ {body} }}", **given)
    assert {"convolution", "depthwise"} & set(library.kernels)


def test_threads_compute_the_same(check_float, weights):
    text = "g (float[1,16,32,32] x) => (float[1,16,32,32] z) { y = Conv<pads=[1,1,1,1]>(x, w)  z = Relu(y) }"
    library = check_float(text, threads=2, w=weights(16, 16, 3, 3))
    assert any(call.tasks for call in library.lowered.calls)


def test_convolutions_without_a_kernel_go_through_tvm(check_float, weights):
    check_float(
        "g (float[1,3,4,4,4] x) => (float[1,4,4,4,4] y) { y = Conv<pads=[1,1,1,1,1,1]>(x, w) }",
        w=weights(4, 3, 3, 3, 3),
    )
    check_float(
        "g (float[1,3,5,5] x, float[4,3,3,3] v, float[4] b) => (float[1,4,3,3] y, float[1,4,3,3] z)"
        "{ y = Conv(x, v)  z = Conv(x, w, b) }",
        terms=27,
        w=weights(4, 3, 3, 3),
    )


def test_weights_that_are_stored_in_integers_but_used_as_reals(check_float):
    library = check_float(
        "g (float[1,3,6,6] x) => (float[1,4,4,4] y) { e = DequantizeLinear<axis=0>(w, s)  y = Conv(x, e) }",
        w=np.random.default_rng(0).integers(-99, 99, (4, 3, 3, 3)).astype(np.int8),
        s=np.array([0.1, 0.2, 0.3, 0.4], np.float32),
    )
    assert "convolution" in library.kernels
    assert "foreign" not in library.kernels


def test_products_by_constants(check_float, make_graph, weights):
    given = {
        "w": weights(5, 7),
        "v": weights(7, 5),
        "b": weights(5),
        "r": weights(1, 5),
        "s": weights(1),
    }
    text = """g (float[3,7] x, float[2,3,7] p, float[2,2,3,7] q) =>
        (float[3,5] a, float[3,5] c, float[3,5] d, float[3,5] e, float[3,5] f, float[2,3,5] h, float[2,2,3,5] i)
    { a = Gemm<transB=1>(x, w, b)  c = Gemm<alpha=0.5, beta=2.0>(x, v, r)  d = Gemm(x, v)  e = Gemm(x, v, s)
      f = MatMul(x, v)  h = MatMul(p, v)  i = MatMul(q, v) }"""
    assert set(selected(make_graph(text, **given))) == {"product"}
    assert "foreign" not in check_float(text, reference=True, **given).kernels


def test_a_bias_for_each_row_is_not_taken_for_one_for_each_column(check_float, make_graph, weights):
    text = "g (float[5,7] x) => (float[5,5] y) { y = Gemm(x, v, b) }"
    given = {"v": weights(7, 5), "b": weights(5, 1)}
    assert selected(make_graph(text, **given)) == ["foreign"]
    check_float(text, **given)


def test_other_products_go_through_tvm(check_float, weights):
    check_float(
        """g (float[7,3] t, float[2,3,7] p, float[2,7,4] q, float[7] r, float[2,2,2,3,7] s) =>
            (float[3,5] a, float[2,3,4] c, float[2,3,5] d, float[2,3] e, float[5] f, float[2,2,2,3,5] h)
        { a = Gemm<transA=1>(t, v)  c = MatMul(p, q)  d = MatMul(p, w)  e = MatMul(p, u)  f = MatMul(r, v)
          h = MatMul(s, v) }""",
        terms=7,
        v=weights(7, 5),
        w=weights(1, 7, 5),
        u=weights(7),
    )


POOL = "kernel_shape=[3,3], strides=[2,2]"


@pytest.mark.parametrize(
    "padding",
    ["", ", pads=[1,1,1,1]", ", pads=[0,1,1,0]", ", ceil_mode=1", ", ceil_mode=1, pads=[1,1,1,1]"]
    + [f', auto_pad="{mode}"' for mode in ("SAME_UPPER", "SAME_LOWER", "VALID")],
)
def test_poolings(check_float, make_model, padding):
    body = f"""y = MaxPool<{POOL}{padding}>(x)  z = AveragePool<{POOL}{padding}>(x)
        u = AveragePool<{POOL}, count_include_pad=1{padding}>(x)"""
    probe = make_model(f"g (float[2,5,8,7] x) => (float y) {{ {body} }}")
    probe.graph.output[0].type.tensor_type.ClearField("shape")
    made = onnx.shape_inference.infer_shapes(probe).graph.output[0].type.tensor_type.shape
    shape = ",".join(str(d.dim_value) for d in made.dim)
    outputs = ", ".join(f"float[{shape}] {n}" for n in "yzu")
    library = check_float(f"g (float[2,5,8,7] x) => ({outputs}) {{ {body} }}", terms=9)
    assert library.kernels.count("pooling") == (1 if "ceil_mode" in padding else 3)


def test_poolings_of_one_dimension_dilated_and_global(check_float):
    library = check_float(
        """g (float[2,5,8] x, float[2,5,6,3] i) => (float[2,5,4] a, float[2,5,4] b, float[2,5,1] c, float[2,5,1] d,
            float[2,5,1,1] e, float[2,5] f, float[2,5,2,1] h)
        { a = MaxPool<kernel_shape=[3], dilations=[2]>(x)  b = AveragePool<kernel_shape=[2], strides=[2]>(x)
          c = GlobalAveragePool(x)  d = GlobalMaxPool(x)  e = GlobalAveragePool(i)  f = Flatten(e)
          h = AveragePool<kernel_shape=[3,2], dilations=[2,2]>(i) }""",
        19,
        terms=18,
    )
    assert "foreign" not in library.kernels


def test_poolings_of_three_dimensions_go_through_tvm(check_float):
    check_float(
        "g (float[2,5,4,4,4] x) => (float[2,5,3,3,3] y) { y = MaxPool<kernel_shape=[2,2,2]>(x) }"
    )


def test_the_indices_of_maxima_are_refused(make_graph):
    graph = make_graph(
        "g (float[1,2,4,4] x) => (float[1,2,3,3] y, int64[1,2,3,3] i) { y, i = MaxPool<kernel_shape=[2,2]>(x) }"
    )
    with pytest.raises(ModelError, match=r'MaxPool node "y": its second output'):
        select(graph)


def test_softmax_along_every_axis(check_float):
    library = check_float(
        """g (float[2,3,4,5] x) => (float[2,3,4,5] a, float[2,3,4,5] b, float[2,3,4,5] c, float[2,3,4,5] d)
        { a = Softmax<axis=1>(x)  b = Softmax(x)  c = LogSoftmax<axis=0>(x)  d = LogSoftmax<axis=-2>(x) }""",
        terms=5,
        reference=True,
    )
    assert library.kernels == ["softmax"] * 4


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_softmax_flattened_the_trailing_axes_before_opset_13(check_float, axis):
    text = f"g (float[2,3,4,5] x) => (float[2,3,4,5] y) {{ y = Softmax<axis={axis}>(x) }}"
    check_float(text, 11, terms=60)


REDUCTIONS = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd"]


@pytest.mark.parametrize(
    ("attributes", "shape"),
    [
        ("axes=[1], keepdims=0", "[2,4]"),
        ("axes=[0,-1]", "[1,3,1]"),
        ("keepdims=0", ""),
        ("", "[1,1,1]"),
    ],
)
def test_reductions(check_float, attributes, shape):
    body = "  ".join(f"y{i} = {n}<{attributes}>(x)" for i, n in enumerate(REDUCTIONS)).replace(
        "<>", ""
    )
    outputs = ", ".join(f"float{shape} y{i}" for i in range(len(REDUCTIONS)))
    library = check_float(
        f"g (float[2,3,4] x) => ({outputs}) {{ {body} }}", 11, terms=24, reference=True
    )
    assert library.kernels == ["reduction"] * len(REDUCTIONS)


def test_reductions_by_inputs_and_by_nothing(check_float):
    check_float(
        """g (float[2,3,4] x) => (float[2,1,4] a, float b, float[2,3,4] c) <int64[1] ax = {1}>
        { a = ReduceSum(x, ax)  b = ReduceSum<keepdims=0>(x)  c = ReduceSum<noop_with_empty_axes=1>(x) }""",
        terms=24,
    )


def test_other_reductions_go_through_tvm(check_float):
    check_float(
        """g (float[2,3,4] x, int64[2,3] n) =>
        (float[2,1,4] a, float[2,1,4] b, float[2,1,4] c, float[2,1,4] d, int64[2,1] e)
        { a = ReduceL1<axes=[1]>(x)  b = ReduceL2<axes=[1]>(x)  c = ReduceSumSquare<axes=[1]>(x)
          d = ReduceLogSumExp<axes=[1]>(x)  e = ReduceMax<axes=[1]>(n) }""",
        13,
        terms=3,
    )


def test_the_largest_of_nothing_but_minus_infinity(check_float):
    check_float(
        """g (float[2,3,4] x) => (float[2,3] a, float[2,3] b, float[1,2,1,2] p)
        <float m = {-inf}, int64[4] s = {1,2,3,4}>
        { d = Abs(x)  r = Mul(d, m)  u = Neg(r)  t = Reshape(r, s)
          a = ReduceMax<axes=[2], keepdims=0>(r)  b = ReduceMin<axes=[2], keepdims=0>(u)
          p = MaxPool<kernel_shape=[3,3]>(t) }"""
    )
