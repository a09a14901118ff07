"""The budgets against a baseline: how much worse than a lock the artefact may be."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, ValidationInfo, WithJsonSchema, model_validator

from budgetc_specs.errors import Refusal
from budgetc_specs.fields import Level, Percent, Points
from budgetc_specs.files import existing_file
from budgetc_specs.section import Section

_FIRST = "`budgetc lock SPEC --set budgets.max_regression=null` makes a first one."


def _baseline(value: Any, info: ValidationInfo) -> Path:
    try:
        return existing_file(value, info)
    except Refusal as refusal:
        raise Refusal(refusal.message, f"{refusal.repair}\n{_FIRST}") from None


Baseline = Annotated[
    Path, PlainValidator(_baseline), WithJsonSchema({"type": "string", "minLength": 1})
]
"""A lock that a spec is held against, relative to the spec's folder."""

_LEVEL: Any = Field(
    default="error", description="Whether missing the budget is an error or a warning"
)


class Growth(Section):
    """How much more of something than the baseline the artefact may take."""

    shorthand: ClassVar[str | None] = "max"

    max: Percent = Field(
        ge=0, description='Most that it may have grown by since the baseline, such as "2 %"'
    )
    level: Level = _LEVEL


class Loss(Section):
    """How much less of the metric than the baseline the artefact may have."""

    shorthand: ClassVar[str | None] = "max"

    max: Points = Field(
        ge=0,
        le=1,
        description='Most that the metric may have fallen since the baseline, such as "0.2 pp"',
    )
    level: Level = _LEVEL


class RegressionBudget(Section):
    """How much worse than a baseline, a lock, the artefact may be."""

    baseline: Baseline = Field(
        description="The lock that figures are held against, relative to the spec's folder"
    )
    size: Growth | None = Field(default=None, description="How much the bytes to deploy may grow")
    memory: Growth | None = Field(default=None, description="How much the RAM may grow")
    latency: Growth | None = Field(
        default=None,
        description="How much longer an inference may take, on the device or the kind of machine that locked",
    )
    quality: Loss | None = Field(default=None, description="How much the metric may fall")

    @model_validator(mode="after")
    def _bounds_something(self) -> "RegressionBudget":
        if not any((self.size, self.memory, self.latency, self.quality)):
            raise Refusal(
                "a baseline, and nothing that is held against it",
                'say what may grow by how much, such as "size: 2 %", "memory", "latency", or '
                '"quality: 0.2 pp".',
            )
        return self
