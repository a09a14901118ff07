"""The length of sums and the bound that follows."""

import math

import onnx
import pytest
from budgetc.verification.rounding import (
    MOST_DIGITS,
    bound,
    longest_sum,
    rounded_on_the_way,
    tolerance,
    unit_roundoff,
)


def proto(make_model, text, **weights):
    return onnx.load_model_from_string(make_model(text, **weights).data)


@pytest.mark.parametrize(
    ("node", "shapes", "length"),
    [
        ("y = Conv<kernel_shape=[3,3]>(x, w)", ("1,4,8,8", "6,4,3,3", "1,6,6,6"), 36),
        ("y = Conv<group=4>(x, w)", ("1,4,8,8", "4,1,3,3", "1,4,6,6"), 9),
        ("y = ConvTranspose(x, w)", ("1,4,8,8", "4,6,3,3", "1,6,10,10"), 36),
        ("y = MatMul(x, w)", ("5,7", "7,3", "5,3"), 7),
        ("y = Gemm<transA=1>(x, w)", ("7,5", "7,3", "5,3"), 7),
        ("y = Softmax(x)", ("5,7", None, "5,7"), 7),
        ("y = GlobalAveragePool(x)", ("1,4,8,8", None, "1,4,1,1"), 64),
        ("y = AveragePool<kernel_shape=[3,2]>(x)", ("1,4,8,8", None, "1,4,6,7"), 6),
        ("y = Exp(x)", ("5,7", None, "5,7"), 1),
        ("y = Relu(x)", ("5,7", None, "5,7"), 0),
        ("y = MaxPool<kernel_shape=[3,2]>(x)", ("1,4,8,8", None, "1,4,6,7"), 0),
    ],
)
def test_terms_of_an_operator(make_model, node, shapes, length) -> None:
    first, second, result = shapes
    weights = f", float[{second}] w" if second else ""
    text = f"g (float[{first}] x{weights}) => (float[{result}] y) {{ {node} }}"
    assert longest_sum(proto(make_model, text)) == length


def test_every_step_of_a_recurrent_layer_counts(make_model) -> None:
    text = """g (float[5,1,3] x, float[1,12,3] w, float[1,12,4] r) => (float[5,1,1,4] y)
        { y = GRU<hidden_size=4>(x, w, r) }"""
    assert longest_sum(proto(make_model, text)) == 5 * (3 + 4)


def test_the_longest_way_counts_and_not_the_sum_of_all(make_model) -> None:
    text = """g (float[4,4] x) => (float[4,4] y) {
        a = MatMul(x, x)
        b = MatMul(a, x)
        c = MatMul(x, x)
        y = Max(b, c)
    }"""
    assert longest_sum(proto(make_model, text)) == 8


def test_the_bound_grows_with_the_root_and_has_an_end() -> None:
    assert bound(100) == pytest.approx(10 * bound(1))
    assert bound(10**12) == MOST_DIGITS * math.sqrt(2.0**-24) < 1e-4
    assert bound(10, 2.0**-53) < 1e-14


def test_the_coarsest_type_decides(make_model) -> None:
    text = """g (double[4] x) => (float[4] y) { y = Cast<to=1>(x) }"""
    assert unit_roundoff(proto(make_model, text)) == 2.0**-24
    text = """g (double[4] x) => (double[4] y) { y = Exp(x) }"""
    assert tolerance(proto(make_model, text)) == 16 * 2.0**-53


def test_what_is_rounded_on_the_way_is_a_step_and_no_type(make_model) -> None:
    """A wider tolerance would let a library be wrong by a hundredth."""
    text = """g (float[4] x, float[4] w) => (float[4] y) {
        h = Cast<to=16>(x) r = Cast<to=1>(h) y = Add(r, w) }"""
    model = proto(make_model, text)
    assert rounded_on_the_way(model) == {"h"}
    assert unit_roundoff(model) == 2.0**-24


def test_a_port_in_16_bits_and_arithmetic_on_them_are_coarse(make_model) -> None:
    port = "g (float[4] x) => (bfloat16[4] y) { y = Cast<to=16>(x) }"
    assert unit_roundoff(proto(make_model, port)) == 2.0**-8
    text = """<ir_version: 9, opset_import: ["": 17]> g (float[4] x) => (float[4] y) {
        h = Cast<to=16>(x) s = Add(h, h) y = Cast<to=1>(s) }"""
    raw = onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text))
    assert not rounded_on_the_way(raw)
    assert unit_roundoff(raw) == 2.0**-8
