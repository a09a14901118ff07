"""The JSON Schema of a spec, draft-07: the one that editors of YAML, JSON and TOML understand."""

from typing import Any

from budgetc_specs.spec import Spec

DIALECT = "http://json-schema.org/draft-07/schema#"


def json_schema() -> dict[str, Any]:
    """A fresh copy of the schema; every field is described, and there are no references."""
    schema = Spec.model_json_schema(by_alias=True, mode="validation")
    definitions = schema.pop("$defs", {})
    inlined: dict[str, Any] = _inlined(schema, definitions)
    return {"$schema": DIALECT, **inlined, "title": "budgetc spec"}


def _inlined(part: Any, definitions: dict[str, Any]) -> Any:
    """The schema without references: draft-07 ignores descriptions that stand beside a `$ref`."""
    if isinstance(part, list):
        return [_inlined(each, definitions) for each in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        target = definitions[part["$ref"].removeprefix("#/$defs/")]
        beside = {key: value for key, value in part.items() if key != "$ref"}
        return _inlined({**target, **beside}, definitions)
    whole = {key: _inlined(value, definitions) for key, value in part.items()}
    return _tidied(whole)


def _tidied(schema: dict[str, Any]) -> dict[str, Any]:
    """One schema without what pydantic adds and no reader needs."""
    if isinstance(schema.get("title"), str):
        del schema["title"]  # the key in other words
    if isinstance(schema.get("description"), str):
        schema["description"] = schema["description"].split("\n\n")[0]
    if isinstance(schema.get("default", 0), dict | None):
        del schema["default"]  # an empty section, or nothing
    for bound in ("ge", "gt", "le", "lt"):  # of the number, where the schema is of its text
        schema.pop(bound, None)
    if isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [
            alternative
            for each in schema["anyOf"]
            for alternative in (each["anyOf"] if set(each) == {"anyOf"} else [each])
        ]
    return schema
