"""The budgets: what the artefact may cost and what it may lose."""

import math
import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

from budgetc_specs.errors import Refusal, did_you_mean, quoted
from budgetc_specs.fields import TIME_UNITS, Bytes, Level, Points, in_document, one_of
from budgetc_specs.regression import RegressionBudget
from budgetc_specs.section import Section
from budgetc_specs.units import DURATION_HELP, NUMBER, format_seconds, parse_seconds

Peer = Literal["onnxruntime", "onnxruntime-int8"]
"""What a relative latency is measured against in the same run: onnxruntime, in float or in int8."""

_PEERS = ("onnxruntime", "onnxruntime-int8")
_LATER_PEERS = ("openvino", "openvino-int8", "litert", "litert-int8", "ncnn", "iree", "tvm")
_RELATIVE = re.compile(rf"({NUMBER})\s*[x×]\s*(\S.*)")
_LATENCY_HELP = (
    'a latency is a number with a unit, such as "10 ms" or "250 us", '
    'or relative to a peer, such as "1.0 x onnxruntime".'
)

Statistic = Annotated[
    Literal["p50", "p90", "p99", "mean"],
    one_of(
        *("p50", "p90", "p99", "mean"),
        later=("min", "max", "median", "std", "p10", "p25", "p75", "p80", "p95", "p99.9", "p999"),
    ),
]
"""What is taken of the measured inference times."""

_LEVEL: Any = Field(
    default="error", description="Whether missing the budget is an error or a warning"
)


@dataclass(frozen=True)
class Relative:
    """A latency as a multiple of a peer's latency, measured in the same run on the same machine."""

    ratio: float
    peer: Peer

    def __str__(self) -> str:
        ratio = f"{self.ratio:.15f}".rstrip("0")
        return f"{ratio}{'0' if ratio.endswith('.') else ''} x {self.peer}"


def _read_latency(value: Any, info: ValidationInfo) -> float | Relative:
    if isinstance(value, Relative):
        return value
    relative = _RELATIVE.fullmatch(value.strip()) if isinstance(value, str) else None
    if relative:
        ratio, peer = float(relative[1]), relative[2]
        if ratio <= 0:
            raise Refusal(f"{quoted(value)} is not above zero", _LATENCY_HELP)
        if peer in _LATER_PEERS:
            raise Refusal(
                f'the peer "{peer}" is not supported yet', f"choose {' or '.join(_PEERS)}."
            )
        if peer not in _PEERS:
            hint = did_you_mean(peer, _PEERS) or f"choose {' or '.join(_PEERS)}."
            raise Refusal(f"{quoted(peer)} is not a peer that can be measured", hint)
        return Relative(ratio, "onnxruntime" if peer == "onnxruntime" else "onnxruntime-int8")
    if isinstance(value, int | float) and not isinstance(value, bool) and not in_document(info):
        if not (math.isfinite(value) and value > 0):
            raise Refusal(f"{quoted(value)} is not above zero", _LATENCY_HELP)
        return float(value)
    try:
        return parse_seconds(value)
    except Refusal as refusal:
        raise Refusal(
            refusal.message, refusal.repair.replace(DURATION_HELP, _LATENCY_HELP)
        ) from None


def _write_latency(value: float | Relative) -> str:
    return str(value) if isinstance(value, Relative) else format_seconds(value, exact=True)


Latency = Annotated[
    float | Relative,
    PlainValidator(_read_latency),
    PlainSerializer(_write_latency, when_used="json"),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": rf"^\s*{NUMBER}\s*({'|'.join(TIME_UNITS)}|[x×]\s*({'|'.join(_PEERS)}))\s*$",
            "examples": ["200 us", "10 ms", "1.0 x onnxruntime-int8"],
        }
    ),
]
"""Seconds, or a multiple of a peer's latency."""


class SizeBudget(Section):
    """The bytes to deploy: the stripped library, or flash (text + rodata + data) on bare metal."""

    shorthand: ClassVar[str | None] = "max"

    max_bytes: Bytes = Field(
        validation_alias="max",
        serialization_alias="max",
        ge=1,
        description='Most bytes that the artefact may take to deploy, such as "48 KiB"',
    )
    level: Level = _LEVEL


class MemoryBudget(Section):
    """The RAM that one inference needs: planned arena, static data and stacks."""

    shorthand: ClassVar[str | None] = "max"

    max_bytes: Bytes = Field(
        validation_alias="max",
        serialization_alias="max",
        ge=1,
        description='Most RAM that one inference may need, such as "64 KiB"',
    )
    level: Level = _LEVEL


class LatencyBudget(Section):
    """The time of one inference on the target: a statistic of the times, with its interval."""

    shorthand: ClassVar[str | None] = "max"

    max: Latency = Field(
        description='Longest that one inference may take: a time such as "200 us", or a multiple '
        'of a peer measured in the same run, such as "1.0 x onnxruntime"'
    )
    statistic: Statistic = Field(
        default="p50",
        description="What must stay within the budget: p50, p90, p99 or mean of the times",
    )
    runs: int = Field(
        default=100, strict=True, ge=1, le=1_000_000, description="Number of timed runs, at least"
    )
    level: Level = _LEVEL


class QualityBudget(Section):
    """What the binary may lose against the float model, or must reach, on the evaluation data."""

    shorthand: ClassVar[str | None] = "drop"

    drop: Points | None = Field(
        default=None,
        ge=0,
        le=1,
        description='Most that the metric may fall below the float model\'s, such as "0.5 pp"',
    )
    min: float | None = Field(
        default=None,
        strict=True,
        allow_inf_nan=False,
        description="Least value of the metric, in its own unit, such as 0.97 for top-1",
    )
    worst_slice: Points | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Most that the metric may fall in the slice that loses most, "
        'of those that `quality.slices` tells apart, such as "2 pp"',
    )
    level: Level = _LEVEL

    @model_validator(mode="after")
    def _one_of_the_two(self) -> "QualityBudget":
        hint = 'give one: "drop: 0.5 pp" is relative to the float model, "min: 0.97" is absolute.'
        if self.drop is not None and self.min is not None:
            raise Refusal("both of drop and min given", hint)
        if self.drop is None and self.min is None and self.worst_slice is None:
            raise Refusal("neither of drop and min given", hint)
        return self


def _budget(kind: type[Section]) -> Any:
    """A budget that need not be set, described by what its class says of itself."""
    return Field(default=None, description=(kind.__doc__ or "").partition("\n")[0].rstrip("."))


class Budgets(Section):
    """What the artefact must keep, all of it at once; a budget that is left out does not bind."""

    size: SizeBudget | None = _budget(SizeBudget)
    memory: MemoryBudget | None = _budget(MemoryBudget)
    latency: LatencyBudget | None = _budget(LatencyBudget)
    quality: QualityBudget | None = _budget(QualityBudget)
    max_regression: RegressionBudget | None = _budget(RegressionBudget)

    def overridden_by(self, other: "Budgets") -> "Budgets":
        """These budgets, each replaced whole where the other has one."""
        return Budgets(
            size=other.size or self.size,
            memory=other.memory or self.memory,
            latency=other.latency or self.latency,
            quality=other.quality or self.quality,
            max_regression=other.max_regression or self.max_regression,
        )
