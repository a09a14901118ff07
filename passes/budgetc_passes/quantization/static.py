"""Static int8 quantisation: calibrate a float model, place the codes, write them in QDQ form."""

import difflib
from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx_ir as ir

from budgetc_passes.calibration import (
    MeanSquaredError,
    MinMax,
    Percentile,
    Statistic,
    collect,
)
from budgetc_passes.contract import Evidence, Needs, Note, PassError, PassResult
from budgetc_passes.graph import label
from budgetc_passes.quantization.opset import prepared, quantised_by
from budgetc_passes.quantization.placement import place
from budgetc_passes.quantization.qdq import WeightForm, write
from budgetc_passes.quantization.sharing import codes, statistics


@dataclass(frozen=True)
class Quantize:
    """Store weights in 8 bits and compute on u8 activations: a quarter of the size, and faster.

    Activations are u8 with a scale and a zero point a tensor, weights s8 and symmetric with a scale
    a channel, biases s32. The graph keeps float32 inputs and outputs and is ordinary ONNX:
    QuantizeLinear and DequantizeLinear around each integer operator, a form that onnxruntime runs
    with its integer kernels. Of recurrent layers the input is quantised and both weights are
    stored so, with a scale for each row of a gate; states and results stay float.

    A model that is quantised already stays as it is.

    Requires: float32, calibration samples. A BatchNormalization that `fuse` did not fold stays
    float. Ensures: opset 13 or above; no product or sum is followed by a Relu or Clip that the
    code of the result implies. Cost: accuracy, usually some tenths of a percentage point; on a
    target that computes in float anyway, time. Source: Jacob et al. 2018, sections 2 and 3.

    Attributes:
        bits: width of weights and activations. Only 8 so far.
        per: a weight scale for each output channel, or one for the whole tensor.
        calibration: how the range of an activation is found: its extremes, its central percentile,
            or the range of least squared error.
        percentile: the central part kept by `calibration=percentile`, above 50 and at most 100.
        weight_bits: 8, or 7 where the hardware's dot product saturates in 16 bits; 0: what the
            target's sheet says.
        skip: names of nodes that stay float, separated by ";".
        output: whether the last product hands out codes ("quantized") or its float accumulator
            ("float").

    Raises:
        ValueError: an option is out of its bounds.
    """

    name: ClassVar[str] = "quantize"

    bits: int = 8
    per: Literal["channel", "tensor"] = "channel"
    calibration: Literal["minmax", "percentile", "mse"] = "minmax"
    percentile: float = 99.99
    weight_bits: int = 0
    skip: str = ""
    output: Literal["quantized", "float"] = "quantized"

    def __post_init__(self) -> None:
        if self.bits != 8:
            raise ValueError(f"quantize: bits={self.bits} is not supported yet; 8 is")
        if self.weight_bits not in {0, 7, 8}:
            raise ValueError(
                f"quantize: weight_bits={self.weight_bits}; "
                "it is 7 or 8, or 0 for what the target's sheet says"
            )
        for option, allowed in (
            ("per", {"channel", "tensor"}),
            ("calibration", {"minmax", "percentile", "mse"}),
            ("output", {"quantized", "float"}),
        ):
            if (given := getattr(self, option)) not in allowed:
                raise ValueError(f"quantize: {option}={given}; it is one of {sorted(allowed)}")
        Percentile(self.percentile)  # its bounds hold whether it is used or not

    def needs(self) -> Needs:
        """Calibration samples."""
        return Needs(calibration=True)

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Quantise the model.

        Raises:
            PassError: the model's opset cannot be raised to 13, `skip` names no node, there are no
                calibration samples, or they do not fit the model.
        """
        coder = quantised_by(model)
        if coder is not None:
            text = f"the model is quantised already, as this {coder.op_type} says: left as it was"
            return PassResult(model, modified=False, notes=(Note("refused", label(coder), text),))
        ready = prepared(model)
        skip = _skipped(ready.graph, self.skip)
        placement = place(ready.graph, skip, float_head=self.output == "float")
        if not placement.units:
            nothing = Note(
                "refused", "", "no product or recurrent layer can be quantised: left as it was"
            )
            return PassResult(model, modified=False, notes=(*placement.refused, nothing))
        wanted = statistics(placement, self._statistic())
        observed = evidence.measured(
            "ranges", lambda: collect(ready, wanted, evidence.calibration())
        )
        missing = [name for name in wanted if name not in observed]
        if missing:
            raise PassError(
                f"quantize: {missing[0]!r} is computed for one shape of the inputs and not for "
                "another, so that both cannot have the same numbers"
            )
        form = WeightForm(
            bits=self.weight_bits or evidence.capability.weight_bits,
            per_channel=self.per == "channel",
        )
        notes = write(ready.graph, placement, codes(placement, observed), form)
        return PassResult(ready, modified=True, notes=(*notes, *placement.refused))

    def _statistic(self) -> Statistic:
        if self.calibration == "minmax":
            return MinMax()
        if self.calibration == "mse":
            return MeanSquaredError()
        return Percentile(self.percentile)


def _skipped(graph: ir.Graph, text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(";") if name.strip())
    known = [node.name for node in graph if node.name]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise PassError(f"quantize: skip names the node {name!r}, which the model lacks{hint}")
    return names
