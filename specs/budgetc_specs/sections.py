"""The sections of a spec: inputs, data, learning, quality, targets, search and output."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.config import JsonDict

from budgetc_specs.board import BoardName, Cpu, Kind, RunnerAddress
from budgetc_specs.budgets import Budgets
from budgetc_specs.errors import Refusal, did_you_mean, quoted
from budgetc_specs.fields import Matching, Seconds, one_of, read_augmentations
from budgetc_specs.files import ARCHIVE_SCHEMA, Archive, File, read_archive
from budgetc_specs.naming import IDENTIFIER, check_c_identifier
from budgetc_specs.section import Section
from budgetc_specs.units import format_seconds


def _one_shape(value: Any) -> Any:
    if isinstance(value, list | tuple) and any(isinstance(each, list | tuple) for each in value):
        raise Refusal("several shapes are given as one", 'write "shapes" for "shape".')
    return value


Dimension = Annotated[int, Field(strict=True, ge=1, le=2**31 - 1)]
Shape = Annotated[tuple[Dimension, ...], BeforeValidator(_one_shape)]

Metric = Annotated[
    str,
    Matching(
        r"[a-z][a-z0-9_-]*(\{[^{}|]*\})?|[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*",
        "a metric",
        'name an installed metric, such as "top1" or "top{k=3}", or a function, such as '
        '"mymetrics:score".',
    ),
]


def _read_slices(value: Any, info: ValidationInfo) -> Any:
    """The name of an array of the evaluation data, or an archive."""
    if not isinstance(value, str) or value.lower().endswith(".npz"):
        return read_archive(value, info)
    if value in ("label", "slice"):
        return value
    hint = did_you_mean(value, ("label", "slice"))
    known = 'write "slice" or "label", arrays of the evaluation data, or name an .npz archive.'
    raise Refusal(f"{quoted(value)} does not say what slices there are", f"{hint} {known}".strip())


Slices = Annotated[
    Literal["label", "slice"] | Path,
    PlainValidator(_read_slices),
    WithJsonSchema({"anyOf": [{"enum": ["label", "slice"]}, ARCHIVE_SCHEMA]}),
]
_SCHEDULER = re.compile(
    r"tcp://(?:[A-Za-z0-9][A-Za-z0-9_.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\]):([0-9]{1,5})"
)
_EXECUTOR_HELP = (
    'write "local", "local:4" for four processes, or the address of a Dask scheduler, such as '
    '"tcp://host:8786".'
)


def _port_exists(value: str) -> str:
    scheduler = _SCHEDULER.fullmatch(value)
    if scheduler and not 1 <= int(scheduler[1]) <= 65535:
        raise Refusal(f"{quoted(scheduler[1])} is not a port", "ports go from 1 to 65535.")
    return value


Executor = Annotated[
    str,
    Matching(rf"local(?::[1-9][0-9]{{0,2}})?|{_SCHEDULER.pattern}", "an executor", _EXECUTOR_HELP),
    AfterValidator(_port_exists),
]
OutputKind = Annotated[
    Literal["shared", "static"],
    one_of(
        "shared",
        "static",
        later=("object", "source", "header", "firmware", "executable", "wheel", "wasm"),
    ),
]


class InputSpec(Section):
    """What the model leaves open about one of its inputs."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["shape"]}, {"required": ["shapes"]}]}
    )

    shape: Shape | None = Field(
        default=None, description="The static shape, batch included, such as [1, 3, 224, 224]"
    )
    shapes: Annotated[tuple[Shape, ...], Field(min_length=1)] | None = Field(
        default=None, description="Several such shapes; each gets an entry point of its own"
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.shape is None) == (self.shapes is None):
            raise Refusal(
                "an input has a shape, or several",
                'write "shape: [1, 3, 224, 224]", or "shapes: [[1, 3, 224, 224], [4, 3, 224, 224]]".',
            )
        return self


class DataSpec(Section):
    """The samples: .npz archives of one array per input, samples on axis 0, and `label`."""

    calibration: Archive | None = Field(
        default=None,
        description="Samples that quantization takes its ranges from; "
        "with labels, the search judges quality on them where there is no validation data",
    )
    validation: Archive | None = Field(
        default=None,
        description="Samples that the search judges quality on while it chooses, "
        "so that it never sees the evaluation data",
    )
    train: Archive | None = Field(
        default=None,
        description="Samples that passes learn from, with labels where there are any; "
        "by default the calibration data",
    )
    evaluation: Archive | None = Field(
        default=None, description="Samples that quality is judged on; nothing is tuned on them"
    )


