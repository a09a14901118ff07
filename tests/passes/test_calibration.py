"""Statistics of activations: exact against numpy, indifferent to chunks, constant in memory."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from budgetc_passes.calibration import MeanSquaredError, MinMax, Percentile, Statistic, collect
from budgetc_passes.contract import PassError, Sample
from budgetc_passes.quantization.ranges import Range, affine_u8
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

MODEL = """
<ir_version: 8, opset_import: ["": 17]>
agraph (float[1,4] x) => (float[1,4] z)
{
  y = Neg(x)
  z = Relu(y)
}
"""

VALUES = hnp.arrays(
    np.float32,
    st.integers(1, 200),
    elements=st.floats(-1e6, 1e6, width=32) | st.just(0.0),
)


def model() -> ir.Model:
    return ir.from_onnx_text(MODEL)


def ranges_of(statistic: Statistic, chunks: list[npt.NDArray[np.float32]]) -> Range:
    observer = statistic.observer()
    for chunk in chunks:
        observer.update(chunk)
    return observer.range()


def test_one_run_gives_the_range_of_inputs_and_inner_tensors() -> None:
    samples = [
        {"x": np.array([[1, 2, 3, -4]], np.float32), "label": np.array([1])},
        {"x": np.array([[7, 0, 0, 0]], np.float32), "label": np.array([0])},
    ]
    found = collect(model(), {"x": MinMax(), "y": MinMax(), "z": MinMax()}, iter(samples))
    assert found == {"x": Range(-4, 7), "y": Range(-7, 4), "z": Range(0, 4)}


def test_the_model_keeps_its_outputs() -> None:
    kept = model()
    collect(kept, {"y": MinMax()}, [{"x": np.zeros((1, 4), np.float32)}])
    assert [value.name for value in kept.graph.outputs] == ["z"]


def test_nothing_wanted_reads_no_sample() -> None:
    def samples() -> Iterator[Sample]:
        raise AssertionError("the stream was read")
        yield {}

    assert collect(model(), {}, samples()) == {}


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([], "no calibration samples"),
        ([{"image": np.zeros((1, 4), np.float32)}], r"sample 0 lacks the input 'x'; it has"),
        ([{"x": np.zeros((1, 5), np.float32)}], "sample 0 does not run"),
        ([{"x": np.full((1, 4), np.nan, np.float32)}], "sample 0: '[xyz]': values are not finite"),
    ],
)
def test_bad_samples_are_named(samples: list[Sample], message: str) -> None:
    with pytest.raises(PassError, match=message):
        collect(model(), {"x": MinMax(), "y": Percentile()}, samples)


def test_an_unknown_tensor_is_refused() -> None:
    with pytest.raises(PassError, match="onnxruntime cannot run the model"):
        collect(model(), {"nowhere": MinMax()}, [{"x": np.zeros((1, 4), np.float32)}])


@settings(deadline=None)
@given(VALUES, st.lists(st.integers(0, 200), max_size=4))
@pytest.mark.parametrize("statistic", [MinMax(), Percentile(99.0), MeanSquaredError(8)])
def test_chunks_and_their_order_do_not_matter(
    statistic: Statistic, values: npt.NDArray[np.float32], cuts: list[int]
) -> None:
    whole = ranges_of(statistic, [values])
    chunks = np.split(values, sorted(cut for cut in cuts if cut < len(values)))
    assert ranges_of(statistic, chunks) == whole
    assert ranges_of(statistic, chunks[::-1]) == whole


@settings(deadline=None)
@given(VALUES)
def test_minmax_is_numpy_s(values: npt.NDArray[np.float32]) -> None:
    found = ranges_of(MinMax(), [values])
    assert (found.low, found.high) == (values.min(), values.max())


@settings(deadline=None)
@given(VALUES)
def test_a_percentile_is_within_a_bin_of_numpy_s(values: npt.NDArray[np.float32]) -> None:
    found = ranges_of(Percentile(87.5), [values])  # tails of 1/16: exact in binary
    low, high = np.quantile(values, [1 / 16, 15 / 16], method="inverted_cdf")
    if low == high == 0:
        assert (found.low, found.high) == (values.min(), values.max())
        return
    bin_width = np.abs(values).max() / 2048
    assert abs(found.low - low) <= bin_width
    assert abs(found.high - high) <= bin_width


def test_a_percentile_drops_outliers_and_100_drops_none() -> None:
    values = np.concatenate([np.linspace(-1, 1, 100_000), [50.0]]).astype(np.float32)
    assert ranges_of(Percentile(99.9), [values]).high == pytest.approx(1, abs=50 / 2048)
    assert ranges_of(Percentile(100), [values]) == Range(-1, 50)


@pytest.mark.parametrize("percentile", [50, 0, 100.1, -1])
def test_a_percentile_has_bounds(percentile: float) -> None:
    with pytest.raises(ValueError, match="above 50 and at most at 100"):
        Percentile(percentile)


def squared_error(values: npt.NDArray[np.float32], found: Range) -> float:
    code = affine_u8(found)
    return float(np.square(values - code.dequantize(code.quantize(values))).sum())


def test_least_error_clips_an_outlier_that_costs_more_than_it_brings() -> None:
    rng = np.random.default_rng(0)
    values = np.append(rng.normal(size=300_000), [8.0]).astype(np.float32)
    found = ranges_of(MeanSquaredError(), [values])
    assert found.high < 7
    plain = squared_error(values, ranges_of(MinMax(), [values]))
    assert squared_error(values, found) < 0.8 * plain


@settings(deadline=None)
@given(VALUES)
def test_least_error_stays_inside_the_extremes(values: npt.NDArray[np.float32]) -> None:
    found = ranges_of(MeanSquaredError(8), [values])
    full = ranges_of(MinMax(), [values]).with_zero()
    assert full.low <= found.low <= 0 <= found.high <= full.high


@pytest.mark.parametrize("statistic", [MinMax(), Percentile(), MeanSquaredError()])
def test_memory_does_not_grow_with_the_samples(statistic: Statistic) -> None:
    def samples(count: int) -> Iterator[Sample]:
        rng = np.random.default_rng(0)
        for scale in np.geomspace(1, 1e3, count):
            yield {"x": rng.normal(scale=scale, size=(1, 4096)).astype(np.float32)}

    wide = ir.from_onnx_text(MODEL.replace("1,4", "1,4096"))

    def peak(count: int) -> int:
        tracemalloc.start()
        collect(wide, {"x": statistic, "y": statistic, "z": statistic}, samples(count))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    peak(8)  # first use fills caches
    few, many = peak(8), peak(300)
    # All samples together would be 5 MB, one is 16 KiB.
    assert many < few + 64 * 1024
