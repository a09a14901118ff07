"""Tests of taking scales and shifts into layers."""

import numpy as np
import onnx_ir as ir
import pytest
from budgetc_passes.fusion.affine import absorb, layer_before, per_channel


@pytest.mark.parametrize(
    ("array", "axis", "wanted"),
    [
        (np.arange(4.0).reshape(4, 1, 1), 1, [0, 1, 2, 3]),
        (np.array(2.0), 1, [2, 2, 2, 2]),
        (np.arange(5.0), -1, [0, 1, 2, 3, 4]),
        (np.arange(5.0), 1, None),
        (np.ones((2, 1, 1, 1, 1)), 1, None),
        (np.ones((3, 1, 1)), 1, None),
    ],
)
def test_per_channel(array, axis, wanted):
    found = per_channel(array, (2, 4, 1, 5), axis)
    assert (None if found is None else found.tolist()) == wanted


def test_weights_that_overflow_are_refused_and_left_alone(parse):
    model = ir.from_proto(
        parse(
            "g (float[1,2] x, float[2,2] w) => (float[1,2] y) { y = MatMul (x, w) }",
            w=np.full((2, 2), 3e38, "f"),
        )
    )
    (layer,) = model.graph
    with np.errstate(over="ignore"):
        assert "not be finite" in absorb(layer, np.array([10.0, 1.0]), None)
    assert layer.inputs[1].const_value.numpy().max() == np.float32(3e38)


def test_a_gemm_whose_bias_differs_by_row_is_refused(parse):
    model = ir.from_proto(
        parse(
            "g (float[3,2] x, float[2,2] w, float[3,1] c) => (float[3,2] y) { y = Gemm (x, w, c) }",
            w=np.ones((2, 2), "f"),
            c=np.ones((3, 1), "f"),
        )
    )
    (layer,) = model.graph
    assert "[3, 1]" in absorb(layer, np.ones(2), None)


def test_dynamic_weights_are_refused(parse):
    model = ir.from_proto(
        parse("g (float[3,2] x, float[2,2] w) => (float[3,2] y) { y = Gemm (x, w) }")
    )
    (layer,) = model.graph
    assert absorb(layer, np.ones(2), None) == "the layer's weights are not constant"
    assert layer_before(layer.inputs[0]) == "no convolution or matrix product computes its input"
