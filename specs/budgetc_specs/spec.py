"""The spec: a model, its data, the budgets it must keep and the hardware it must keep them on."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from budgetc_specs.budgets import Budgets
from budgetc_specs.errors import Refusal, quoted
from budgetc_specs.fields import Objective, one_of, read_passes
from budgetc_specs.files import File
from budgetc_specs.naming import TARGET_NAME, c_identifier
from budgetc_specs.recipe import Recipe
from budgetc_specs.section import Found, Section, refused
from budgetc_specs.sections import (
    DataSpec,
    InputSpec,
    LearningSpec,
    OutputSpec,
    QualitySpec,
    SearchSpec,
    Shape,
    TargetSpec,
)

__all__ = [
    "DataSpec",
    "InputSpec",
    "LearningSpec",
    "OutputSpec",
    "QualitySpec",
    "SearchSpec",
    "Spec",
    "Strategy",
    "TargetSpec",
]


def _version(value: Any) -> Any:
    if value != 1 or isinstance(value, bool):
        hint = 'write "budgetc: 1", or install the budgetc that knows this version.'
        raise Refusal(f"{quoted(value)} is no version of the spec that this budgetc reads", hint)
    return 1


Strategy = Annotated[
    Literal["shrink", "shrink-improve", "grow-improve-shrink"],
    one_of("shrink", "shrink-improve", "grow-improve-shrink"),
]
Passes = Annotated[
    Literal["auto"] | Recipe,
    PlainValidator(read_passes),
    PlainSerializer(str, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class Spec(Section):
    """Everything that a user declares; the same in a file and in Python.

    Relative paths of a spec that is built in Python are taken from the working directory.

    Raises:
        pydantic.ValidationError: with every finding at once, in words.
    """

    budgetc: Annotated[Literal[1], BeforeValidator(_version)] = Field(
        default=1, description="Version of the spec's grammar"
    )
    model: File = Field(description="The ONNX model, relative to the spec's folder")
    inputs: Mapping[str, InputSpec] = Field(
        default={},
        description="Shapes of the model's inputs by name, where the model leaves a dimension free",
    )
    data: DataSpec = Field(
        default=DataSpec(), description="Samples to calibrate on and to evaluate on"
    )
    quality: QualitySpec = Field(default=QualitySpec(), description="How quality is measured")
    budgets: Budgets = Field(
        default=Budgets(), description="What the artefact must keep, all of it at once"
    )
    targets: Mapping[str, TargetSpec] = Field(
        default={"host": TargetSpec()},
        json_schema_extra={
            "minProperties": 1,
            "propertyNames": {"pattern": f"^{TARGET_NAME.pattern}$"},
        },
        description="Hardware to compile for, by names of your choice",
    )
    strategy: Strategy = Field(
        default="shrink",
        description="shrink: make the model smaller by passes, without learning; shrink-improve: "
        "and train what is left; grow-improve-shrink: make it larger and train it first",
    )
    passes: Passes = Field(
        default="auto",
        description="auto: chosen to meet the budgets; "
        "or the recipe to use, as one text or as a list of steps",
    )
    learning: LearningSpec = Field(
        default=LearningSpec(), description="What passes that train are told"
    )
    search: SearchSpec = Field(
        default=SearchSpec(), description="How much effort goes into the search"
    )
    output: OutputSpec = Field(
        default=OutputSpec(), description="What is written, and what it is called"
    )
    objective: Objective = Field(
        default=("quality", "latency"),
        description="What to optimise among the points that keep all budgets: quality, latency, "
        "size or memory, or several of them, the most important first",
    )

    @property
    def learns(self) -> bool:
        """Whether the strategy is one that trains."""
        return self.strategy != "shrink"

    @property
    def longest(self) -> float:
        """Seconds that the search for one target may take, with what a strategy trains."""
        return self.search.time + (self.learning.time if self.learns else 0.0)

    def entries(self) -> tuple[Mapping[str, Shape], ...]:
        """The shapes of the inputs for each entry point of the library, by the inputs' names."""
        count = max((len(i.shapes) for i in self.inputs.values() if i.shapes), default=1)
        return tuple(
            {n: i.shapes[k] if i.shapes else i.shape or () for n, i in self.inputs.items()}
            for k in range(count)
        )

    @field_validator("inputs")
    @classmethod
    def _shapes_go_together(cls, value: Mapping[str, InputSpec]) -> Mapping[str, InputSpec]:
        several = {name: each.shapes for name, each in value.items() if each.shapes}
        found: Found = []
        for name, shapes in several.items():
            first, expected = next((n, len(s)) for n, s in several.items())
            if len(shapes) != expected:
                refusal = Refusal(
                    f"{len(shapes)} shapes here and {expected} of {quoted(first)}",
                    "the first ones go together, the second ones, and so on; an input whose shape "
                    'stays has one "shape".',
                )
                found.append(((name, "shapes"), refusal, shapes))
        together = list(zip(*several.values(), strict=False))
        if not found and len(set(together)) < len(together):
            name = next(iter(several))
            refusal = Refusal("the same shapes twice", "each entry point has shapes of its own.")
            found.append(((name, "shapes"), refusal, several[name]))
        if found:
            raise refused("inputs", found)
        return value

    def budgets_for(self, target: str) -> Budgets:
        """The budgets of a target: its own over the spec's.

        Raises:
            KeyError: the spec has no target of that name.
        """
        return self.budgets.overridden_by(self.targets[target].budgets)

    @model_validator(mode="before")
    @classmethod
    def _name_the_output(cls, value: Any) -> Any:
        """Take the output's name from the model's file where the spec gives none."""
        if not isinstance(value, Mapping):
            return value
        model, output = value.get("model"), value.get("output")
        named = _given(output, "name") is not None
        if isinstance(output, OutputSpec):
            output = output.model_dump(exclude={"name"})
        if named or not isinstance(model, str | Path) or not isinstance(output, Mapping | None):
            return value
        return {**value, "output": {**(output or {}), "name": c_identifier(Path(model).stem)}}

    @field_validator("quality")
    @classmethod
    def _slices_are_of_the_evaluation_data(
        cls, value: QualitySpec, info: ValidationInfo
    ) -> QualitySpec:
        data = info.data.get("data")
        if value.slices is not None and data is not None and data.evaluation is None:
            hint = 'name labelled samples, "data: {evaluation: eval.npz}", or remove the slices.'
            refusal = Refusal("slices need evaluation data", hint, at_key=True)
            raise refused("quality", [(("slices",), refusal, value.slices)])
        return value

    @field_validator("strategy")
    @classmethod
    def _strategies_have_samples(cls, value: Strategy, info: ValidationInfo) -> Strategy:
        data = info.data.get("data")
        if value != "shrink" and data is not None and not (data.train or data.calibration):
            raise Refusal(
                f"{quoted(value)} trains, and there are no samples to learn from",
                'name them, "data: {train: train.npz}".',
            )
        return value

    @field_validator("passes")
    @classmethod
    def _strategies_choose_passes(cls, value: Passes, info: ValidationInfo) -> Passes:
        strategy = info.data.get("strategy", "shrink")
        if value != "auto" and strategy != "shrink":
            raise Refusal(
                f"the strategy {quoted(strategy)} chooses the passes itself",
                'write "passes: auto", or "strategy: shrink" and a recipe with passes that train.',
            )
        return value

    @field_validator("budgets", mode="wrap")
    @classmethod
    def _quality_has_data(
        cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        return _with("budgets", _unjudged(value, info, ()), value, handler)

    @field_validator("targets", mode="wrap")
    @classmethod
    def _targets_are_whole(
        cls, value: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo
    ) -> Any:
        found: Found = []
        if isinstance(value, Mapping):
            if not value:
                found.append(((), Refusal("no target", 'write "targets: {host: {}}".'), value))
            for name, target in value.items():
                found += _nameless(str(name), target)
                found += _unjudged(_given(target, "budgets"), info, (str(name), "budgets"))
        return _with("targets", found, value, handler)


def _given(section: Any, field: str) -> Any:
    """What was written for a field, in a section that may not have been validated yet."""
    if isinstance(section, Section):
        return getattr(section, field) if field in section.model_fields_set else None
    return section.get(field) if isinstance(section, Mapping) else None


def _nameless(name: str, target: Any) -> Found:
    """A target whose name or kind is wrong or missing."""
    if not TARGET_NAME.fullmatch(name):
        hint = "use lower-case letters, digits, - and _; it becomes a folder's name."
        return [((name,), Refusal(f"{quoted(name)} is not a target name", hint, at_key=True), name)]
    written = isinstance(target, Mapping | TargetSpec | None)
    named = _given(target, "kind") is not None or _given(target, "board") is not None
    if written and name != "host" and not named:
        hint = (
            'say what it is, such as "kind: aarch64" or "board: raspberry-pi-4"; '
            "`budgetc targets` lists them."
        )
        return [((name, "kind"), Refusal('"kind" is missing', hint, at_key=True), target)]
    return []


def _unjudged(budgets: Any, info: ValidationInfo, loc: tuple[str, ...]) -> Found:
    """A quality budget that no evaluation data, or no slices, can judge."""
    data = info.data.get("data")
    if data is None:
        return []
    found: Found = []
    for place in (("quality",), ("max_regression", "quality")):
        budget = functools.reduce(_given, place, budgets)
        if budget is not None and data.evaluation is None:
            hint = 'name labelled samples, "data: {evaluation: eval.npz}", or remove the budget.'
            refusal = Refusal("a quality budget needs evaluation data", hint)
            found.append(((*loc, *place), refusal, budget))
    budget = _given(budgets, "quality")
    if found or budget is None:
        return found
    quality = info.data.get("quality")
    if quality is not None and quality.slices is None and _given(budget, "worst_slice") is not None:
        hint = 'say what a slice is, such as "quality: {slices: label}" for each class.'
        refusal = Refusal("a budget of the worst slice needs slices", hint, at_key=True)
        return [((*loc, "quality", "worst_slice"), refusal, budget)]
    return []


def _with(field: str, found: Found, value: Any, handler: Callable[[Any], Any]) -> Any:
    """The validated value; what was found beforehand is raised with what pydantic finds."""
    try:
        valid = handler(value)
    except ValidationError as error:
        if not found:
            raise
        for each in error.errors():
            refusal = each.get("ctx", {}).get("error") or Refusal(each["msg"])
            found.append((each["loc"], refusal, each["input"]))
    if found:
        raise refused(field, found)
    return valid
