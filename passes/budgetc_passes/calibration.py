"""What activations look like on real data: statistics declared first, collected in one run.

    wanted = {"conv_out": MinMax(), "logits": Percentile(99.99)}
    ranges = collect(model, wanted, samples)

What is kept of a tensor has a fixed size, however many samples there are.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort

from budgetc_passes.contract import PassError, Sample
from budgetc_passes.quantization.histogram import Histogram
from budgetc_passes.quantization.ranges import Range, affine_u8


class Watcher(Protocol):
    """The running state of what is to be known of one tensor, of a size that does not grow."""

    def update(self, values: npt.NDArray[np.floating]) -> None:
        """Take in one float tensor of any shape.

        Raises:
            ValueError: a value is not finite.
        """
        ...


class Observer(Watcher, Protocol):
    """One that comes to a range."""

    def range(self) -> Range:
        """The range of what was seen so far, in the units of the tensor.

        Raises:
            ValueError: nothing was seen.
        """
        ...


class Statistic(Protocol):
    """A declaration: what is to be known of a tensor, as a frozen value."""

    def observer(self) -> Observer:
        """A fresh observer that has seen nothing."""
        ...


@dataclass(frozen=True)
class MinMax:
    """The smallest and largest value: nothing is ever clipped, and one outlier sets the scale."""

    def observer(self) -> Observer:
        """A fresh observer; it holds two numbers."""
        return _Extremes()


@dataclass(frozen=True)
class Percentile:
    """The central part of the distribution, half of the rest cut off at either end.

    Within one bin of the exact percentile: 1/2048 of the largest magnitude at most. A tensor that
    is zero nearly everywhere, so that nothing would be left of it, keeps its extremes.

    Source: Wu et al., Integer Quantization for Deep Learning Inference, 2020, section 3.1.

    Raises:
        ValueError: `percentile` is not in (50, 100].
    """

    percentile: float = 99.99

    def __post_init__(self) -> None:
        if not 50 < self.percentile <= 100:
            raise ValueError(
                f"percentile is {self.percentile}; it lies above 50 and at most at 100"
            )

    def observer(self) -> Observer:
        """A fresh observer; it holds one histogram."""
        return _CentralPart(self.percentile)


@dataclass(frozen=True)
class MeanSquaredError:
    """The range whose u8 code has the least squared error: clipping against rounding.

    Both ends are shrunk together first, then one at a time until neither improves.

    Source: Nagel et al., A White Paper on Neural Network Quantization, 2021, section 3.1 ("MSE").
    """

    steps: int = 64

    def observer(self) -> Observer:
        """A fresh observer; it holds one histogram."""
        return _LeastError(self.steps)


class _Extremes:
    def __init__(self) -> None:
        self._low = np.inf
        self._high = -np.inf

    def update(self, values: npt.NDArray[np.floating]) -> None:
        if values.size:
            low, high = float(values.min()), float(values.max())
            if not (np.isfinite(low) and np.isfinite(high)):
                raise ValueError("values are not finite")
            self._low, self._high = min(self._low, low), max(self._high, high)

    def range(self) -> Range:
        return Range(self._low, self._high)


@dataclass
class _Distribution:
    histogram: Histogram = field(default_factory=Histogram, init=False)

    def update(self, values: npt.NDArray[np.floating]) -> None:
        self.histogram.update(values)

    def extremes(self) -> Range:
        return Range(self.histogram.low, self.histogram.high)


@dataclass
class _CentralPart(_Distribution):
    percentile: float

    def range(self) -> Range:
        tail = (1 - self.percentile / 100) / 2
        low, high = self.histogram.quantile(tail), self.histogram.quantile(1 - tail)
        return self.extremes() if low == high == 0 else Range(low, high)


@dataclass
class _LeastError(_Distribution):
    steps: int

    def range(self) -> Range:
        full = self.extremes().with_zero()
        lower, upper, counts = self.histogram.cells()
        centres = ((lower + upper) / 2).astype(np.float32)

        def error(ends: tuple[float, float]) -> float:
            code = affine_u8(Range(*ends))
            off = centres.astype(np.float64) - code.dequantize(code.quantize(centres))
            return float(np.dot(counts, off * off))

        shares = np.linspace(1.0, 1.0 / self.steps, self.steps)
        lows = [full.low * share for share in shares]
        highs = [full.high * share for share in shares]
        best = min(zip(lows, highs, strict=True), key=error)
        while True:
            found = min([(low, best[1]) for low in lows], key=error)
            found = min([(found[0], high) for high in highs], key=error)
            if error(found) >= error(best):
                return Range(*best)
            best = found


def collect(
    model: ir.Model, wanted: Mapping[str, Statistic], samples: Iterable[Sample]
) -> dict[str, Range]:
    """Run the samples through onnxruntime once and return the range of every wanted tensor.

    One session, one sample in memory at a time; entries of a sample that are no inputs (labels) are
    left out.

    Args:
        model: a float model; it is not changed.
        wanted: the statistic to keep of each tensor, by the tensor's name: a graph input or a
            node's float output.
        samples: inputs by name, with their batch dimension.

    Raises:
        PassError: no samples, a missing input, a value that is not finite, or onnxruntime refuses
            the model or a sample.
    """
    observers = {name: statistic.observer() for name, statistic in wanted.items()}
    watch(model, {name: [observer] for name, observer in observers.items()}, samples)
    return {name: observer.range() for name, observer in observers.items()}


def watch(
    model: ir.Model, watchers: Mapping[str, Sequence[Watcher]], samples: Iterable[Sample]
) -> None:
    """Run the samples through onnxruntime once and show every watched tensor to its watchers.

    Args:
        model: a float model; it is not changed.
        watchers: by the tensor's name: a graph input or a node's float output.
        samples: inputs by name, with their batch dimension.

    Raises:
        PassError: as for `collect`.
    """
    watch_all([(model, watchers)], samples)


def watch_all(
    models: Sequence[tuple[ir.Model, Mapping[str, Sequence[Watcher]]]], samples: Iterable[Sample]
) -> None:
    """Run each sample through several models with the same inputs, one after the other.

    A watcher of two tensors so sees both of one sample before it sees those of the next.

    Raises:
        PassError: as for `collect`.
    """
    watched = [_Watched(model, watchers) for model, watchers in models if watchers]
    if not watched:
        return
    count = 0
    for sample in samples:
        for each in watched:
            each.show(sample, count)
        count += 1
    if not count:
        raise PassError("no calibration samples; name a file with some in data.calibration")


class Pairs:
    """Two watchers that hand on what they see of one sample together.

    Args:
        take: is called with both tensors, when both were seen.
    """

    def __init__(
        self, take: Callable[[npt.NDArray[np.floating], npt.NDArray[np.floating]], None]
    ) -> None:
        self._take = take
        self._seen: dict[int, npt.NDArray[np.floating]] = {}
        self.first, self.second = _Half(self, 0), _Half(self, 1)

    def see(self, at: int, values: npt.NDArray[np.floating]) -> None:
        """Take in one of both."""
        if not np.isfinite(values).all():
            raise ValueError("values are not finite")
        self._seen[at] = values
        if len(self._seen) == 2:
            self._take(self._seen.pop(0), self._seen.pop(1))


@dataclass(frozen=True)
class _Half:
    whole: Pairs
    at: int

    def update(self, values: npt.NDArray[np.floating]) -> None:
        self.whole.see(self.at, values)


class _Watched:
    """A session of one model, and who looks at what it computes."""

    def __init__(self, model: ir.Model, watchers: Mapping[str, Sequence[Watcher]]) -> None:
        self._inputs = [value.name or "" for value in model.graph.inputs]
        self._fetched = [name for name in watchers if name not in self._inputs]
        self._watchers = watchers
        self._session = _session(model, self._fetched)

    def show(self, sample: Sample, count: int) -> None:
        """Run one sample, which is the `count`th."""
        missing = [name for name in self._inputs if name not in sample]
        if missing:
            raise PassError(
                f"calibration sample {count} lacks the input {missing[0]!r}; it has {sorted(sample)}"
            )
        feed = {name: sample[name] for name in self._inputs}
        try:
            outputs = self._session.run(self._fetched, feed) if self._fetched else []
        except Exception as error:  # onnxruntime's classes have no public base of their own
            raise PassError(f"calibration sample {count} does not run: {error}") from error
        seen = {name: feed[name] for name in self._inputs if name in self._watchers}
        for name, values in [*zip(self._fetched, outputs, strict=True), *seen.items()]:
            try:
                for watcher in self._watchers[name]:
                    watcher.update(values)
            except ValueError as error:
                raise PassError(f"calibration sample {count}: {name!r}: {error}") from error


def _session(model: ir.Model, fetched: list[str]) -> ort.InferenceSession:
    proto = ir.to_proto(model)
    present = {output.name for output in proto.graph.output}
    for name in fetched:
        if name not in present:
            value = onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
            proto.graph.output.append(value)
    options = ort.SessionOptions()
    # Ranges must not depend on how many cores the build machine has.
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    try:
        return ort.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # as above
        raise PassError(f"onnxruntime cannot run the model for calibration: {error}") from error
