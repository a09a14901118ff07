"""The types of a spec's fields: each reads what a user writes, and writes it back."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import (
    BeforeValidator,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import core_schema

from budgetc_specs.errors import Refusal, did_you_mean, quoted
from budgetc_specs.recipe import Recipe, Step, parse_recipe
from budgetc_specs.section import Found, refused
from budgetc_specs.units import (
    BYTES,
    NUMBER,
    SECONDS,
    format_bytes,
    format_percent,
    format_points,
    format_seconds,
    parse_bytes,
    parse_percent,
    parse_points,
    parse_seconds,
)


def in_document(info: ValidationInfo) -> bool:
    """Whether a file is being read, where numbers have units; in Python a field's name has."""
    return bool(info.context and "folder" in info.context)


def _measure(parse: Callable[[object], float]) -> BeforeValidator:
    def read(value: object, info: ValidationInfo) -> object:
        bare = isinstance(value, int | float) and not isinstance(value, bool)
        return value if bare and not in_document(info) else parse(value)

    return BeforeValidator(read)


def measure_schema(units: Iterable[str], *examples: str) -> WithJsonSchema:
    """The JSON Schema of a number with one of the units."""
    pattern = rf"^\s*{NUMBER}\s*({'|'.join(units)})\s*$"
    return WithJsonSchema({"type": "string", "pattern": pattern, "examples": list(examples)})


TIME_UNITS = (*SECONDS, "µs", "μs")

Bytes = Annotated[
    int,
    _measure(parse_bytes),
    PlainSerializer(lambda count: format_bytes(count, exact=True), when_used="json"),
    measure_schema((*BYTES, "kB"), "48 KiB", "4 MB"),
]
"""A size in bytes, written `48 KiB`."""

Cache = Annotated[
    int,
    _measure(lambda value: 0 if value == "none" else parse_bytes(value)),
    PlainSerializer(
        lambda count: format_bytes(count, exact=True) if count else "none", when_used="json"
    ),
]
"""The size of a cache, written as any other, or `none`."""

Seconds = Annotated[
    float,
    _measure(parse_seconds),
    PlainSerializer(lambda seconds: format_seconds(seconds, exact=True), when_used="json"),
    measure_schema(TIME_UNITS, "10 min", "30 s"),
]
"""A duration in seconds, written `10 min`."""

Points = Annotated[
    float,
    _measure(parse_points),
    PlainSerializer(lambda fraction: format_points(fraction, exact=True), when_used="json"),
    measure_schema(["pp"], "0.5 pp"),
]
"""A loss of quality as a fraction, written `0.5 pp` for 0.005."""

Percent = Annotated[
    float,
    _measure(parse_percent),
    PlainSerializer(lambda fraction: format_percent(fraction, exact=True), when_used="json"),
    measure_schema(["%"], "2 %"),
]
"""A growth as a fraction, written `2 %` for 0.02."""


Aim = Literal["quality", "latency", "size", "memory"]
"""What can be optimised."""

_AIMS = get_args(Aim)


def one_of(*known: str, later: Iterable[str] = ()) -> BeforeValidator:
    """Only the known words pass; those in `later` are refused as not supported yet."""
    choices = " or ".join(filter(None, [", ".join(known[:-1]), known[-1]]))
    planned = frozenset(later)

    def check(value: Any) -> Any:
        if isinstance(value, str) and value in known:
            return value
        if isinstance(value, str) and value in planned:
            raise Refusal(f"{quoted(value)} is not supported yet", f"choose {choices}.")
        hint = did_you_mean(value, known) if isinstance(value, str) else ""
        raise Refusal(f"{quoted(value)} is not {choices}", hint)

    return BeforeValidator(check)


Level = Annotated[Literal["error", "warning"], one_of("error", "warning")]
"""Whether a missed budget fails the build or is only reported."""


@dataclass(frozen=True)
class Matching:
    """Only text that fully matches the pattern passes."""

    pattern: str
    what: str
    repair: str

    def check(self, value: str) -> str:
        """The value, if it matches."""
        if not re.fullmatch(self.pattern, value):
            raise Refusal(f"{quoted(value)} is not {self.what}", self.repair)
        return value

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler(schema), "pattern": f"^({self.pattern})$"}


def read_passes(value: Any) -> Any:
    """`auto`, a recipe, its text, or a list of the texts of its steps."""
    if isinstance(value, Recipe) or value == "auto":
        return value
    if isinstance(value, str):
        return parse_recipe(value)
    if not isinstance(value, list | tuple):
        raise Refusal(
            f"{quoted(value)} is not a recipe", 'write "auto", or passes such as "fuse | quantize".'
        )
    steps: list[Step] = []
    found: Found = []
    for index, text in enumerate(value):
        try:
            if not isinstance(text, str):
                raise Refusal(
                    f"{quoted(text)} is not a pass", 'write a pass, such as "prune{ratio=0.3}".'
                )
            steps += parse_recipe(text).steps
        except Refusal as refusal:
            found.append(((index,), refusal, text))
    if found:
        raise refused("passes", found)
    return Recipe(tuple(steps))


_FUNCTION = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*:[A-Za-z_][A-Za-z0-9_]*")


def read_augmentations(value: Any) -> tuple[str, ...]:
    """Texts of augmentations, each a name with options or a function as module:function; or one text of several."""
    if isinstance(value, str):
        value = [each.strip() for each in value.split("|")] if value.strip() else []
    if not isinstance(value, list | tuple):
        raise Refusal(
            f"{quoted(value)} is not a list of augmentations",
            'write a list, such as "[shift, noise{deviation=0.1}]".',
        )
    found: Found = []
    texts: list[str] = []
    for index, text in enumerate(value):
        try:
            if not isinstance(text, str):
                raise Refusal(
                    f"{quoted(text)} is not an augmentation", 'write one, such as "shift{by=0.1}".'
                )
            if _FUNCTION.fullmatch(text):
                texts.append(text)
            else:
                texts += map(str, parse_recipe(text).steps)
        except Refusal as refusal:
            found.append(((index,), refusal, text))
    if found:
        raise refused("augment", found)
    return tuple(texts)


def read_objective(value: Any) -> tuple[Aim, ...]:
    """One aim, or several in the order of their importance."""
    several = isinstance(value, list | tuple)
    aims: list[Aim] = []
    found: Found = []
    for index, aim in enumerate(value if several else [value]):
        loc = (index,) if several else ()
        if aim in aims:
            again = Refusal(f"{quoted(aim)} stands here twice", "once is enough, where it counts.")
            found.append((loc, again, aim))
        elif isinstance(aim, str) and aim in _AIMS:
            aims.append(cast("Aim", aim))
        else:
            hint = did_you_mean(aim, _AIMS) if isinstance(aim, str) else ""
            known = ", ".join(_AIMS)
            refusal = Refusal(
                f"{quoted(aim)} cannot be optimised",
                hint or f"choose among {known}, or give several as a list.",
            )
            found.append((loc, refusal, aim))
    if several and not value:
        refusal = Refusal("an empty list is no objective", 'name one, such as "quality".')
        found.append(((), refusal, value))
    if found:
        raise refused("objective", found)
    return tuple(aims)


Objective = Annotated[
    tuple[Aim, ...],
    PlainValidator(read_objective),
    PlainSerializer(list, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": list(_AIMS)},
                {
                    "type": "array",
                    "items": {"enum": list(_AIMS)},
                    "minItems": 1,
                    "uniqueItems": True,
                },
            ]
        }
    ),
]
"""What is optimised, the most important first."""
