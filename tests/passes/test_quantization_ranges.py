"""The arithmetic of scales, zero points, weights and biases, as properties."""

import numpy as np
import numpy.typing as npt
import pytest
from budgetc_passes.quantization.ranges import (
    SMALLEST_SCALE,
    Affine,
    Range,
    affine_u8,
    quantize_linear,
    weight_limit,
)
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

ENDS = st.floats(-1e9, 1e9, allow_subnormal=True)
RANGES = st.tuples(ENDS, ENDS).map(lambda ends: Range(min(ends), max(ends)))
WEIGHTS = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=5),
    elements=st.floats(-100, 100, width=32) | st.just(0.0),
)


def test_a_range_has_finite_ends_in_order() -> None:
    with pytest.raises(ValueError, match="backwards"):
        Range(1, 0)
    with pytest.raises(ValueError, match="not finite"):
        Range(0, float("inf"))


@settings(deadline=None)
@given(RANGES, RANGES)
def test_a_union_holds_both(first: Range, second: Range) -> None:
    both = first.union(second)
    for part in (first, second):
        assert both.low <= part.low
        assert part.high <= both.high


@settings(deadline=None)
@given(RANGES)
def test_zero_is_exact(values: Range) -> None:
    code = affine_u8(values)
    zero = code.quantize(0.0)
    assert int(zero) == code.zero_point
    assert float(code.dequantize(zero)) == 0.0


@settings(deadline=None)
@given(RANGES, st.lists(st.floats(0, 1), min_size=1))
def test_the_error_within_the_range_is_half_a_scale(values: Range, shares: list[float]) -> None:
    code = affine_u8(values)
    held = values.with_zero()
    x = np.float32(held.low) + np.array(shares) * (held.high - held.low)
    x = np.clip(x.astype(np.float32), np.float32(held.low), np.float32(held.high))
    error = np.abs(code.dequantize(code.quantize(x)).astype(np.float64) - x)
    # The last term is the rounding of float32 itself, in x / scale and in the scale.
    slack = 255 * float(code.scale) * 2.0**-22
    assert error.max() <= 0.5 * float(code.scale) + slack


@settings(deadline=None)
@given(RANGES, st.floats(0, 1e9))
def test_beyond_the_range_codes_saturate(values: Range, further: float) -> None:
    held = values.with_zero()
    assume(held.low < held.high and held.high - held.low > 1e-12)
    code = affine_u8(values)
    step = 2 * float(code.scale)
    if held.high > 0:
        assert code.quantize(held.high + step + further) == 255
    if held.low < 0:
        assert code.quantize(held.low - step - further) == 0


@settings(deadline=None)
@given(RANGES)
def test_codes_are_monotonic(values: Range) -> None:
    code = affine_u8(values)
    line = np.linspace(values.low - 1, values.high + 1, 600)
    assert (np.diff(code.quantize(line).astype(int)) >= 0).all()


@pytest.mark.parametrize(
    ("values", "scale", "zero_point"),
    [
        (Range(0, 255), 1, 0),
        (Range(-255, 0), 1, 255),
        (Range(-128, 127), 1, 128),
        (Range(2, 51), 0.2, 0),
        (Range(0, 0), 1, 0),
        (Range(0, 1e-30), SMALLEST_SCALE, 0),
    ],
)
def test_known_codes(values: Range, scale: float, zero_point: int) -> None:
    assert affine_u8(values) == Affine(np.float32(scale), zero_point)


@pytest.mark.parametrize(
    ("values", "clip", "implied"),
    [
        (Range(0, 5), (0, np.inf), True),
        (Range(-0.1, 5), (0, np.inf), False),
        (Range(0, 6), (0, 6), True),
        (Range(0, 4.2), (0, 6), True),
        (Range(0, 6.5), (0, 6), False),
        (Range(-0.9, 0.9), (-1, 1), True),
        (Range(1, 6), (1, 6), False),  # zero has a code, so values below 1 have one too
        (Range(-3, 3), (-np.inf, np.inf), True),
    ],
)
def test_which_clips_a_code_implies(
    values: Range, clip: tuple[float, float], implied: bool
) -> None:
    assert affine_u8(values).implies_clip(*clip) is implied


