"""Signed activations become unsigned ones, and every bit behind them stays."""

import numpy as np
import pytest
from budgetc.lower.codes import make_codes_unsigned

CONV = """g (float[1,3,8,8] x) => (float[1,4,8,8] y) <
    float sx = {0.03}, int8 zx = {-8}, float sy = {0.5}, int8 zy = {5}, int8 zw = {0}, float sw = {0.02}>
{
    q = QuantizeLinear(x, sx, zx)  d = DequantizeLinear(q, sx, zx)
    e = DequantizeLinear(w, sw, zw)
    c = Conv<pads=[1,1,1,1]>(d, e)
    r = QuantizeLinear(c, sy, zy)  y = DequantizeLinear(r, sy, zy)
}"""
MOVES = """g (int8[1,3,8,8] x) => (int8[1,4,4,4] y) <
    float sx = {0.03}, int8 zx = {-8}, float sy = {0.5}, int8 zy = {5}, int8 zw = {0}, float sw = {0.02}>
{
    m = MaxPool<kernel_shape=[2,2], strides=[2,2]>(x)
    d = DequantizeLinear(m, sx, zx)
    e = DequantizeLinear(w, sw, zw)
    c = Conv<pads=[1,1,1,1]>(d, e)
    y = QuantizeLinear(c, sy, zy)
}"""


def weights(*shape):
    return np.random.default_rng(2).integers(-127, 128, shape).astype(np.int8)


def test_codes_between_pairs_are_unsigned(make_graph):
    graph = make_graph(CONV, w=weights(4, 3, 3, 3))
    make_codes_unsigned(graph)
    assert {graph.values[n].dtype for n in ("q", "r")} == {"uint8"}
    coders = [op for op in graph.operations if op.kind.endswith("Linear") and op.name != "e"]
    zeros = [graph.constants[op.inputs[2]] for op in coders]
    assert sorted(int(z) for z in zeros if z.dtype == np.uint8) == [120, 120, 133, 133]
    assert graph.values["w"].dtype == "int8", "weights are not activations"


def test_ports_stay_as_they_are(make_graph):
    graph = make_graph(MOVES, w=weights(4, 3, 3, 3))
    make_codes_unsigned(graph)
    assert graph.values["x"].dtype == graph.values["y"].dtype == "int8"
    assert graph.values["m"].dtype == "uint8"
    assert [op.kind for op in graph.operations[:2]] == ["DequantizeLinear", "QuantizeLinear"]


def test_codes_that_something_else_reads_stay_signed(make_graph):
    text = """g (float[4] x) => (float[4] y, int8[4] a) <float s = {0.03}, int8 z = {-8}> {
        q = QuantizeLinear(x, s, z)  y = DequantizeLinear(q, s, z)  a = Abs(q) }"""
    graph = make_graph(text)
    make_codes_unsigned(graph)
    assert graph.values["q"].dtype == "int8"


@pytest.mark.parametrize("text", [CONV, MOVES])
def test_the_bits_are_onnxruntimes(check_exact, make_model, text):
    library = check_exact(make_model(text, w=weights(4, 3, 3, 3)))
    assert "convolution" in library.kernels
    assert "foreign" not in library.kernels
