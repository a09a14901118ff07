"""What each operator's inputs are to quantisation, and the reasons it gives for staying float."""

import re

import numpy as np
import onnx_ir as ir
import pytest
from budgetc_passes.quantization.operators import (
    KINDS,
    Role,
    bias_vector,
    clip_bounds,
    constant,
    kind_of,
    role_of,
    weight_array,
)
from budgetc_passes.quantization.opset import prepared


def node(body: str, initializers: str = "", inputs: str = "float[2,3] x") -> ir.Node:
    """The last node of a graph."""
    text = f"""
    <ir_version: 8, opset_import: ["": 17]>
    agraph ({inputs}) => (float[2,3] out)
    <{initializers}>
    {{ {body} }}
    """
    return list(prepared(ir.from_onnx_text(text)).graph)[-1]


W = "float[3,3] w = {1,2,3,4,5,6,7,8,9}, float[3] b = {1,2,3}, float[1] s = {5}"


@pytest.mark.parametrize(
    ("body", "role"),
    [
        ("out = Gemm(x, w)", Role((0,), weight=1, channel_axis=1)),
        ("out = Gemm <transB=1> (x, w, b)", Role((0,), weight=1, bias=2, channel_axis=0)),
        ("out = MatMul(x, w)", Role((0,), weight=1, channel_axis=1)),
        ("out = MatMul(x, b)", Role((0,), weight=1)),
        ("out = MatMul(x, x)", Role((0, 1))),
        ("out = Add(x, b)", Role((0,), (1,))),
        ("out = Add(x, x)", Role((0, 1))),
        ("out = Mul(b, x)", Role((1,), (0,))),
        ("out = Concat <axis=0> (x, w)", Role((0,), (1,))),
        ("out = PRelu(x, b)", Role((0,))),
        ("out = Transpose(x)", Role((0,))),
    ],
)
def test_the_part_of_each_input(body: str, role: Role) -> None:
    assert role_of(node(body, W)) == role


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("out = Softmax(x)", "probabilities lose too much"),
        ("out = Erf(x)", "Erf has no integer form"),
        ("out = BatchNormalization(x, b, b, b, b)", "run `fuse` first"),
        ("out = Gemm(x, y)", "its weights are not constant"),
        ("out = Gemm(x, w, y)", "its bias is not constant"),
        ("out = Gemm <transA=1> (x, w)", "transA is set"),
        ("m = Identity(w)  out = Gemm(x, w, w)", r"its bias has shape \[3, 3\]"),
        ("out = MatMul(w, x)", "its left operand is constant"),
        ("out = Conv(x, y)", "its weights are not constant"),
        ("out = Conv(x, w, y)", "its bias is not constant"),
        ("out = Add(w, b)", "all its inputs are constant"),
        ("out = Relu(w)", "its input is constant"),
        ("out = PRelu(x, y)", "its slope is not constant"),
        ("out = Clip(x, z)", "its bounds are not constant"),
        ("out = Pad(x, p, z)", "its fill value is not constant"),
        ("out = Cast <to=10> (x)", "Cast has no integer form"),
    ],
)
def test_the_reason_for_staying_float(body: str, reason: str) -> None:
    inputs = "float[2,3] x, float[2,3] y, float z, int64[4] p"
    assert_reason(node(body, W, inputs), reason)


RECURRENT = "float[5,1,3] x, float[1,4,3] y"
STATES = "float[1,4,3] w = {1,2,3,4,5,6,7,8,9,10,11,12}, float[1,2,2] r = {1,2,3,4}"


def test_a_recurrent_layer_has_two_weights_whatever_is_read_of_it() -> None:
    for results in ("out", "out, last", ", out"):
        found = node(f"{results} = RNN <hidden_size=2> (x, w, r)", STATES, RECURRENT)
        assert role_of(found) == Role((0,), weight=1, channel_axis=1, state_weight=2)


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [("(x, y, r)", "its weights are not constant"), ("(w, w, r)", "its input is constant")],
)
def test_the_reason_of_a_recurrent_layer(inputs: str, reason: str) -> None:
    found = node(f"out = RNN <hidden_size=2> {inputs}", STATES, RECURRENT)
    assert_reason(found, reason)


def test_only_float32_is_quantised() -> None:
    found = node("h = Cast <to=10> (x) r = Relu(h) out = Cast <to=1> (r)")
    relu = found.inputs[0].producer() if found.inputs[0] is not None else None
    assert relu is not None
    assert_reason(relu, "its result is FLOAT16, not float32")


def test_a_second_result_that_is_used_is_a_reason() -> None:
    pool = "float[1,1,4,4] x"
    body = "m, i = MaxPool <kernel_shape=[2,2]> (x) out = Cast <to=1> (i)"
    first = next(iter(node(body, inputs=pool).graph or ()))
    assert_reason(first, "a result besides its first is used")


def assert_reason(found: ir.Node, reason: str) -> None:
    said = role_of(found)
    assert isinstance(said, str)
    assert re.search(reason, said)


def test_every_kind_is_an_onnx_operator_and_foreign_domains_have_none() -> None:
    foreign = ir.node("Conv", [], domain="com.example")
    assert kind_of(foreign) is None
    for op_type in KINDS:
        assert kind_of(ir.node(op_type, [])) is KINDS[op_type]


def test_constants_are_initializers_and_constant_nodes_but_not_inputs() -> None:
    found = node("c = Constant <value_float=2.5> () out = Add(x, c)")
    array = constant(found.inputs[1])
    assert array is not None
    assert float(array) == 2.5
    assert constant(found.inputs[0]) is None
    assert constant(None) is None


@pytest.mark.parametrize(
    ("body", "bounds"),
    [
        ("out = Relu(x)", (0, np.inf)),
        ("out = Clip(x)", (-np.inf, np.inf)),
        ("out = Clip(x, lo)", (-1, np.inf)),
        ("out = Clip(x, lo, hi)", (-1, 6)),
        ("out = Clip(x, , hi)", (-np.inf, 6)),
        ("out = Sigmoid(x)", None),
    ],
)
def test_the_bounds_of_clips(body: str, bounds: tuple[float, float] | None) -> None:
    assert clip_bounds(node(body, "float lo = {-1}, float hi = {6}")) == bounds


def test_alpha_and_beta_of_gemm_are_in_its_constants() -> None:
    found = node("out = Gemm <alpha=2.0, beta=3.0> (x, w, s)", W)
    role = role_of(found)
    assert isinstance(role, Role)
    np.testing.assert_array_equal(weight_array(found, role)[0], [2, 4, 6])
    np.testing.assert_array_equal(bias_vector(found, role), [15, 15, 15])
