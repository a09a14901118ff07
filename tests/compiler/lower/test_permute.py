"""Flattened images: the weights behind are reordered, so that nothing is moved at run time."""

import numpy as np
import pytest
from budgetc.lower.permute import permute_flattened_weights
from budgetc.lower.selection import select

HEAD = "c = Conv(x, w)  f = Flatten(c)  "


@pytest.fixture
def permuted(make_graph, weights):
    def make(text):
        graph = make_graph(text, w=weights(4, 3, 1, 1), v=weights(64, 5), u=weights(64, 6, seed=1))
        select(graph)
        permute_flattened_weights(graph)
        return graph

    return make


def test_rows_of_the_weights_follow_the_memory(permuted, weights):
    graph = permuted(f"g (float[2,3,4,4] x) => (float[2,5] y) {{ {HEAD} y = MatMul(f, v) }}")
    assert [op.attributes.get("view") for op in graph.operations] == [
        None,
        "transpose",
        "reshape",
        None,
    ]
    expected = weights(64, 5).reshape(4, 16, 5).transpose(1, 0, 2).reshape(64, 5)
    np.testing.assert_array_equal(graph.operations[-1].attributes["weight"], expected)
    x = np.arange(128.0).reshape(2, 4, 4, 4)
    turned = x.transpose(graph.operations[1].attributes["perm"]).reshape(2, 64)
    np.testing.assert_allclose(
        turned @ expected, x.reshape(2, 64) @ weights(64, 5), rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize(
    "text",
    [
        "g (float[2,3,4,4] x) => (float[2,5] y, float[2,64] f) {{ {head} y = MatMul(f, v) }}",
        "g (float[2,3,4,4] x) => (float[2,5] y, float[2,64] r) {{ {head} y = MatMul(f, v) r = Relu(f) }}",
        "g (float[2,64] x) => (float[2,5] y) <int64[2] s = {{2,64}}> {{ f = Reshape(x, s) y = MatMul(f, v) }}",
        "g (float[2,4,4,4] x) => (float[2,5] y) {{ f = Flatten(x)  y = MatMul(f, v) }}",
    ],
    ids=["an output", "another reader", "no image", "the caller's layout"],
)
def test_it_is_left_alone_where_somebody_sees_the_order(permuted, weights, text):
    graph = permuted(text.format(head=HEAD))
    products = [op for op in graph.operations if op.kind == "product"]
    np.testing.assert_array_equal(products[0].attributes["weight"], weights(64, 5))


def test_two_heads_both_follow(permuted, check_float, weights):
    text = f"g (float[2,3,4,4] x) => (float[2,5] y, float[2,6] z) {{ {HEAD} y = MatMul(f, v)  z = Gemm(f, u) }}"
    graph = permuted(text)
    assert sum(op.kind == "product" for op in graph.operations) == 2
    library = check_float(text, w=weights(4, 3, 1, 1), v=weights(64, 5), u=weights(64, 6, seed=1))
    assert library.kernels == ["elementwise", "convolution", "convolution", "convolution"]
