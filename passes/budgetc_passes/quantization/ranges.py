"""The arithmetic of int8: ranges to scales and zero points, weights to s8, biases to s32.

    activation   q = saturate(round_half_even(x / scale) + zero_point)    u8, real zero exact
    weight       q = saturate(round_half_even(w / scale[channel]))        s8, symmetric
    bias         q = round_half_even(b / (scale_x * scale_w[channel]))    s32

Source: Jacob et al., Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference, 2018, sections 2.1 and 3.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

U8_MAX = 255

SMALLEST_SCALE = np.float32(2.0**-60)
"""No scale lies below this, so that the product of two scales is still a normal float32."""

LARGEST_BIAS = 2.0**30
"""A quantised bias stays within this and leaves the other half of s32 to the sum of products."""

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Range:
    """A closed interval of real values that a tensor takes.

    Raises:
        ValueError: an end is not finite, or the ends are in the wrong order.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (np.isfinite(self.low) and np.isfinite(self.high)):
            raise ValueError(f"range [{self.low}, {self.high}] is not finite")
        if self.low > self.high:
            raise ValueError(f"range [{self.low}, {self.high}] runs backwards")

    def union(self, other: "Range") -> "Range":
        """The smallest range that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))

    def with_zero(self) -> "Range":
        """The smallest range that also holds zero."""
        return Range(min(self.low, 0.0), max(self.high, 0.0))

    def __str__(self) -> str:
        return f"[{self.low:.5g}, {self.high:.5g}]"


@dataclass(frozen=True)
class Affine:
    """One u8 code for a whole tensor: real value = scale * (code - zero_point)."""

    scale: np.float32
    zero_point: int

    def quantize(self, values: npt.ArrayLike) -> npt.NDArray[np.uint8]:
        """Real values to codes, as ONNX QuantizeLinear does it: float32 division, half to even."""
        steps = np.rint(np.asarray(values, np.float32) / self.scale)
        codes = np.clip(steps + np.float32(self.zero_point), 0, U8_MAX)
        return np.asarray(codes, np.uint8)

    def dequantize(self, codes: npt.NDArray[np.uint8]) -> FloatArray:
        """Codes to real values, float32."""
        steps = codes.astype(np.int32) - self.zero_point
        return (steps.astype(np.float32) * self.scale).astype(np.float32)

    def implies_clip(self, low: float, high: float) -> bool:
        """Whether quantising saturates no later than a clip to [low, high] would.

        If it does, every value beyond a bound has the code of the bound already, and the clip in
        front of the quantisation changes nothing. An infinite bound asks for nothing.
        """
        below = low == -np.inf or int(self.quantize(low)) == 0
        above = high == np.inf or int(self.quantize(high)) == U8_MAX
        return below and above

    def __str__(self) -> str:
        return f"scale {float(self.scale):.6g} zero point {self.zero_point}"


def affine_u8(values: Range) -> Affine:
    """The u8 code of a range: zero is exact, and within the range no error exceeds half a scale.

    The range is first widened to hold zero. A range that is zero alone gets scale 1.
    """
    held = values.with_zero()
    if held.low == held.high:
        return Affine(np.float32(1.0), 0)
    scale = max(np.float32((held.high - held.low) / U8_MAX), SMALLEST_SCALE)
    zero_point = int(np.clip(np.rint(-held.low / float(scale)), 0, U8_MAX))
    return Affine(scale, zero_point)


@dataclass(frozen=True)
class Linear:
    """The quantised constants of a convolution or matrix product.

    Attributes:
        weight: s8, the shape of the float weights.
        weight_scale: float32, `[channels]`, or `[]` for one scale.
        bias: s32, `[channels]`, or None.
        bias_scale: float32, the input's scale times `weight_scale`, or None.
        widened: channels whose scale was enlarged so that the bias fits s32.
    """

    weight: npt.NDArray[np.int8]
    weight_scale: FloatArray
    bias: npt.NDArray[np.int32] | None
    bias_scale: FloatArray | None
    widened: tuple[int, ...]


def weight_limit(bits: int) -> int:
    """The largest code of a weight: 127 for 8 bits; 64 for 7, where u8 x s8 pair sums fit s16."""
    return 127 if bits == 8 else 2 ** (bits - 1)


def quantize_linear(
    weight: FloatArray,
    bias: FloatArray | None,
    input_scale: np.float32,
    axis: int | None,
    bits: int,
) -> Linear:
    """Quantise weights symmetrically and the bias to the scale of the products.

    A channel of zeros takes the largest scale of the others, so that its bias stays as fine as
    theirs. Where the bias of a channel would not fit, the channel's scale grows until it does.

    Args:
        weight: float32 of any rank.
        bias: float32 `[channels]`, or None.
        input_scale: the scale of the u8 input.
        axis: the channel axis of `weight`, or None for one scale.
        bits: 7 or 8.
    """
    limit = weight_limit(bits)
    others = tuple(i for i in range(weight.ndim) if axis is not None and i != axis)
    # numpy reads axis=() as "reduce nothing", which is right for a vector with a scale per element.
    peak = np.abs(weight).max(axis=others) if axis is not None else np.abs(weight).max()
    scale = np.asarray(peak, np.float64) / limit
    spare = scale.max() if scale.max() > 0 else 1.0
    scale = np.maximum(np.where(scale > 0, scale, spare), float(SMALLEST_SCALE))

    widened: tuple[int, ...] = ()
    if bias is not None:
        needed = np.abs(bias.astype(np.float64)) / (LARGEST_BIAS * float(input_scale))
        if axis is None:
            needed = needed.max()
        short = needed > scale
        widened = tuple(int(i) for i in np.flatnonzero(short))
        scale = np.where(short, needed, scale)

    weight_scale = scale.astype(np.float32)
    spread = weight_scale
    if axis is not None:
        spread = weight_scale.reshape([-1 if i == axis else 1 for i in range(weight.ndim)])
    codes = np.clip(np.rint(weight / spread), -limit, limit).astype(np.int8)
    if bias is None:
        return Linear(codes, weight_scale, None, None, widened)
    bias_scale = np.asarray(weight_scale * input_scale, np.float32)
    bias_codes = np.rint(bias.astype(np.float64) / bias_scale).astype(np.int32)
    return Linear(codes, weight_scale, bias_codes, bias_scale, widened)
