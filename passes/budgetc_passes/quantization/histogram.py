"""A histogram of a stream of unknown range: it doubles the width of its bins when it must.

Bins lie on a grid through zero and their width is a power of two, so that two neighbours merge
exactly into one bin of the doubled grid. The width in the end depends on the largest magnitude
alone; therefore the counts do not depend on how the stream was cut into pieces, nor on their order.
"""

import numpy as np
import numpy.typing as npt

BIN_BITS = 12
BINS = 2**BIN_BITS
"""Bins a side; the side of the largest magnitude always uses at least half of them."""


class Histogram:
    """Counts of the negative and positive values of a stream, its zeros, and its exact extremes.

    Holds 2 * 4096 int64 counts however long the stream is.
    """

    def __init__(self) -> None:
        self.low = np.inf
        self.high = -np.inf
        self.zeros = 0
        self._exponent: int | None = None
        self._negative = np.zeros(BINS, np.int64)
        self._positive = np.zeros(BINS, np.int64)

    @property
    def total(self) -> int:
        """Number of values seen."""
        return self.zeros + int(self._negative.sum()) + int(self._positive.sum())

    @property
    def width(self) -> float:
        """Width of a bin, a power of two; 0 while nothing but zeros was seen."""
        return 0.0 if self._exponent is None else float(np.ldexp(1.0, self._exponent))

    def update(self, values: npt.NDArray[np.floating]) -> None:
        """Add float values of any shape; an empty array adds nothing.

        Raises:
            ValueError: a value is not finite.
        """
        if values.size == 0:
            return
        low, high = float(values.min()), float(values.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            raise ValueError("values are not finite")
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.zeros += values.size - int(np.count_nonzero(values))
        magnitude = max(-low, high)
        if magnitude > 0:
            # frexp: magnitude < 2 ** e, so the bin of index magnitude / width stays below BINS.
            self._grow(int(np.frexp(magnitude)[1]) - BIN_BITS)
        if self._exponent is not None:
            flat = values.reshape(-1)
            self._positive += self._count(flat[flat > 0])
            self._negative += self._count(-flat[flat < 0])

    def cells(
        self,
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """The occupied cells in ascending order: lower ends, upper ends, counts.

        Zero is a cell without width.
        """
        starts = np.arange(BINS) * self.width
        ends = starts + self.width
        lower = np.concatenate([-ends[::-1], [0.0], starts])
        upper = np.concatenate([-starts[::-1], [0.0], ends])
        counts = np.concatenate([self._negative[::-1], [self.zeros], self._positive])
        used = counts > 0
        return lower[used], upper[used], counts[used]

    def quantile(self, fraction: float) -> float:
        """The value below which `fraction` of the stream lies, interpolated within its cell.

        Raises:
            ValueError: nothing was seen yet.
        """
        lower, upper, counts = self.cells()
        if not counts.size:
            raise ValueError("the histogram is empty")
        reached = np.cumsum(counts)
        wanted = fraction * reached[-1]
        cell = min(int(np.searchsorted(reached, wanted)), len(counts) - 1)
        inside = (wanted - (reached[cell] - counts[cell])) / counts[cell]
        value = lower[cell] + inside * (upper[cell] - lower[cell])
        return float(np.clip(value, self.low, self.high))

    def _grow(self, exponent: int) -> None:
        if self._exponent is None:
            self._exponent = exponent
        elif exponent > self._exponent:
            # Beyond BIN_BITS doublings every old bin lands in the first one.
            shift = min(exponent - self._exponent, BIN_BITS)
            self._negative = _merge(self._negative, shift)
            self._positive = _merge(self._positive, shift)
            self._exponent = exponent

    def _count(self, magnitudes: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
        # A product with a power of two is exact, so the same value always falls into the same bin.
        bins = np.ldexp(magnitudes, -self._exponent).astype(np.int64)  # type: ignore[operator]
        return np.bincount(bins, minlength=BINS)


def _merge(counts: npt.NDArray[np.int64], shift: int) -> npt.NDArray[np.int64]:
    merged = np.zeros(BINS, np.int64)
    merged[: BINS >> shift] = counts.reshape(-1, 1 << shift).sum(axis=1)
    return merged
