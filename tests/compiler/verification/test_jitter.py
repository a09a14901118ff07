"""Noise of the size of roundings, and of no other effect than they have."""

import numpy as np
import onnx
import pytest
from budgetc.baseline import make_session
from budgetc.verification.jitter import jittered

U = 2.0**-24


def noisy(model, feed, runs=16, *, alike=False):
    """Outputs of so many runs of the jittered model, on a new axis 0, by name."""
    proto = jittered(onnx.load_model_from_string(model.data), alike=alike)
    session = make_session(proto.SerializeToString(), optimisation="none")
    found = [session.run(feed) for _ in range(runs)]
    return {name: np.stack([each[name] for each in found]).astype(np.float64) for name in found[0]}


@pytest.mark.parametrize(
    ("node", "shape", "terms"),
    [
        ("Exp(x)", "2,3,4,16", 1),
        ("ReduceSum<keepdims=0>(x, last)", "2,3,4", 16),
        ("ReduceMean<axes=[3], keepdims=0>(x)", "2,3,4", 16),
        ("ReduceL1<axes=[3], keepdims=0>(x)", "2,3,4", 16),
        ("ReduceL2<axes=[3], keepdims=0>(x)", "2,3,4", 16),
        ("ReduceSumSquare<axes=[3], keepdims=0>(x)", "2,3,4", 16),
        ("ReduceLogSumExp<axes=[3], keepdims=0>(x)", "2,3,4", 16),
        ("Softmax<axis=3>(x)", "2,3,4,16", 16),
        ("AveragePool<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(x)", "2,3,4,16", 9),
        ("GlobalAveragePool(x)", "2,3,1,1", 64),
        ("MatMul(x, w)", "2,3,4,16", 16),
    ],
)
def test_a_value_moves_by_its_roundings(make_model, node, shape, terms) -> None:
    """16 u sqrt(n) of the sum of its terms' magnitudes, and of what it reads, is the most."""
    text = f"g (float[2,3,4,16] x) => (float[{shape}] y) <int64[1] last = {{3}}> {{ y = {node} }}"
    model = make_model(text, w=np.ones((16, 16), np.float32))
    x = np.random.default_rng(1).uniform(0.5, 2, (2, 3, 4, 16)).astype(np.float32)
    exact = make_session(model.data).run({"x": x})["y"].astype(np.float64)
    found = noisy(model, {"x": x})["y"]
    moved = np.abs(found - exact)
    assert moved.max() <= 5 * 16 * U * np.sqrt(terms) * np.abs(exact).max()
    assert np.median(moved.max(axis=0)) >= U * np.abs(exact).min()


@pytest.mark.parametrize(
    "node",
    [
        "ReduceSum<keepdims=0>(s, last)",
        "ReduceMean<axes=[1], keepdims=0>(s)",
        "ReduceSumSquare<axes=[1], keepdims=0>(x)",
        "ReduceL1<axes=[1], keepdims=0>(x)",
    ],
)
def test_a_sum_of_positive_terms_stays_positive_however_small_beside_others(
    make_model, node
) -> None:
    text = f"g (float[8,5] x) => (float[8] y) <int64[1] last = {{1}}> {{ s = Mul(x, x) a = {node} y = Log(a) }}"
    model = make_model(text)
    x = np.outer(10.0 ** -np.arange(8), np.linspace(1, 2, 5)).astype(np.float32)
    exact = make_session(model.data).run({"x": x})["y"]
    np.testing.assert_allclose(
        noisy(model, {"x": x})["y"], np.broadcast_to(exact, (16, 8)), atol=1e-4
    )


def test_a_sum_that_cancels_moves_by_what_it_cancels(make_model) -> None:
    text = "g (float[1,4] x) => (float[1] y) <int64[1] last = {1}> { y = ReduceSum<keepdims=0>(x, last) }"
    x = np.array([[1000.0, -1000.0, 500.0, -500.0]], np.float32)
    moved = np.abs(noisy(make_model(text), {"x": x})["y"]).max()
    assert 100 * U <= moved <= 3 * 16 * U * 2 * 3000


def test_what_moves_or_chooses_is_not_moved_and_ports_keep_their_names(make_model) -> None:
    model = make_model(
        "g (float[3] x, int64[3] k) => (float[3] y, int64[3] n) { y = Relu(x) n = Add(k, k) }"
    )
    feed = {"x": np.array([-1, 0.5, 3], np.float32), "k": np.arange(3)}
    found = noisy(model, feed)
    assert (found["y"] == np.array([0, 0.5, 3])).all()
    assert (found["n"] == 2 * np.arange(3)).all()


@pytest.mark.parametrize(
    ("node", "shape"),
    [
        ("Exp(x)", "4,64"),
        ("MatMul(x, w)", "4,16"),
        ("ReduceMean<axes=[1], keepdims=1>(x)", "4,1"),
        ("Softmax<axis=1>(x)", "4,64"),
    ],
)
def test_noise_that_is_alike_leaves_equal_rows_equal_and_moves_as_far(
    make_model, node, shape
) -> None:
    model = make_model(
        f"g (float[4,64] x) => (float[{shape}] y) {{ y = {node} }}",
        w=np.random.default_rng(3).standard_normal((64, 16)).astype(np.float32),
    )
    row = np.random.default_rng(2).uniform(0.5, 2, 64).astype(np.float32)
    feed = {"x": np.tile(row, (4, 1))}
    own, alike = noisy(model, feed)["y"], noisy(model, feed, alike=True)["y"]
    assert (own != own[:, :1]).any()
    assert (alike == alike[:, :1]).all()
    assert len(np.unique(alike[:, 0, 0])) > 4
    exact = make_session(model.data).run(feed)["y"].astype(np.float64)
    assert np.abs(alike - exact).max() < 2 * np.abs(own - exact).max()