@settings(deadline=None)
@given(
    RANGES,
    st.tuples(st.floats(0, 1e6), st.floats(0, 1e6)),
    hnp.arrays(np.float32, 50, elements=st.floats(-1e9, 1e9, width=32)),
)
def test_an_implied_clip_changes_no_code(
    values: Range, further: tuple[float, float], x: npt.NDArray[np.float32]
) -> None:
    code = affine_u8(values)
    held = values.with_zero()
    clip = Range(held.low - further[0], held.high + further[1])
    assume(code.implies_clip(clip.low, clip.high))
    clipped = np.clip(x, np.float32(clip.low), np.float32(clip.high))
    np.testing.assert_array_equal(code.quantize(x), code.quantize(clipped))


@settings(deadline=None)
@given(WEIGHTS, st.sampled_from([7, 8]), st.sampled_from([None, 0, 1]))
def test_weights_are_within_half_a_scale_and_their_limit(
    weight: npt.NDArray[np.float32], bits: int, axis: int | None
) -> None:
    linear = quantize_linear(weight, None, np.float32(0.1), axis, bits)
    assert linear.bias is None
    assert linear.weight.dtype == np.int8
    assert np.abs(linear.weight.astype(int)).max() <= weight_limit(bits)
    assert (linear.weight_scale > 0).all()
    scale = linear.weight_scale
    if axis is None:
        assert scale.shape == ()
    else:
        assert scale.shape == (weight.shape[axis],)
        scale = scale.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    off = np.abs(linear.weight * scale.astype(np.float64) - weight)
    assert (off <= scale * 0.5001).all()


def test_seven_bits_never_saturate_a_pair_sum() -> None:
    assert 2 * 255 * weight_limit(7) <= 2**15 - 1
    assert weight_limit(8) == 127


def test_a_channel_of_zeros_takes_the_scale_of_the_others() -> None:
    weight = np.array([[0, 0], [1.27, 0.5]], np.float32)
    bias = np.array([3, 4], np.float32)
    linear = quantize_linear(weight, bias, np.float32(0.5), 0, 8)
    np.testing.assert_allclose(linear.weight_scale, [0.01, 0.01], rtol=1e-6)
    np.testing.assert_array_equal(linear.weight[0], 0)
    assert linear.bias is not None
    np.testing.assert_array_equal(linear.bias, [600, 800])
    assert linear.widened == ()


@pytest.mark.parametrize("axis", [None, 0])
def test_weights_that_are_all_zero(axis: int | None) -> None:
    linear = quantize_linear(
        np.zeros((2, 3), np.float32), np.array([1, -2], np.float32), np.float32(1), axis, 8
    )
    assert (linear.weight_scale > 0).all()
    assert linear.bias is not None
    assert linear.bias_scale is not None
    np.testing.assert_allclose(linear.bias * linear.bias_scale, [1, -2], atol=0.01)


@settings(deadline=None)
@given(
    hnp.arrays(np.float32, (3, 2), elements=st.floats(-1, 1, width=32)),
    hnp.arrays(np.float32, 3, elements=st.floats(-1e6, 1e6, width=32)),
    st.floats(1e-9, 10),
    st.sampled_from([None, 0]),
)
def test_biases_fit_and_are_fine(
    weight: npt.NDArray[np.float32],
    bias: npt.NDArray[np.float32],
    input_scale: float,
    axis: int | None,
) -> None:
    linear = quantize_linear(weight, bias, np.float32(input_scale), axis, 8)
    assert linear.bias is not None
    assert linear.bias_scale is not None
    assert np.abs(linear.bias.astype(np.int64)).max() <= 2**30 + 2**8
    np.testing.assert_array_equal(linear.bias_scale, linear.weight_scale * np.float32(input_scale))
    off = np.abs(linear.bias * linear.bias_scale.astype(np.float64) - bias)
    assert (off <= 0.5001 * linear.bias_scale).all()


def test_a_bias_that_does_not_fit_widens_its_channel_alone() -> None:
    weight = np.array([[1e-12], [1]], np.float32)
    bias = np.array([1, 1], np.float32)
    linear = quantize_linear(weight, bias, np.float32(0.01), 0, 8)
    assert linear.widened == (0,)
    assert linear.bias is not None
    assert linear.bias[0] == pytest.approx(2**30, rel=1e-6)
    assert linear.weight[:, 0].tolist() == [0, 127]
