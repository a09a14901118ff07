"""The result's JSON as typed values: what the report reads, every key of which may be absent."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from budgetc_specs.errors import ModelError, SpecError, quoted
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from budgetc.stamp import RESULT

_MOST_BYTES = 256 << 20
_AGAIN = "compile the model again, or give the file that `budgetc compile` wrote."


def _finite(value: object) -> object:
    """NaN and infinity, which Python's JSON knows, are no figures."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _figures_only(value: object) -> object:
    """Without the entries of a mapping that are no figures."""
    if not isinstance(value, Mapping):
        return value
    return {k: v for k, v in value.items() if v is not None and _finite(v) is not None}


def _word(value: object) -> object:
    """A value that may be a word or a number, as people write it."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, bool | int | float) else value


Figure = Annotated[float | None, BeforeValidator(_finite)]
Figures = Annotated[Mapping[str, float], BeforeValidator(_figures_only)]
Word = Annotated[str, BeforeValidator(_word)]
Count = Annotated[float, BeforeValidator(lambda value: _finite(value) or 0)]
Interval = tuple[Figure, Figure] | None


class _Part(BaseModel):
    """A part of the JSON. Keys that are unknown are left alone; `null` is as good as absent."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: object) -> object:
        if isinstance(value, Mapping):
            return {k: v for k, v in value.items() if v is not None}
        return value


class Verdict(_Part):
    """The verdict on one budget; limit, measured and interval count its unit."""

    budget: str = ""
    limit: Figure = None
    measured: Figure = None
    interval: Interval = None
    excess: Count = 0.0
    status: str = "UNDECIDED"
    text: str = ""
    unit: str = ""
    doubt: str = ""

    @property
    def holds(self) -> bool:
        """Whether the artefact may be handed over, as far as this budget goes."""
        return self.status in {"PASS", "WARN"}


class Latency(_Part):
    """Seconds of the library (`ours`) and of its peers."""

    statistic: str = "p50"
    interval_s: Interval = None
    runs: int | None = None
    seconds: Figures = Field(default_factory=dict)


class Slice(_Part):
    """The metric of the library and of the float model on one group of samples."""

    slice: str = ""
    value: Figure = None
    reference: Figure = None
    drop: Figure = None
    interval: Interval = None
    samples: int | None = None
    judged: bool = True


class Quality(_Part):
    """The metric of the library and of the float model."""

    metric: str = ""
    value: Figure = None
    reference: Figure = None
    drop: Figure = None
    interval: Interval = None
    samples: int | None = None
    slices: tuple[Slice, ...] = ()


class Measurement(_Part):
    """What was measured of a library that was built."""

    executed: bool = True
    emulated: bool = False
    device: str = ""
    reason: str = ""
    instructions: int | None = None
    uncounted: str = ""
    size: Figures = Field(default_factory=dict)
    memory: Figures = Field(default_factory=dict)
    latency: Latency | None = None
    quality: Quality | None = None


class Predicted(_Part):
    """What is expected of a candidate that was not built."""

    size: Figure = None
    memory: Figure = None
    latency: Figure = None
    latency_interval: Interval = None
    quality_drop: Figure = None


class Note(_Part):
    """What a pass did to one node, or refused to do."""

    kind: str = ""
    node: str = ""
    text: str = ""


class Entry(_Part):
    """What one pass did, and the weights after it."""

    step: str = Field(default="", alias="pass")
    modified: bool = False
    weight_bytes: Figure = None
    parameters: Figure = None
    notes: tuple[Note, ...] = ()


class Case(_Part):
    """One kind of inputs, and on how many of them the library was compared."""

    name: str = ""
    inferences: Count = 0


class Agreement(_Part):
    """How the library's outputs compare with a reference."""

    reference: str = ""
    cases: tuple[Case, ...] = ()


