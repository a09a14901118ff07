"""Tests of fitting a convolution's weights to what it computed."""

import numpy as np
import onnx_ir as ir
import pytest
from budgetc_passes.contract import PassError
from budgetc_passes.regression import (
    MOST_POSITIONS,
    Original,
    filters_of,
    fit,
    lost,
    window_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import execute, parse_model


def convolution(shape, weight, out, attributes="group = 1", seed=0):
    random = np.random.default_rng(seed)
    ports = f"float{list(shape)} x) => (float[{','.join(map(str, out))}] y"
    return parse_model(
        f"g ({ports}) {{ [c] y = Conv <{attributes}> (x, w, b) }}",
        w=random.normal(size=weight).astype("f4"),
        b=random.normal(size=weight[0]).astype("f4"),
    )


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    kernel=st.lists(st.integers(1, 4), min_size=1, max_size=2),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    groups=st.sampled_from([1, 2, 4]),
)
def test_filters_over_patches_are_the_convolution(seed, kernel, stride, dilation, pads, groups):
    rank = len(kernel)
    random = np.random.default_rng(seed)
    padded = pads[:rank] + pads[2 : 2 + rank]
    attributes = f"group = {groups}, strides = {[stride] * rank}, dilations = {[dilation] * rank}, pads = {padded}"
    letters = ["p", "q"][:rank]
    model = convolution(
        (2, 4, *[8] * rank), (8, 4 // groups, *kernel), ("m", "n", *letters), attributes, seed
    )
    x = random.normal(size=(2, 4, *[8] * rank)).astype("f4")
    (wanted,) = execute(model, {"x": x}).values()
    (node,) = ir.from_proto(model).graph
    node.outputs[0].shape = ir.Shape(wanted.shape)
    window = window_of(node)
    count = wanted.size // 8
    patches = window.patches(x, np.arange(count))
    ones = np.ones((*patches.shape[:2], 1))
    filters = filters_of(node, window)
    got = np.concatenate([patches, ones], 2) @ filters.transpose(0, 2, 1)
    laid = np.moveaxis(wanted, 1, -1).reshape(count, groups, -1).transpose(1, 0, 2)
    np.testing.assert_allclose(got, laid, rtol=1e-4, atol=1e-4)


@pytest.fixture(scope="module")
def seen():
    """A convolution in two groups on a few samples, and what they say of it."""
    model = ir.from_proto(convolution((1, 4, 6, 6), (6, 2, 3, 3), (1, 6, 4, 4), "group = 2"))
    (node,) = model.graph
    random = np.random.default_rng(1)
    drawn = [{"x": random.normal(size=(1, 4, 6, 6)).astype("f4")} for _ in range(20)]
    window = window_of(node)
    return node, window, Original(model, lambda: drawn).seen(model, node, window), drawn


def test_with_all_it_had_a_layer_is_what_it_was(seen):
    node, window, moments, _ = seen
    filters = filters_of(node, window)
    for group in range(2):
        start = np.zeros_like(filters[group])
        whole = np.eye(window.columns + 1)
        found = fit(moments.square[group], moments.across[group], whole, start)
        np.testing.assert_allclose(found, filters[group], atol=0.02)
        assert lost(moments, group, found) < 1e-4
        assert lost(moments, group, filters[group]) < 1e-6


def test_what_is_missed_is_the_error_on_the_samples(seen):
    node, window, moments, drawn = seen
    filters = filters_of(node, window)[1]
    kept = np.r_[0:5, window.columns]
    features = np.eye(window.columns + 1)[kept]
    found = fit(moments.square[1], moments.across[1], features, filters[:, kept])
    rows = np.concatenate([window.patches(each["x"], np.arange(16))[1] for each in drawn])
    rows = np.concatenate([rows, np.ones((len(rows), 1))], axis=1)
    wanted, got = rows @ filters.T, rows @ (found @ features).T
    share = ((wanted - got) ** 2).sum() / ((wanted - wanted.mean(axis=0)) ** 2).sum()
    assert lost(moments, 1, found @ features) == pytest.approx(share, rel=1e-4)
    best, *_ = np.linalg.lstsq(rows @ features.T, wanted, rcond=None)
    least = ((wanted - rows @ features.T @ best) ** 2).sum()
    assert ((wanted - got) ** 2).sum() < 1.001 * least


def test_inputs_that_are_always_zero_leave_weights_as_they_were():
    model = ir.from_proto(convolution((1, 2, 6, 6), (3, 2, 3, 3), (1, 3, 4, 4)))
    (node,) = model.graph
    window = window_of(node)
    zeros = [{"x": np.zeros((1, 2, 6, 6), "f4")}]
    moments = Original(model, lambda: zeros).seen(model, node, window)
    start = filters_of(node, window)[0]
    whole = np.eye(window.columns + 1)
    np.testing.assert_allclose(
        fit(moments.square[0], moments.across[0], whole, start), start, atol=1e-6
    )
    assert lost(moments, 0, start) == 0


def test_of_large_images_some_positions_count():
    model = ir.from_proto(convolution((1, 1, 40, 40), (1, 1, 1, 1), (1, 1, 40, 40)))
    (node,) = model.graph
    window = window_of(node)
    ramp = np.arange(1600, dtype="f4").reshape(1, 1, 40, 40) / 1600
    first, second = (
        Original(model, lambda: [{"x": ramp}]).seen(model, node, window).square for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)
    assert first[0, 1, 1] == 1
    assert abs(first[0, 0, 1] - 0.5) < 3 / MOST_POSITIONS**0.5


@pytest.mark.parametrize(
    ("given", "message"),
    [([], "no calibration samples"), ([{"x": np.full((1, 1, 4, 4), np.nan, "f4")}], "not finite")],
)
def test_samples_that_do_not_serve_are_an_error(given, message):
    model = ir.from_proto(convolution((1, 1, 4, 4), (1, 1, 1, 1), (1, 1, 4, 4)))
    (node,) = model.graph
    with pytest.raises(PassError, match=message):
        Original(model, lambda: given).seen(model, node, window_of(node))
