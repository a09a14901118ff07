"""A histogram that grows with its stream counts exactly what one over the known range would."""

import numpy as np
import numpy.typing as npt
import pytest
from budgetc_passes.quantization.histogram import BINS, Histogram
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

ANY_SIZE = st.floats(-(2.0**100), 2.0**100, width=32) | st.floats(-1, 1, width=32) | st.just(0.0)
CHUNKS = st.lists(hnp.arrays(np.float32, st.integers(0, 30), elements=ANY_SIZE), max_size=6)


def streamed(chunks: list[npt.NDArray[np.float32]]) -> Histogram:
    histogram = Histogram()
    for chunk in chunks:
        histogram.update(chunk)
    return histogram


@settings(deadline=None)
@given(CHUNKS)
def test_growing_loses_nothing(chunks: list[npt.NDArray[np.float32]]) -> None:
    whole = np.concatenate([np.zeros(0, np.float32), *chunks])
    histogram = streamed(chunks)
    assert histogram.total == whole.size
    assert histogram.zeros == np.count_nonzero(whole == 0)
    lower, upper, counts = histogram.cells()
    for low, high, count in zip(lower, upper, counts, strict=True):
        if low == high:
            inside = whole == 0
        elif low >= 0:
            inside = (whole > 0) & (low <= whole) & (whole < high)
        else:
            inside = (whole < 0) & (low < whole) & (whole <= high)
        assert count == np.count_nonzero(inside)


@settings(deadline=None)
@given(CHUNKS)
def test_the_bins_are_as_fine_as_they_can_be(chunks: list[npt.NDArray[np.float32]]) -> None:
    histogram = streamed(chunks)
    largest = max((float(np.abs(chunk).max()) for chunk in chunks if chunk.size), default=0.0)
    if largest == 0:
        assert histogram.width == 0
    else:
        assert BINS / 2 <= largest / histogram.width < BINS


def test_the_first_and_last_quantile_are_the_extremes() -> None:
    histogram = streamed([np.array([-3, 0.25, 9], np.float32)])
    assert histogram.quantile(1) == 9
    assert histogram.quantile(0) == pytest.approx(-3, abs=histogram.width)


def test_an_empty_histogram_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="empty"):
        Histogram().quantile(0.5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_must_be_finite(bad: float) -> None:
    with pytest.raises(ValueError, match="not finite"):
        Histogram().update(np.array([0, bad], np.float32))