class Slot(_Part):
    """A value in the arena, from its first call to its last."""

    name: str = ""
    offset: Count = 0
    bytes: Count = 0
    first: Count = 0
    last: Count = 0


class Tuned(_Part):
    """How schedules of kernels were chosen, in words, and what went otherwise than planned."""

    how: str = ""
    notes: tuple[str, ...] = ()


class Parts(_Part):
    """What a library is made of."""

    arena: Figure = None
    arena_lower_bound: Figure = None
    arena_order_bound: Figure = None
    arena_map: tuple[Slot, ...] = ()
    kernels: Figure = None
    calls: Figure = None
    macs: Figure = None
    tuned: Tuned | None = None


class Trial(_Part):
    """One candidate, simulated or built."""

    recipe: str = ""
    outcome: str = ""
    reason: str = ""
    origin: str = ""
    stage: str = ""
    weight_bytes: Figure = None
    predicted: Predicted | None = None
    measurement: Measurement | None = None
    verdicts: tuple[Verdict, ...] = ()
    agreement: Agreement | None = None
    parts: Parts = Parts()
    ledger: tuple[Entry, ...] = ()

    @property
    def built(self) -> bool:
        """Whether a library was linked."""
        return self.stage == "built" or self.measurement is not None

    @property
    def kept(self) -> bool:
        """Whether it keeps every budget."""
        return self.outcome == "feasible"

    @property
    def excess(self) -> float:
        """How far it is from keeping all budgets: the largest part by which one is passed."""
        return max((v.excess for v in self.verdicts if not v.holds), default=0.0)


class Point(_Part):
    """The nearest point where one budget is relaxed."""

    budget: str = ""
    unit: str = ""
    limit: Figure = None
    reached: Figure = None
    text: str = ""
    recipe: str = ""
    trial: int | None = None


class Bound(_Part):
    """What no candidate can pass, and why."""

    budget: str = ""
    bound: Figure = None
    unit: str = ""
    why: str = ""


class Proof(_Part):
    """Why no candidate keeps every budget."""

    binding: tuple[str, ...] = ()
    text: str = ""
    points: tuple[Point, ...] = ()
    bounds: tuple[Bound, ...] = ()
    stopped: str = ""


class Search(_Part):
    """How the search went."""

    seed: int | None = None
    objective: str = ""
    candidates: Figure = None
    simulated: Figure = None
    built: Figure = None
    seconds: Figure = None
    stopped: str = ""
    validation: str = ""


class Payment(_Part):
    """The figures with a pass and without it."""

    step: str = Field(default="", alias="pass")
    kept: bool = True
    text: str = ""
    with_: Figures = Field(default_factory=dict, alias="with")
    without: Figures = Field(default_factory=dict)


class Effect(_Part):
    """What one level of one part costs."""

    family: str = ""
    part: str = ""
    level: Word = ""
    drop: Figure = None
    error: Figure = None
    bytes_saved: Figure = None


class Layer(_Part):
    """One layer of the library."""

    layer: str = ""
    operator: str = ""
    kernel: str = ""
    bits: Word = ""
    sparsity: Figure = None
    weight_bytes: Figure = None
    macs: Figure = None
    seconds: Figure = None
    sensitivity: Figure = None


class Baseline(_Part):
    """What onnxruntime makes of the model."""

    metric: str = ""
    quality: Figure = None
    samples: Figure = None
    model_bytes: Figures = Field(default_factory=dict)


class Reached(_Part):
    """The figures of a model after a step of a strategy; it was not built."""

    quality: Figure = None
    drop: Figure = None
    size: Figure = None
    memory: Figure = None
    latency: Figure = None


class StrategyStep(_Part):
    """One step of a strategy's way."""

    kind: str = ""
    text: str = ""
    recipe: str = ""
    epochs: Count = 0
    reached: Reached | None = None


class StrategyTrial(_Part):
    """One training of a strategy."""

    phase: str = ""
    rung: Count = 0
    recipe: str = ""
    epochs: Count = 0
    reached: Reached | None = None
    went_on: bool = False
    reason: str = ""