class LearningSpec(Section):
    """What passes that train, such as distill, are told."""

    teacher: File | None = Field(
        default=None,
        description="An ONNX model to learn from, with the inputs and outputs of the model; "
        "by default the model itself, as it is before any pass",
    )
    augment: Annotated[
        tuple[str, ...],
        PlainValidator(read_augmentations),
        PlainSerializer(list, when_used="json"),
        WithJsonSchema(
            {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
        ),
    ] = Field(
        default=(),
        description="Changes of the samples that leave what is right about them, in their order: "
        'flip, shift, crop, noise, scale, erase, mixup, with options as in "shift{by=0.1}", '
        "or functions as module:function",
    )
    time: Seconds = Field(
        default=300.0,
        gt=0,
        allow_inf_nan=False,
        json_schema_extra={"default": "5 min"},
        description="Longest that one pass may train, and that a strategy may train in all, "
        'such as "5 min"',
    )


class QualitySpec(Section):
    """How the quality of an answer is measured."""

    metric: Metric = Field(
        default="top1",
        description="The metric: the name of an entry point in budgetc.metrics, or module:function",
    )
    slices: Slices | None = Field(
        default=None,
        description="Groups of evaluation samples that quality is also judged on one by one: "
        "label, so that each class is a group; slice, an array of that name beside the labels; "
        "or an archive of its own with the array `slice`",
    )


class TargetSpec(Section):
    """A piece of hardware to compile for."""

    kind: Kind = Field(
        default="host",
        description="The kind of hardware, one of `budgetc targets`; "
        "only the target named host, or one with a board, may leave it out",
    )
    cpu: Cpu | None = Field(
        default=None, description="LLVM's name of the CPU; by default the kind's own choice"
    )
    board: BoardName | None = Field(
        default=None,
        description="Instead of kind and cpu: a board, one of `budgetc targets`, or a file that describes "
        "one; its flash and RAM are budgets of this target that need not be written",
    )
    threads: int = Field(
        default=1, strict=True, ge=1, le=1024, description="Threads that one inference may use"
    )
    budgets: Budgets = Field(
        default=Budgets(),
        description="Budgets of this target; each replaces the spec's own of that name",
    )
    runner: RunnerAddress | None = Field(
        default=None,
        description="A device on which kernels are tuned and the artefact is run and timed, such as "
        "ssh://pi@raspberrypi.local or rpc+tracker://127.0.0.1:9190/pi4; "
        "by default this machine, or an emulator on it",
    )

    @model_validator(mode="after")
    def _a_board_says_it_all(self) -> Self:
        for field in ("kind", "cpu"):
            if self.board is not None and field in self.model_fields_set:
                raise Refusal(
                    f"both of board and {field} given", f"a board has its own; remove the {field}."
                )
        return self


class SearchSpec(Section):
    """How much effort goes into finding the artefact."""

    trials: int = Field(
        default=0,
        strict=True,
        ge=0,
        le=1_000_000,
        description="Schedules measured for each distinct kernel at most; "
        "0 takes the default schedules, or sets no limit where `tuning` does",
    )
    time: Seconds = Field(
        default=600.0,
        gt=0,
        allow_inf_nan=False,
        json_schema_extra={"default": "10 min"},
        description='Longest that the search may take, such as "10 min"',
    )
    tuning: Seconds | None = Field(
        default=None,
        gt=0,
        allow_inf_nan=False,
        description="Longest that measuring schedules may take for one target, "
        'such as "5 min"; the kernels that take most of the time come first',
    )
    seed: int = Field(
        default=0,
        strict=True,
        ge=0,
        le=2**32 - 1,
        description="Seed of everything that is drawn at random",
    )
    candidates: int = Field(
        default=40,
        strict=True,
        ge=1,
        le=1_000_000,
        description="Candidates that the search looks at, at most",
    )
    executor: Executor = Field(
        default="local",
        description="Where candidates are tried: local, on this machine; local:4, in four processes "
        "of it; or the address of a Dask scheduler, such as tcp://host:8786",
    )

    @field_validator("tuning")
    @classmethod
    def _tuning_fits_the_search(cls, tuning: float | None, info: ValidationInfo) -> float | None:
        """Tuning is a part of the search, so that it cannot take longer."""
        time = info.data.get("time")
        if tuning is not None and time is not None and tuning > time:
            longest = format_seconds(time, exact=True)
            hint = (
                f'allow the search more, such as "time: {format_seconds(2 * tuning, exact=True)}".'
            )
            said = quoted(format_seconds(tuning, exact=True))
            raise Refusal(f"{said} is longer than the whole search may take, {longest}", hint)
        return tuning


def _derived(schema: JsonDict) -> None:
    del schema["default"]
    schema["pattern"] = f"^{IDENTIFIER.pattern}$"


class OutputSpec(Section):
    """What is written, and what it is called."""

    name: Annotated[str, BeforeValidator(check_c_identifier)] = Field(
        default="",
        json_schema_extra=_derived,
        description="Name of the library and prefix of its C API, a C identifier; "
        "by default made of the model's file name",
    )
    kind: OutputKind = Field(
        default="shared",
        description="A shared library (.so) or a static one (.a), which firmware always takes",
    )
