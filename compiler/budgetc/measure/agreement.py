"""The differential check: whether two models' outputs are the same but for rounding."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

Array = npt.NDArray[np.generic]
Outputs = Mapping[str, Array]

LOOSEST_FLOAT = 1e-4
"""No float output may differ by more than this part of its magnitude, whatever the model."""

_UNIT_ROUNDOFF = 2.0**-24
_SAFETY = 16.0
_TOP1_AGREEMENT = 0.99
_NEAR_STEPS = 4.0
_NEAR_SHARE = 0.95
_LEVELS = 255
_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_TRANSPARENT = frozenset({"Reshape", "Flatten", "Identity", "Squeeze", "Unsqueeze", "Transpose"})


@dataclass(frozen=True)
class OutputAgreement:
    """How one output of two models compares. Figures that do not apply are NaN.

    Attributes:
        name: the output.
        agrees: whether it is within what rounding explains.
        largest: largest absolute difference, in the unit of `unit`.
        tolerance: what was allowed for it.
        unit: "of the magnitude", or "quantisation steps".
        identical: share of the samples without any difference.
        top1: share of the samples whose largest value is at the same place.
        worst_sample: index of the sample with the largest difference.
    """

    name: str
    agrees: bool
    largest: float
    tolerance: float
    unit: Literal["of the magnitude", "quantisation steps"]
    identical: float
    top1: float
    worst_sample: int

    def __str__(self) -> str:
        return (
            f"{self.name}: {'agrees' if self.agrees else 'differs'}, by at most {self.largest:.3g} "
            f"{self.unit} (sample {self.worst_sample}, allowed {self.tolerance:.3g}), "
            f"top-1 the same in {self.top1:.2%}, "
            f"identical in {self.identical:.2%}"
        )


@dataclass(frozen=True)
class Agreement:
    """How all outputs of two models compare."""

    kind: Literal["float", "integer"]
    outputs: tuple[OutputAgreement, ...]

    @property
    def agrees(self) -> bool:
        """Whether every output is within what rounding explains."""
        return all(o.agrees for o in self.outputs)

    def __str__(self) -> str:
        return "\n".join(str(o) for o in self.outputs)


def compare_float(ours: Outputs, reference: Outputs, *, reductions: int) -> Agreement:
    """Compare a float binary with the float reference, strictly.

    Two orders of summing n products differ by about sqrt(n) roundings, relative to the magnitude of
    the operands (N. Higham, T. Mary, A new approach to probabilistic rounding error analysis, SIAM
    J. Sci. Comput. 41 (2019)). A difference is held against the largest value of its sample, or of
    a typical sample where that is larger: an output whose values are all near zero says nothing
    about the magnitudes it was computed from.

    Args:
        ours: outputs by name, samples on axis 0.
        reference: the same of the reference.
        reductions: products summed on the way to an output, layer after layer; see
            `reduction_length`.
    """
    tolerance = min(LOOSEST_FLOAT, _SAFETY * _UNIT_ROUNDOFF * float(np.sqrt(max(reductions, 1))))
    return Agreement(
        "float",
        tuple(_compare_float(name, *_pair(name, ours, reference), tolerance) for name in reference),
    )


def compare_integer(ours: Outputs, oracle: Outputs, *, steps: Mapping[str, float]) -> Agreement:
    """Compare a quantised binary with onnxruntime's run of the same graph.

    Integer kernels are exact, but a value that lies between two levels may be rounded to the one or
    the other, and a layer behind it then sees another level. So the places of the largest values
    must be the same in 99 % of the samples (or the outputs within one step, where a tie decides the
    place), and the values within 4 steps in 95 %.

    Args:
        ours: outputs by name, samples on axis 0.
        oracle: the same of onnxruntime.
        steps: the quantisation step of each output that is one, from `output_steps`. An output
            computed in float behind the last integer is judged by the places alone, its differences
            given in 1/255 of its range.
    """
    return Agreement(
        "integer",
        tuple(
            _compare_integer(name, *_pair(name, ours, oracle), steps.get(name)) for name in oracle
        ),
    )


def reduction_length(data: bytes) -> int:
    """Products summed for one element, added up over all layers of a serialised model."""
    graph = onnx.load_model_from_string(data).graph
    shapes = {i.name: tuple(i.dims) for i in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes.setdefault(value.name, tuple(d.dim_value for d in value.type.tensor_type.shape.dim))
    total = 0
    for node in graph.node:
        if len(node.input) < 2 or not {node.input[0], node.input[1]} <= shapes.keys():
            continue
        first, second = shapes[node.input[0]], shapes[node.input[1]]
        if node.op_type == "Conv":
            total += int(np.prod(second[1:]))
        elif node.op_type == "ConvTranspose":
            total += int(np.prod(second[2:])) * second[0]
        elif node.op_type == "MatMul" and first:
            total += first[-1]
        elif node.op_type == "Gemm" and first:
            transposed = any(a.name == "transA" and a.i for a in node.attribute)
            total += first[0] if transposed else first[-1]
        elif node.op_type in {"LSTM", "GRU", "RNN"} and len(second) == 3:
            hidden = second[1] // _GATES[node.op_type]
            total += first[0] * (first[2] + hidden)  # every step is a layer
    return total


def output_steps(data: bytes) -> dict[str, float]:
    """The quantisation step of every output of a QDQ model that is a dequantised integer."""
    graph = onnx.load_model_from_string(data).graph
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


def _pair(name: str, ours: Outputs, reference: Outputs) -> tuple[Array, Array]:
    if name not in ours or ours[name].shape != reference[name].shape:
        got = ours[name].shape if name in ours else "missing"
        raise AssertionError(f"BUG: the output {name!r} is {got}, not {reference[name].shape}")
    samples = len(reference[name])
    return ours[name].reshape(samples, -1), reference[name].reshape(samples, -1)


def _compare_float(name: str, ours: Array, reference: Array, tolerance: float) -> OutputAgreement:
    if reference.dtype.kind != "f":
        return _compare_exact(name, ours, reference)
    wanted = reference.astype(np.float64)
    magnitudes = np.abs(wanted).max(axis=1)
    scale = np.maximum(magnitudes, np.median(magnitudes))
    differences = _differences(ours, reference).max(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(differences == 0, 0.0, differences / scale)
    worst = int(relative.argmax())
    return OutputAgreement(
        name=name,
        agrees=bool(relative[worst] <= tolerance),
        largest=float(relative[worst]),
        tolerance=tolerance,
        unit="of the magnitude",
        identical=float((differences == 0).mean()),
        top1=_same_place(ours, reference),
        worst_sample=worst,
    )


def _compare_exact(name: str, ours: Array, reference: Array) -> OutputAgreement:
    """Outputs that are whole numbers or truth values: no rounding explains a difference."""
    differences = _differences(ours, reference).max(axis=1)
    worst = int(differences.argmax())
    return OutputAgreement(
        name=name,
        agrees=not differences.any(),
        largest=float(differences[worst]),
        tolerance=0.0,
        unit="quantisation steps",
        identical=float((differences == 0).mean()),
        top1=_same_place(ours, reference),
        worst_sample=worst,
    )


def _compare_integer(name: str, ours: Array, oracle: Array, step: float | None) -> OutputAgreement:
    numbers = oracle.astype(np.float64)
    unit = step if step is not None else float(numbers.max() - numbers.min()) / _LEVELS
    if oracle.dtype.kind != "f":
        unit = 1.0
    differences = _differences(ours, oracle).max(axis=1) / (unit or 1.0)
    same = ours.argmax(axis=1) == oracle.argmax(axis=1)
    # Half a step of slack: a step is a float, and one of them is rarely the exact difference.
    agreeing = same | (differences <= 1.5)
    near = (differences <= _NEAR_STEPS + 0.5).mean()
    judged_by_values = step is not None or oracle.dtype.kind != "f"
    worst = int(differences.argmax())
    finite = bool(np.isfinite(differences).all())
    return OutputAgreement(
        name=name,
        agrees=finite
        and bool(agreeing.mean() >= _TOP1_AGREEMENT)
        and (not judged_by_values or bool(near >= _NEAR_SHARE)),
        largest=float(differences[worst]),
        tolerance=_NEAR_STEPS,
        unit="quantisation steps",
        identical=float((differences == 0).mean()),
        top1=float(same.mean()),
        worst_sample=worst,
    )


def _differences(ours: Array, reference: Array) -> npt.NDArray[np.float64]:
    """Absolute differences; infinite where one is NaN or infinite and the other is not the same."""
    a, b = ours.astype(np.float64), reference.astype(np.float64)
    with np.errstate(invalid="ignore"):
        difference = np.abs(a - b)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    difference = np.where(same, 0.0, difference)
    return np.where(np.isnan(difference), np.inf, difference)


def _same_place(ours: Array, reference: Array) -> float:
    return float((ours.argmax(axis=1) == reference.argmax(axis=1)).mean())
