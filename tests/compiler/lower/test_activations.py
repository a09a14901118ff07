"""Every elementwise operator against onnxruntime and onnx's own evaluator."""

import numpy as np
import pytest
from budgetc.lower.activations import BINARY, FOLDED, UNARY, as_expression
from budgetc_specs.errors import ModelError
from budgetc_targets.expression import Ref, apply

POSITIVE = {"Log", "Sqrt"}
OPTIONS = {"LeakyRelu": "<alpha=0.2>", "ThresholdedRelu": "<alpha=0.5>", "Celu": "<alpha=0.7>"}
NEWER = {"Gelu": 20, "Swish": 24, "Mish": 18}


@pytest.mark.parametrize("opset", [18, 20])
def test_functions_of_one_operand(check_float, opset):
    names = [n for n in UNARY if NEWER.get(n, 0) <= opset]
    outputs = ", ".join(f"float[3,7] y{i}" for i in range(len(names)))
    body = "\n".join(
        f"y{i} = {n}{OPTIONS.get(n, '')}({'a' if n in POSITIVE else 'x'})"
        for i, n in enumerate(names)
    )
    library = check_float(
        f"g (float[3,7] x) => ({outputs}) {{ a = Abs(x)\n{body} }}", opset, reference=opset == 20
    )
    assert set(library.kernels) == {"elementwise"}


def test_swish_has_a_slope(make_graph):
    graph = make_graph("g (float[3] x) => (float[3] y) { y = Relu(x) }")
    steep = UNARY["Swish"]({"alpha": 2.0})
    assert steep != UNARY["Swish"]({})
    assert as_expression(graph.operations[0], graph)


def test_gelu_by_tanh(check_float):
    check_float(
        'g (float[3,7] x) => (float[3,7] y) { y = Gelu<approximate="tanh">(x) }', 20, reference=True
    )


def test_large_and_tiny_operands_neither_overflow_nor_vanish(check_float):
    body = "t = Mul(x, k)  a = Softplus(t)  b = Sigmoid(t)  c = Tanh(t)  d = Elu(t)"
    outputs = ", ".join(f"float[64] {n}" for n in "abcd")
    check_float(f"g (float[64] x) => ({outputs}) <float k = {{60}}> {{ {body} }}")


def test_functions_of_two_operands_broadcast(check_float):
    body = """a = Add(x, z)  b = Sub(r, x)  c = Mul(x, o)  d = Div(x, z)
        p = Abs(x)  e = Pow(p, z)  f = PRelu(x, r)  h = Mul(s, x)  i = Add(col, r)"""
    outputs = ", ".join(f"float[3,7] {n}" for n in "abcdefhi")
    library = check_float(
        f"g (float[3,7] x, float[3,7] z, float[7] r, float[1,1] o, float s, float[3,1] col)"
        f"=> ({outputs}) {{ {body} }}",
        reference=True,
    )
    assert "foreign" not in library.kernels
    assert set(BINARY) == {"Add", "Sub", "Mul", "Div", "PRelu"}


def test_one_of_two_numbers_is_chosen_where_both_are_real(check_float):
    library = check_float(
        """g (bool[3,1] m, float[7] x, float[3,7] z, int32[3,7] i) => (float[3,7] y, int32[3,7] j)
        { w = Where(m, x, z)  y = Exp(w)  j = Where(m, i, i) }""",
        reference=True,
    )
    assert library.kernels == ["elementwise", "foreign"]


def test_functions_of_many_operands(check_float):
    body = "  ".join(f"y{i} = {n}(x, z, r, s)" for i, n in enumerate(FOLDED))
    outputs = ", ".join(f"float[3,7] y{i}" for i in range(len(FOLDED)))
    text = f"g (float[3,7] x, float[3,7] z, float[7] r, float s) => ({outputs}) {{ {body} }}"
    assert "foreign" not in check_float(text, reference=True).kernels


def test_more_operands_than_one_kernel_takes(check_float):
    names = [f"x{i}" for i in range(14)]
    inputs = ", ".join(f"float[3] {n}" for n in names)
    body = "  ".join(f"r{n} = Relu({n})" for n in names)
    text = (
        f"g ({inputs}) => (float[3] y) {{ {body}  y = Sum({', '.join('r' + n for n in names)}) }}"
    )
    check_float(text)


def test_clips_with_one_limit_two_or_a_computed_one(check_float):
    library = check_float(
        """g (float[3,7] x, float lo) => (float[3,7] a, float[3,7] b, float[3,7] c, float[3,7] d)
        <float l = {-0.5}, float h = {0.5}>
        { a = Clip(x, l)  b = Clip(x, , h)  c = Clip(x, lo, h)  d = Clip(x) }"""
    )
    assert set(library.kernels) == {"elementwise"}
    check_float("g (float[3,7] x) => (float[3,7] y) { y = Clip<max=0.5>(x) }", 9)


def test_powers_that_models_are_full_of(make_graph, check_float):
    text = """g (float[3,7] x) => (float[3,7] a, float[3,7] b, float[3,7] c, float[3,7] d, float[1,3,7] e)
        <float two = {2}, float half = {0.5}, int64 three = {3}, float one = {1}, float[1,1,1] wide = {2}>
        { p = Abs(x)  a = Pow(x, two)  b = Pow(p, half)  c = Pow(x, three)  d = Pow(x, one)  e = Pow(x, wide) }"""
    graph = make_graph(text)
    found = [as_expression(op, graph)[1] for op in graph.operations if op.kind == "Pow"]
    assert found[:2] == [apply("mul", Ref(0), Ref(0)), apply("sqrt", Ref(0))]
    assert found[3] == Ref(0)
    check_float(text)


def test_a_normalisation_that_follows_no_convolution(check_float, weights):
    library = check_float(
        "g (float[2,3,4,4] x, float[5,3] r) => (float[2,3,4,4] y, float[5,3] q)"
        "{ y = BatchNormalization(x, s, b, m, v)  q = BatchNormalization<epsilon=0.1>(r, s, b, m, v) }",
        s=weights(3),
        b=weights(3, seed=1),
        m=weights(3, seed=2),
        v=np.abs(weights(3, seed=3)),
    )
    assert library.kernels == ["elementwise"] * 2


def test_a_normalisation_in_training_is_refused(make_graph, weights):
    graph = make_graph(
        "g (float[2,3,4] x) => (float[2,3,4] y, float[3] p, float[3] q)"
        "{ y, p, q = BatchNormalization<training_mode=1>(x, s, b, m, v) }",
        **{n: np.abs(weights(3)) for n in "sbmv"},
    )
    with pytest.raises(ModelError, match=r"BatchNormalization node .* statistics from the batch"):
        as_expression(graph.operations[0], graph)


def test_other_types_than_f32_are_no_maps(make_graph):
    graph = make_graph(
        "g (int64[3] x) => (int64[3] y, int64[3] z) { y = Add(x, x)  z = Pow(x, x) }"
    )
    assert [as_expression(op, graph) for op in graph.operations] == [None, None]
