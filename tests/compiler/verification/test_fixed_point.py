"""The reference in numpy: each function against exact fractions, a layer against its equation written out."""

import math
from fractions import Fraction

import numpy as np
import pytest
from budgetc.baseline import make_session
from budgetc.lower.fixed_point import moved, word_of
from budgetc.verification.fixed_point import (
    FixedPointReference,
    from_fixed,
    rescale,
    softmax,
    to_fixed,
)
from hypothesis import example, given
from hypothesis import strategies as st

S32 = st.integers(-(2**31), 2**31 - 1)


@given(S32, st.integers(0, 2**16 - 1), st.integers(0, 31))
@example(-(2**31), 2**16 - 1, 0)
def test_rescaling_is_to_nearest_and_halves_go_up(a: int, mantissa: int, point: int) -> None:
    exact = Fraction(a) * mantissa / 2 ** (point + 17)
    found = int(rescale(np.int64(a), np.int64(mantissa | point << 16)))
    assert found == math.floor(exact + Fraction(1, 2))


@given(st.floats(width=32), st.integers(-40, 40))
def test_a_real_becomes_an_integer_toward_zero(x: float, unit: int) -> None:
    (found,) = to_fixed(np.array([x], np.float32), np.array([unit]))
    highest = 2**31 - 1
    if not math.isfinite(x):
        assert found == math.copysign(highest, x)
        return
    exact = Fraction(x) * Fraction(2) ** unit
    assert found == max(-highest, min(highest, math.trunc(exact)))


@given(S32, st.integers(-60, 60))
def test_an_integer_becomes_the_nearest_real(a: int, unit: int) -> None:
    (found,) = from_fixed(np.array([a]), np.array([unit]))
    assert found.dtype == np.float32
    assert found == np.float32(a) * np.float32(2.0) ** np.float32(unit)


@given(st.lists(st.integers(0, 255), min_size=1, max_size=300), st.floats(1e-3, 1.0))
def test_parts_are_those_of_a_softmax(codes: list[int], scale: float) -> None:
    exponent = scale / math.log(2) * 2**16
    left = moved(exponent)
    parts = softmax(np.array(codes), 0, left, word_of(math.ldexp(exponent, -left))) * 2.0**-24
    powers = np.exp((np.array(codes) - max(codes)) * scale)
    np.testing.assert_allclose(parts, powers / powers.sum(), rtol=3e-4, atol=2e-6)
    assert parts.sum() <= 1


LAYER = """g (uint8[1,3,6,5] x) => (uint8[1,4,3,3] y)
<float sx = {0.031}, uint8 zx = {117}, float sy = {0.47}, uint8 zy = {88}, int8[4] zw = {0,0,0,0}>
{ d = DequantizeLinear(x, sx, zx)
  e = DequantizeLinear<axis=0>(w, sw, zw)
  c = Conv<pads=[1,1,1,1], strides=[2,2]>(d, e)
  y = QuantizeLinear(c, sy, zy) }"""


@pytest.mark.parametrize("seed", range(3))
def test_a_convolution_is_its_equation(make_model, seed: int) -> None:  # type: ignore[no-untyped-def]
    random = np.random.default_rng(seed)
    w = random.integers(-127, 128, (4, 3, 3, 3)).astype(np.int8)
    sw = random.uniform(1e-4, 0.05, 4).astype(np.float32)
    model = make_model(LAYER, w=w, sw=sw)
    x = random.integers(0, 256, (1, 3, 6, 5)).astype(np.uint8)
    reference = FixedPointReference(model.data)
    assert reference.whole
    y = reference.run({"x": x})["y"]
    centred = np.pad(x.astype(int) - 117, ((0, 0), (0, 0), (1, 1), (1, 1)))
    for c, i, j in np.ndindex(4, 3, 3):
        acc = int((centred[0, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] * w[c].astype(int)).sum())
        ratio = float(np.float32(0.031) * sw[c]) / float(np.float32(0.47))
        point = 15 - math.floor(math.log2(ratio))
        mantissa = round(Fraction(ratio) * 2**point)
        level = math.floor(Fraction(acc * mantissa, 2**point) + Fraction(1, 2)) + 88
        assert y[0, c, i, j] == max(0, min(255, level))
    near = make_session(model.data, exact_integers=True).run({"x": x})["y"]
    assert np.abs(y.astype(int) - near.astype(int)).max() <= 1


def test_what_stays_float_is_onnxruntimes(make_model) -> None:  # type: ignore[no-untyped-def]
    model = make_model(
        """g (uint8[1,4] x) => (float[1,4] y) <float s = {0.5}, uint8 z = {3}>
        { d = DequantizeLinear(x, s, z)  y = Exp(d) }"""
    )
    reference = FixedPointReference(model.data)
    assert not reference.whole
    x = np.array([[0, 3, 4, 9]], np.uint8)
    np.testing.assert_allclose(reference.run({"x": x})["y"], np.exp((x - 3.0) * 0.5), rtol=1e-6)