class Strategy(_Part):
    """How a strategy that trains went."""

    name: str = ""
    trained: Figure = None
    judged_on: str = ""
    steps: tuple[StrategyStep, ...] = ()
    trials: tuple[StrategyTrial, ...] = ()
    notes: tuple[str, ...] = ()


class Locked(_Part):
    """That the figures are those of a lock, in words."""

    text: str = ""


class Target(_Part):
    """The outcome for one target."""

    target: str = ""
    capability: Mapping[str, Any] = Field(default_factory=dict)
    exit_code: int = 0
    folder: str = ""
    baseline: Baseline = Baseline()
    chosen: Trial | None = None
    certificate: str = ""
    proof: Proof | None = None
    search: Search | None = None
    strategy: Strategy | None = None
    pays: tuple[Payment, ...] = ()
    sensitivity: tuple[Effect, ...] = ()
    layers: tuple[Layer, ...] = ()
    trials: tuple[Trial, ...] = ()
    locked: Locked | None = None

    @property
    def nearest(self) -> Trial | None:
        """The measured candidate that misses its budgets by least."""
        measured = [t for t in self.trials if t.measurement and t.outcome == "infeasible"]
        return min(measured, key=lambda t: t.excess, default=None)

    @property
    def shown(self) -> Trial | None:
        """What the report is about: what was handed over, or what came nearest to it."""
        return self.chosen or self.nearest

    @property
    def shown_index(self) -> int | None:
        """The place of `shown` among the trials, whose copy of it may lack what `chosen` has."""
        shown = self.shown
        if shown is None:
            return None
        alike = (i for i, t in enumerate(self.trials) if t == shown)
        same = (i for i, t in enumerate(self.trials) if t.recipe == shown.recipe and t.built)
        return next(alike, next(same, None))


class Document(_Part):
    """A whole result.

    `spec`, `command`, `sources` (digests by role) and `tools` (versions by name) say how to get it again.
    """

    budgetc: Literal[1]
    name: str = ""
    exit_code: int = 0
    targets: tuple[Target, ...] = ()
    spec: str = ""
    command: str = ""
    sources: Mapping[str, str] = Field(default_factory=dict)
    tools: Mapping[str, str] = Field(default_factory=dict)


def parse_result(value: object, source: str = RESULT) -> Document:
    """A result's JSON value as a document.

    Raises:
        ModelError: it is no result; the message names `source` and the first keys that are wrong.
    """
    try:
        return Document.model_validate(value)
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False, include_context=False)
        texts = [f"{'.'.join(map(str, e['loc'])) or 'all of it'}: {e['msg']}" for e in wrong[:3]]
        more = f", and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ModelError(
            f"{source} is not the result of a compilation: {'; '.join(texts)}{more}", _AGAIN
        ) from error


def read_result(path: Path) -> tuple[dict[str, Any], Path]:
    """The JSON of a result, and the file it stands in.

    Args:
        path: the file, or the output folder that holds it.

    Raises:
        SpecError: there is no such file.
        ModelError: it holds no JSON object, or one that is too large to be a result.
    """
    file = path / RESULT if path.is_dir() else path
    if not file.is_file():
        above = path.parent / RESULT
        hint = f'did you mean "{path.parent}"?' if path.is_dir() and above.is_file() else ""
        raise SpecError.of(
            f"{quoted(file)} does not exist",
            hint or "give the output folder of `budgetc compile`, or the result.json in it.",
        )
    if file.stat().st_size > _MOST_BYTES:
        raise ModelError(f"{file} is larger than any result ({_MOST_BYTES >> 20} MiB)", _AGAIN)
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{file} holds no JSON: {error}", _AGAIN) from error
    if not isinstance(value, dict):
        raise ModelError(f"{file} holds no JSON object", _AGAIN)
    return value, file
