"""The JSON Schema of a result, draft-07: what `--json` prints and `result.json` holds.

The key `budgetc` is its version. It rises when a key is removed or changes its meaning; new keys may come at any time:
readers leave alone what they do not know.
"""

from typing import Any

VERSION = 1

_Schema = dict[str, Any]


def result_schema() -> _Schema:
    """A fresh copy of the schema; sizes are bytes, times seconds, qualities fractions."""
    top = _object(
        {
            "budgetc": {"const": VERSION, "description": "Version of this schema"},
            "name": _text("Name of the library"),
            "exit_code": _exit_code(),
            "targets": {"type": "array", "minItems": 1, "items": _target()},
        }
    )
    return {"$schema": "http://json-schema.org/draft-07/schema#", **top, "title": "budgetc result"}


def _target() -> _Schema:
    return _object(
        {
            "target": _text("Its name in the spec"),
            "capability": _object(
                {"target": _text("Kind"), "cpu": _text("LLVM's name"), "arch": _text("")}
            ),
            "exit_code": _exit_code(),
            "folder": _or_null(_text("Folder of the artefact; null where none was written")),
            "chosen": _or_null(_trial()),
            "certificate": _text("Why there is no artefact"),
            "baseline": {"type": "object"},
            "proof": _or_null({"type": "object"}),
            "search": _or_null(_object({"seconds": _number(), "candidates": _count()})),
            "pays": {"type": "array", "items": {"type": "object"}},
            "strategy": _or_null({"type": "object"}),
            "sensitivity": {"type": "array", "items": {"type": "object"}},
            "layers": {"type": "array", "items": {"type": "object"}},
            "trials": {"type": "array", "items": _trial()},
            "locked": _or_null(
                _object(
                    {
                        "cpu": _text("What measured when it was locked"),
                        "fingerprint": _text("Of that machine"),
                        "text": _text("The same in words; null where this run measured"),
                    }
                )
            ),
        }
    )


def _trial() -> _Schema:
    return _object(
        {
            "recipe": _text("What replays it"),
            "outcome": {
                "enum": [
                    *("feasible", "infeasible", "refused"),
                    *("out of reach", "wrong numbers", "not built"),
                ]
            },
            "reason": _text("Why it was refused or not built"),
            "origin": _text("Why it was looked at"),
            "stage": {"enum": ["built", "simulated"]},
            "predicted": _or_null({"type": "object"}),
            "weight_bytes": _count(),
            "verdicts": {"type": "array", "items": _verdict()},
            "measurement": _or_null(_measurement()),
            "agreement": _or_null({"type": "object"}),
            "parts": {"type": "object"},
            "ledger": {"type": "array", "items": {"type": "object"}},
            "schedules": {"type": "array", "items": {"type": "object"}},
        }
    )


def _verdict() -> _Schema:
    return _object(
        {
            "budget": {
                "enum": [
                    *("size", "memory", "latency", "quality", "worst_slice"),
                    *("size_regression", "memory_regression"),
                    *("latency_regression", "quality_regression"),
                ]
            },
            "limit": _number(),
            "measured": _or_null(_number()),
            "interval": _or_null(_pair()),
            "excess": _number(),
            "status": {"enum": ["PASS", "FAIL", "UNDECIDED", "WARN"]},
            "text": _text("One line that says why"),
            "unit": {
                "type": "string",
                "pattern": "^(bytes|seconds|fraction|metric|x .+)$",
                "description": "What limit, measured and interval count",
            },
            "doubt": _text("Why the data are too few to decide it"),
            "baseline": _or_null(_number()),
        }
    )


def _measurement() -> _Schema:
    size = {name: _count() for name in ("bytes", "text", "rodata", "data")}
    memory = {name: _count() for name in ("bytes", "arena", "static")}
    latency = {
        "statistic": _text("Such as p50"),
        "interval_s": _pair(),
        "runs": _count(),
        "seconds": {"type": "object", "additionalProperties": _number()},
    }
    quality = {
        "metric": _text("Its name"),
        "value": _number(),
        "reference": _number(),
        "drop": _number(),
        "interval": _pair(),
        "value_interval": _pair(),
        "samples": _count(),
        "slices": {"type": "array", "items": {"type": "object"}},
    }
    return _object(
        {
            "executed": {"type": "boolean"},
            "emulated": {"type": "boolean"},
            "device": _text("The device that ran it; empty for this machine"),
            "reason": _text("Why it was not executed"),
            "size": _object(size),
            "memory": _object(memory),
            "latency": _or_null(_object(latency)),
            "quality": _or_null(_object(quality)),
        }
    )


def _object(properties: dict[str, _Schema]) -> _Schema:
    return {"type": "object", "required": list(properties), "properties": properties}


def _exit_code() -> _Schema:
    return {"type": "integer", "minimum": 0, "maximum": 255, "description": "0, or why not"}


def _text(description: str) -> _Schema:
    return {"type": "string", **({"description": description} if description else {})}


def _number() -> _Schema:
    return {"type": "number"}


def _count() -> _Schema:
    return {"type": "integer", "minimum": 0}


def _pair() -> _Schema:
    return {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}


def _or_null(schema: _Schema) -> _Schema:
    return {"anyOf": [schema, {"type": "null"}]}
