"""Convolutions, products, poolings and normalisations in torch, against onnxruntime."""

import numpy as np
import pytest


def noise(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("f4")


@pytest.mark.parametrize(
    ("attributes", "weight", "output"),
    [
        ("", (6, 4, 3, 3), "2,6,7,6"),
        ("pads = [1, 1, 1, 1]", (6, 4, 3, 3), "2,6,9,8"),
        ("pads = [0, 1, 2, 0], strides = [2, 1]", (6, 4, 3, 3), "2,6,5,7"),
        ("group = 2, dilations = [2, 2]", (6, 2, 3, 3), "2,6,5,4"),
        ('auto_pad = "SAME_UPPER", strides = [2, 2]', (6, 4, 3, 3), "2,6,5,4"),
        ('auto_pad = "SAME_LOWER", strides = [2, 2]', (6, 4, 2, 2), "2,6,5,4"),
    ],
)
def test_convolutions(in_torch, parse, attributes, weight, output):
    shape = ",".join(map(str, weight))
    text = f"""g (float[2,4,9,8] x, float[{shape}] w, float[6] b) => (float[{output}] y)
        {{ y = Conv <{attributes}> (x, w, b) }}""".replace("<>", "")
    in_torch(parse(text, w=noise(*weight), b=noise(6)))


def test_a_convolution_over_one_axis(in_torch, parse):
    text = "g (float[2,4,9] x, float[6,4,3] w) => (float[2,6,7] y) { y = Conv (x, w) }"
    in_torch(parse(text, w=noise(6, 4, 3)))


@pytest.mark.parametrize(
    ("attributes", "output"),
    [("strides = [2, 2]", "1,3,11,9"), ("strides = [2, 2], pads = [1, 1, 1, 1]", "1,3,9,7")],
)
def test_transposed_convolutions(in_torch, parse, attributes, output):
    text = f"""g (float[1,4,5,4] x, float[4,3,3,3] w, float[3] b) => (float[{output}] y)
        {{ y = ConvTranspose <{attributes}> (x, w, b) }}"""
    in_torch(parse(text, w=noise(4, 3, 3, 3), b=noise(3)))


@pytest.mark.parametrize(
    ("operator", "output"),
    [
        ("MaxPool <kernel_shape = [2, 2], strides = [2, 2]>", "2,4,4,4"),
        ("MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>", "2,4,9,8"),
        ("AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>", "2,4,9,8"),
        (
            "AveragePool <kernel_shape = [3, 3], pads = [1, 0, 1, 0], count_include_pad = 1>",
            "2,4,9,6",
        ),
        ("GlobalAveragePool", "2,4,1,1"),
        ("GlobalMaxPool", "2,4,1,1"),
    ],
)
def test_poolings(in_torch, parse, operator, output):
    in_torch(parse(f"g (float[2,4,9,8] x) => (float[{output}] y) {{ y = {operator} (x) }}"))


def test_a_window_beyond_the_border_is_refused(in_torch, parse):
    text = """g (float[1,1,4,4] x) => (float[1,1,2,2] y)
        { y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1> (x) }"""
    with pytest.raises(Exception, match="windows beyond its border"):
        in_torch(parse(text))


def test_products(in_torch, parse):
    text = """g (float[2,4] x, float[3,4] w, float[3] b, float[3,5] m) => (float[2,5] y)
        { a = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (x, w, b) y = MatMul (a, m) }"""
    in_torch(parse(text, w=noise(3, 4), b=noise(3), m=noise(3, 5)))


def test_products_of_values(in_torch, parse):
    text = "g (float[2,3,4] x, float[2,4,5] z) => (float[2,3,5] y) { y = MatMul (x, z) }"
    in_torch(parse(text))


def test_normalisations(in_torch, parse):
    text = """g (float[2,4,5,6] x, float[4] s, float[4] b, float[4] m, float[4] v, float[6] t)
        => (float[2,4,5,6] y) {
            p = BatchNormalization (x, s, b, m, v)
            q = InstanceNormalization (p, s, b)
            y = LayerNormalization (q, t)
        }"""
    half = {"s": noise(4), "b": noise(4, seed=1), "m": noise(4, seed=2)}
    in_torch(parse(text, **half, v=np.abs(noise(4, seed=3)) + 0.5, t=noise(6)), relative=3e-5)
