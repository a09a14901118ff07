"""What is computed at compile time, and what must not be."""

import numpy as np
from budgetc.lower import constants
from budgetc.lower.constants import fold_constants


def test_what_follows_from_constants_is_a_constant(make_graph):
    graph = make_graph(
        "g (float[3] x) => (float[3] y){ a = Add(k, k)  b = Exp(a)  y = Mul(x, b) }",
        k=np.array([0.0, 0.5, 1.0], np.float32),
    )
    fold_constants(graph)
    assert [op.kind for op in graph.operations] == ["Mul"]
    np.testing.assert_allclose(graph.constants["b"], np.exp([0.0, 1.0, 2.0]), rtol=1e-6)


def test_a_shape_is_a_constant_though_its_input_is_not(make_graph):
    graph = make_graph(
        "g (float[2,3,4] x) => (float[2,3,4] y, int64[3] a, int64[1] b, int64 c)"
        "{ y = Relu(x)  a = Shape(y)  b = Shape<start=-1>(y)  c = Size(y) }"
    )
    fold_constants(graph)
    assert [op.kind for op in graph.operations] == ["Relu"]
    assert graph.constants["a"].tolist() == [2, 3, 4]
    assert graph.constants["b"].tolist() == [4]
    assert graph.constants["c"] == 24


def test_an_operator_to_keep_is_kept_until_it_is_not(make_graph):
    graph = make_graph(
        "g (float[4] x) => (float[2] y) { d = DequantizeLinear(w, s)  y = MatMul(x, d) }",
        w=np.arange(8, dtype=np.int8).reshape(4, 2),
        s=np.array(0.5, np.float32),
    )
    fold_constants(graph, keep=("DequantizeLinear",))
    assert [op.kind for op in graph.operations] == ["DequantizeLinear", "MatMul"]
    fold_constants(graph)
    assert [op.kind for op in graph.operations] == ["MatMul"]
    assert graph.constants["d"].tolist() == (np.arange(8).reshape(4, 2) / 2).tolist()


def test_a_result_that_would_grow_the_library_beyond_reason_stays(make_graph, monkeypatch):
    text = (
        "g (float[1] x) => (float[2000] y) <int64[1] s = {2000}>"
        "{ z = ConstantOfShape<value = float[1] {2.0}>(s)  y = Add(x, z) }"
    )
    small, large = make_graph(text), make_graph(text)
    fold_constants(small)
    assert small.constants["z"].tolist() == [2.0] * 2000
    monkeypatch.setattr(constants, "MOST_ELEMENTS", 1999)
    fold_constants(large)
    assert len(large.operations) == 2


def test_a_constant_output_comes_out(check_float):
    library = check_float(
        "g (float[4] x) => (float[4] y, float[2] a, float[2] k) <float[2] k = {3, 4}>"
        "{ y = Relu(x)  a = Constant<value = float[2] {1, 2}>() }"
    )
    assert library.kernels.count("elementwise") == 3
