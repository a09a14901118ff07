"""The base of every section of a spec: a frozen mapping whose errors speak to the user."""

from typing import Any, ClassVar, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from budgetc_specs.errors import Refusal, did_you_mean, printable, quoted

_KINDS = {
    "string_type": "text",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "tuple_type": "a list",
    "mapping_type": "a mapping",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
_BOUNDS = {
    "greater_than": ("not above", "gt"),
    "greater_than_equal": ("below", "ge"),
    "less_than_equal": ("above", "le"),
}


Found = list[tuple[tuple[int | str, ...], Refusal, Any]]
"""Refusals, each with its location below the field that raises them, and the refused value."""


class Section(BaseModel):
    """A frozen mapping of the spec that knows no fields but its own.

    Every error in the `ValidationError` that it raises carries a `Refusal` as `ctx["error"]`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    shorthand: ClassVar[str | None] = None
    """The field that a plain value, written instead of the mapping, stands for."""

    @model_validator(mode="wrap")
    @classmethod
    def _in_plain_words(cls, value: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        if value is None:  # a section whose lines are all commented out
            value = {}
        if cls.shorthand and isinstance(value, str | int | float):
            # As text, so that a bare number is told that its unit is missing.
            value = {cls.shorthand: value if isinstance(value, str) else str(value)}
        try:
            return handler(value)
        except ValidationError as error:
            found = [(each["loc"], cls._refusal(each), each["input"]) for each in error.errors()]
            raise refused(cls.__name__, found) from None

    @classmethod
    def _refusal(cls, error: Any) -> Refusal:
        """What pydantic found, in the words of a spec's author."""
        loc, kind, value = error["loc"], error["type"], error["input"]
        context = error.get("ctx", {})
        if isinstance(context.get("error"), Refusal):
            return context["error"]  # type: ignore[no-any-return]
        fields = {
            str(field.validation_alias or name): field for name, field in cls.model_fields.items()
        }
        all_fields = f"the fields here are {', '.join(fields)}."
        name = printable(str(loc[-1])) if loc else ""
        if kind == "extra_forbidden":
            hint = did_you_mean(name, fields)
            return Refusal(f'"{name}" is not a field here', hint or all_fields, at_key=True)
        about = f"{fields[loc[0]].description}." if loc and loc[0] in fields else all_fields
        if kind == "missing":
            return Refusal(f'"{name}" is missing', about, at_key=True)
        if kind in _BOUNDS:
            relation, bound = _BOUNDS[kind]
            limit = str(context[bound]).removesuffix(".0")
            return Refusal(f"{quoted(value)} is {relation} {limit}", about)
        if kind in _KINDS:
            return Refusal(f"{quoted(value)} is not {_KINDS[kind]}", about)
        return Refusal(f"{quoted(value)}: {error['msg']}", about)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> JsonSchemaValue:
        """The schema of the mapping, or of the plain value that it may be written as."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        if cls.shorthand is None:
            return schema
        return {"anyOf": [schema["properties"][cls.shorthand], schema]}


def refused(title: str, found: Found) -> ValidationError:
    """A pydantic error of several refusals at once."""
    return ValidationError.from_exception_data(
        title,
        [
            InitErrorDetails(
                type=PydanticCustomError(
                    "spec", "{text}", {"text": str(refusal), "error": refusal}
                ),
                loc=loc,
                input=value,
            )
            for loc, refusal, value in found
        ],
    )
