"""Static int8 quantisation: calibrate a float model, place the codes, write them in QDQ form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import onnx_ir as ir
from budgetc_specs.capability import Capability
from budgetc_specs.recipe import Step, Value

from budgetc_passes.calibration import (
    MeanSquaredError,
    MinMax,
    Percentile,
    Statistic,
    collect,
)
from budgetc_passes.contract import Evidence, Needs, Note, PassError, PassResult
from budgetc_passes.graph import dims, label
from budgetc_passes.names import join_names, require_known, split_names
from budgetc_passes.offer import Offer, Part, Stage
from budgetc_passes.options import check_words
from budgetc_passes.quantization.operators import constant
from budgetc_passes.quantization.opset import prepared, quantised_by
from budgetc_passes.quantization.placement import Placement, Unit, place
from budgetc_passes.quantization.qdq import WeightForm, write
from budgetc_passes.quantization.ranges import Range
from budgetc_passes.quantization.sharing import codes, statistics

_WIDEST = 8

CALIBRATIONS = ("minmax", "mse", "percentile")
"""What the search may choose among."""


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
        skip: names of nodes that stay float, separated by ";"; one inside of a name has a backslash
            before it.
        output: whether the last product hands out codes ("quantized") or its float accumulator
            ("float").

    Raises:
        ValueError: an option is out of its bounds.
    """

    name: ClassVar[str] = "quantize"
    stage: ClassVar[Stage] = "codes"

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
        check_words(self)
        Percentile(self.percentile)  # its bounds hold whether it is used or not

    def needs(self) -> Needs:
        """Calibration samples."""
        return Needs(calibration=True)

    @classmethod
    def offer(cls, model: ir.Model, capability: Capability) -> Offer:
        """A part for each product and recurrent layer that has an integer form: `float` or `int8`.

        What lies between these has no level of its own: it computes in integers where its inputs
        arrive so. For all of them, how ranges are found, and, on hardware whose fastest dot product
        is exact for 7 bits only, whether weights have 8 all the same: better answers, more slowly.
        """
        if quantised_by(model) is not None:
            return Offer()
        units = place(prepared(model).graph).units
        parts = tuple(_part(unit) for unit in units if unit.kind in {"anchor", "recurrent"})
        options: dict[str, tuple[Value, ...]] = {"calibration": CALIBRATIONS}
        if capability.weight_bits < _WIDEST:
            options["weight_bits"] = (0, _WIDEST)
        return Offer(parts, options)

    @classmethod
    def step(cls, levels: Mapping[str, Value], options: Mapping[str, Value]) -> Step | None:
        """All layers, but for those that stay float by name.

        A product before a layer in float hands out its accumulator: what would be coded there would
        be decoded at once, which costs bytes and precision and saves nothing.
        """
        skipped = [name for name, level in levels.items() if level == "float"]
        if len(skipped) == len(levels):
            return None
        said: dict[str, Value] = {**options, "output": "float"}
        if not said.get("weight_bits"):
            said.pop("weight_bits", None)
        if skipped:
            said["skip"] = join_names(skipped)
        return Step.of(cls.name, **said)

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
        observed = self._observed(ready, placement, evidence)
        form = WeightForm(
            bits=self.weight_bits or evidence.capability.weight_bits,
            per_channel=self.per == "channel",
        )
        notes = write(ready.graph, placement, codes(placement, observed), form)
        return PassResult(ready, modified=True, notes=(*notes, *placement.refused))

    def _observed(
        self, model: ir.Model, placement: Placement, evidence: Evidence
    ) -> dict[str, Range]:
        """The range of every tensor that needs one; what was measured before is not measured again.

        The samples are for the shapes of the model that comes first.
        """
        statistic = self._statistic()
        wanted = statistics(placement, statistic)
        shapes = [dims(value) for value in model.graph.inputs]
        first = evidence.measured("shapes", lambda: shapes) == shapes
        observed: dict[str, Range] = evidence.measured(f"ranges by {statistic}", dict)
        missing = {name: each for name, each in wanted.items() if name not in observed}
        if missing and not first:
            raise PassError(
                f"quantize: {min(missing)!r} is computed for one shape of the inputs and not for "
                "another, so that both cannot have the same numbers"
            )
        if missing:
            observed |= collect(model, missing, evidence.calibration())
        return observed

    def _statistic(self) -> Statistic:
        if self.calibration == "minmax":
            return MinMax()
        if self.calibration == "mse":
            return MeanSquaredError()
        return Percentile(self.percentile)


def _part(unit: Unit) -> Part:
    nodes = (unit.node,) if unit.follower is None else (unit.node, unit.follower)
    indices = (unit.role.weight, unit.role.bias, unit.role.state_weight)
    stored = (constant(unit.node.inputs[at]) for at in indices if at is not None)
    return Part(
        name=label(unit.node),
        levels=("float", "int8"),
        nodes=tuple(label(node) for node in nodes),
        parameters=sum(array.size for array in stored if array is not None),
    )


def _skipped(graph: ir.Graph, text: str) -> tuple[str, ...]:
    names = split_names(text)
    known = [label(node) for node in graph]
    require_known(names, known, "quantize: skip")
    return names
