"""Scales and zero points: read from nodes, and turned into expressions that onnxruntime agrees with."""

import numpy as np
import pytest
from budgetc.baseline import make_session
from budgetc.lower.quantisation import Quantisation, quantisation_of

PAIR = """g (float[9] x) => (TYPE[9] q, float[9] d) <float s = {0.3}, TYPE z = {ZERO}>
    { q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z) }"""


@pytest.mark.parametrize(("kind", "zero"), [("uint8", 0), ("uint8", 200), ("int8", -3)])
def test_both_ways_agree_with_onnxruntime(make_graph, check_float, kind, zero):
    text = PAIR.replace("TYPE", kind).replace("ZERO", str(zero))
    graph = make_graph(text)
    found = {quantisation_of(op, graph) for op in graph.operations}
    assert found == {Quantisation(np.float32(0.3), zero, kind)}
    check_float(text)


def test_what_saturates_saturates(check_float):
    check_float(
        """g (float[9] x) => (uint8[9] a, uint8[9] b) <float s = {0.000001}, uint8 z = {7}, float big = {1e30}>
        { y = Mul(x, big)  a = QuantizeLinear(y, s, z)  b = QuantizeLinear(x, s, z) }"""
    )


def test_ties_go_to_the_even_integer(make_model, build_library):
    library = build_library(
        make_model(
            "g (float[4] x) => (uint8[4] y) <float s = {1}, uint8 z = {10}> { y = QuantizeLinear(x, s, z) }"
        )
    )
    found = library.run({"x": np.array([0.5, 1.5, -0.5, -1.5], np.float32)})["y"]
    assert found.tolist() == [10, 12, 10, 8]


def test_without_a_zero_point_it_is_zero(make_graph):
    graph = make_graph(
        "g (float[3] x) => (uint8[3] y) <float s = {0.5}> { y = QuantizeLinear(x, s) }"
    )
    assert quantisation_of(graph.operations[0], graph) == Quantisation(np.float32(0.5), 0, "uint8")


@pytest.mark.parametrize(
    "text",
    [
        "g (float[3] x, float s) => (uint8[3] y) <uint8 z = {1}> { y = QuantizeLinear(x, s, z) }",
        "g (float[3] x, uint8 z) => (uint8[3] y) <float s = {1}> { y = QuantizeLinear(x, s, z) }",
        "g (float[2] x) => (int8[2] y) <float[2] s = {1,2}, int8[2] z = {0,0}> { y = QuantizeLinear<axis=0>(x, s, z) }",
        "g (int32[2] x) => (float[2] y) <float s = {1}> { y = DequantizeLinear(x, s) }",
    ],
    ids=["a computed scale", "a computed zero point", "a scale for each channel", "32 bits"],
)
def test_others_have_none(make_graph, text):
    graph = make_graph(text)
    assert quantisation_of(graph.operations[0], graph) is None


def test_a_scale_for_each_channel_goes_through_tvm(check_float):
    check_float(
        """g (float[2,3] x) => (int8[2,3] y, float[2,3] d) <float[3] s = {0.1,0.2,0.3}, int8[3] z = {0,1,2}>
        { y = QuantizeLinear<axis=1>(x, s, z)  d = DequantizeLinear<axis=1>(y, s, z) }"""
    )


WEIGHT = np.random.default_rng(0).standard_normal((8, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("text", "opset"),
    [
        (
            """g (float[3,8] x) => (float[3,4] y) <float s = {0.0002}, uint16 z = {30000}> {
            q = QuantizeLinear(x, s, z)  d = DequantizeLinear(q, s, z)  y = MatMul(d, w) }""",
            21,
        ),
        (
            """g (float[3,8] x) => (int16[3,8] y) <float s = {0.0002}, int16 z = {3}> {
            y = QuantizeLinear(x, s, z) }""",
            21,
        ),
        (
            """g (float[3,8] x) => (float[3,8] y) <float s = {0.1}> {
            q = QuantizeLinear<output_dtype=3>(x, s)  y = DequantizeLinear(q, s) }""",
            21,
        ),
        (
            """g (float[3,8] x, float s, uint8 z) => (float[3,8] y) {
            q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z) }""",
            17,
        ),
    ],
)
def test_wide_codes_and_computed_scales_are_maps(build_library, make_model, text, opset):
    proto = make_model(text, opset, w=WEIGHT)
    proto.ir_version = 10
    library = build_library(proto)
    random = np.random.default_rng(3)
    feeds = {"x": random.standard_normal((3, 8)).astype(np.float32)}
    given = {"s": np.array(0.03, np.float32), "z": np.array(100, np.uint8)}
    feeds |= {p.name: given[p.name] for p in library.model.inputs if p.name in given}
    theirs = make_session(proto.SerializeToString()).run(feeds)["y"]
    np.testing.assert_allclose(library.run(feeds)["y"], theirs, rtol=0, atol=1e-6)
    assert "foreign" not in library.kernels


def test_scales_of_blocks_of_a_weight_are_folded(check_float):
    text = """g (float[3,8] x) => (float[3,4] y) {
        d = DequantizeLinear<axis=0, block_size=4>(w, s)  y = MatMul(x, d) }"""
    codes = np.random.default_rng(1).integers(-9, 9, (8, 4)).astype(np.int8)
    library = check_float(text, 21, w=codes, s=np.abs(WEIGHT[:2]))
    assert library.kernels == ["convolution"]
