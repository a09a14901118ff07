"""Two runs of one model beside each other: what differs, by how much, and where."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

Array = npt.NDArray[np.generic]
Outputs = Mapping[str, Array]
Unit = Literal["of the magnitude", "quantisation steps"]

_TRANSPARENT = frozenset({"Reshape", "Flatten", "Identity", "Squeeze", "Unsqueeze", "Transpose"})


@dataclass(frozen=True)
class OutputAgreement:
    """How one output compares. A sample is one entry of axis 0.

    Attributes:
        name: the output.
        agrees: whether it is what was wanted, but for what rounding explains.
        largest: largest difference, in the unit of `unit`; infinite where one is NaN or infinite and the other is not
            the same.
        tolerance: what was allowed for it; 0 where every bit counts.
        unit: "of the magnitude", or "quantisation steps" (1 for whole numbers and truth values).
        identical: share of the samples without any difference.
        top1: share of the samples whose largest value is at the same place.
        worst_sample: index of the sample with the largest difference.
        beyond: samples with a difference above the tolerance, the worst first.
        excepted: elements beyond the tolerance that have an explanation, see `arbiter`.
    """

    name: str
    agrees: bool
    largest: float
    tolerance: float
    unit: Unit
    identical: float
    top1: float
    worst_sample: int
    beyond: tuple[int, ...] = field(default=(), repr=False)
    excepted: int = 0

    def __str__(self) -> str:
        excepted = f", {self.excepted} values excepted" if self.excepted else ""
        return (
            f"{self.name}: {'agrees' if self.agrees else 'differs'}, by at most {self.largest:.3g} "
            f"{self.unit} (sample {self.worst_sample}, allowed {self.tolerance:.3g}), "
            f"top-1 the same in {self.top1:.2%}, "
            f"identical in {self.identical:.2%}{excepted}"
        )


@dataclass(frozen=True)
class Agreement:
    """How all outputs of two runs compare."""

    outputs: tuple[OutputAgreement, ...]

    @property
    def agrees(self) -> bool:
        """Whether every output does."""
        return all(o.agrees for o in self.outputs)

    @property
    def beyond(self) -> tuple[int, ...]:
        """Samples in which any output differs by more than its tolerance, the worst of each output first."""
        return tuple(dict.fromkeys(s for o in self.outputs for s in o.beyond))

    def __str__(self) -> str:
        return "\n".join(str(o) for o in self.outputs)


def compare(
    ours: Outputs,
    wanted: Outputs,
    *,
    tolerance: float,
    steps: Mapping[str, float] | None = None,
) -> Agreement:
    """Compare outputs, strictly: whole numbers, truth values and dequantised integers by every bit.

    A real output is held against the largest value of its sample, or of a typical sample where that is larger: an
    output whose values are all near zero says nothing about the magnitudes it was computed from.

    Args:
        ours: outputs by name, samples on axis 0.
        wanted: the same of the reference.
        tolerance: the part of its magnitude by which a real output may differ, from `rounding.tolerance`.
        steps: the quantisation step of each output that is a dequantised integer, from `output_steps`.
    """
    found = []
    for name, reference in wanted.items():
        pair = _pair(name, ours, reference)
        step = (steps or {}).get(name)
        if reference.dtype.kind != "f" or step is not None:
            found.append(_compare_exact(name, *pair, step or 1.0))
        else:
            found.append(_compare_real(name, *pair, tolerance))
    return Agreement(tuple(found))


def output_steps(model: onnx.ModelProto) -> dict[str, float]:
    """The quantisation step of every output of a QDQ model that is a dequantised integer."""
    graph = model.graph
    producers = {name: node for node in graph.node for name in node.output}
    scales = {i.name: i for i in graph.initializer}
    steps = {}
    for output in graph.output:
        node = producers.get(output.name)
        while node is not None and node.op_type in _TRANSPARENT:
            node = producers.get(node.input[0])
        if node is not None and node.op_type == "DequantizeLinear" and node.input[1] in scales:
            steps[output.name] = float(numpy_helper.to_array(scales[node.input[1]]).max())
    return steps


def differences(ours: Array, reference: Array) -> npt.NDArray[np.float64]:
    """Absolute differences; infinite where one is NaN or infinite and the other is not the same."""
    if (
        ours.dtype.kind in "iu" and reference.dtype.kind in "iu"
    ):  # beyond 2^53 floats are too coarse
        high, low = np.maximum(ours, reference), np.minimum(ours, reference)
        return (high.astype(np.uint64) - low.astype(np.uint64)).astype(np.float64)
    a, b = ours.astype(np.float64), reference.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(a - b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    difference = np.atleast_1d(np.where(same, 0.0, difference)).reshape(np.shape(same))
    difference[np.isnan(difference)] = np.inf
    return difference


def magnitudes(reference: Array) -> npt.NDArray[np.float64]:
    """What a difference in each sample is held against; infinite values say nothing of it."""
    values = np.abs(reference.astype(np.float64))
    largest = np.where(np.isfinite(values), values, 0.0).max(axis=1, initial=0.0)
    found: npt.NDArray[np.float64] = np.maximum(largest, np.median(largest))
    return found


def _pair(name: str, ours: Outputs, reference: Array) -> tuple[Array, Array]:
    if name not in ours or ours[name].shape != reference.shape:
        got = ours[name].shape if name in ours else "missing"
        raise AssertionError(f"BUG: the output {name!r} is {got}, not {reference.shape}")
    samples = len(reference)
    return ours[name].reshape(samples, -1), reference.reshape(samples, -1)


def _compare_real(name: str, ours: Array, reference: Array, tolerance: float) -> OutputAgreement:
    found = differences(ours, reference).max(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(found == 0, 0.0, found / magnitudes(reference))
    return _judged(name, ours, reference, relative, tolerance, "of the magnitude")


def _compare_exact(name: str, ours: Array, reference: Array, step: float) -> OutputAgreement:
    found = differences(ours, reference).max(axis=1) / step
    return _judged(name, ours, reference, found, 0.0, "quantisation steps")


def _judged(
    name: str,
    ours: Array,
    reference: Array,
    found: npt.NDArray[np.float64],
    tolerance: float,
    unit: Unit,
) -> OutputAgreement:
    order = np.argsort(-found, kind="stable")
    beyond = tuple(int(s) for s in order if found[s] > tolerance)
    return OutputAgreement(
        name=name,
        agrees=not beyond,
        largest=float(found[order[0]]),
        tolerance=tolerance,
        unit=unit,
        identical=float((found == 0).mean()),
        top1=float((ours.argmax(axis=1) == reference.argmax(axis=1)).mean()),
        worst_sample=int(order[0]),
        beyond=beyond,
    )
