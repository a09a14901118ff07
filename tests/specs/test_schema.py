"""The JSON Schema: draft-07, complete, of one mind with the models, as is the reference page."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from budgetc_specs.document import load_spec
from budgetc_specs.schema import json_schema
from budgetc_specs.source import Source
from budgetc_specs.spec import Spec
from budgetc_specs.yaml_source import parse_yaml
from jsonschema import Draft7Validator

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "spec.md").read_text(encoding="utf-8")
VALIDATOR = Draft7Validator(json_schema())


def plain(text: str) -> Any:
    return parse_yaml(Source.of("f", text), text)[0].plain()


def properties(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of the schema by its path; alternatives share theirs."""
    if isinstance(schema, list):
        for each in schema:
            yield from properties(each, path)
    if not isinstance(schema, dict):
        return
    yield from properties(schema.get("anyOf"), path)
    yield from properties(schema.get("additionalProperties"), f"{path}.NAME")
    for name, each in schema.get("properties", {}).items():
        inner = f"{path}.{name}".removeprefix(".")
        yield inner, each
        yield from properties(each, inner)


def test_it_is_draft_7_and_stands_alone() -> None:
    schema = json_schema()
    assert schema["$schema"] == "http://json-schema.org/draft-07/schema#"
    Draft7Validator.check_schema(schema)
    assert "$ref" not in str(schema)
    assert "$defs" not in schema
    json_schema()["properties"].clear()
    assert json_schema() == schema


def test_every_field_of_the_spec_is_there_and_described() -> None:
    found = dict(properties(json_schema()))
    assert set(Spec.model_fields) <= set(found)
    assert {"budgets.size.max", "targets.NAME.budgets.latency.runs", "inputs.NAME.shape"} <= set(
        found
    )
    assert [path for path, each in found.items() if len(each.get("description", "")) < 10] == []


def test_every_field_is_on_the_reference_page() -> None:
    paths = {path for path, _ in properties(json_schema()) if ".budgets." not in path}
    level = re.compile(r"budgets\.(max_regression\.)?\w+\.level")
    paths = {level.sub("budgets.*.level", path) for path in paths}
    assert [path for path in sorted(paths) if f"`{path}`" not in PAGE] == []


@pytest.mark.parametrize("name", ["mnist", "animals"])
def test_the_examples_are_valid(name: str) -> None:
    text = (ROOT / "specs" / "examples" / name / "spec.yaml").read_text(encoding="utf-8")
    VALIDATOR.validate(plain(text))


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL))
def test_what_the_reference_page_shows_is_valid_and_can_be_loaded(
    text: str, tmp_path: Path
) -> None:
    value = plain(text)
    data = {"calibration": "some.npz", "evaluation": "test.npz"}
    others = ["valid.npz", "train.npz", "groups.npz", "model.lock"]
    VALIDATOR.validate({"model": "m.onnx", **value})
    for name in ("m.onnx", "keywords.onnx", "models/keywords.onnx", *data.values(), *others):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    rest = ["model=m.onnx"] if "model" not in value else []
    rest += [f"data.{key}={path}" for key, path in data.items() if "data" not in value]
    (tmp_path / "spec.yaml").write_text(text, encoding="utf-8")
    load_spec(tmp_path / "spec.yaml", rest)


# Values that the schema and the models must agree on.
GOOD = [
    {},
    {"budgets": {"size": "48 KiB", "memory": {"max": "4 MB"}, "latency": "200 us"}},
    {"budgets": {"latency": {"max": "1.0 x onnxruntime-int8", "statistic": "mean"}, "size": None}},
    {"budgets": {"latency": "0.9×onnxruntime"}},
    {"data": {"evaluation": "e.npz"}, "budgets": {"quality": "0.5 pp"}},
    {"data": {"evaluation": "e.npz"}, "budgets": {"quality": {"min": 0.97, "level": "warning"}}},
    {"targets": {"host": {}, "pi": {"kind": "aarch64", "budgets": {"latency": "2 ms"}}}},
    {"passes": "fuse | quantize"},
    {"passes": ["fuse", "quantize"]},
    {"search": {"time": "90 s", "trials": 0, "tuning": "30 s"}},
    {"search": {"tuning": None}},
    {"output": {"name": "mnist", "kind": "static"}},
    {"inputs": {"x:0": {"shape": []}}},
    {"quality": {"metric": "pkg.mod:f1"}},
    {"quality": {"metric": "top{k=3}"}},
    {"data": {"evaluation": "e.npz", "validation": "v.npz"}, "quality": {"slices": "label"}},
    {
        "data": {"evaluation": "e.npz"},
        "quality": {"slices": "groups.npz"},
        "budgets": {"quality": {"min": 0.9, "worst_slice": "2 pp"}},
    },
    {"search": {"candidates": 3, "executor": "local:2"}},
    {"search": {"executor": "tcp://scheduler.lan:8786"}},
    {"budgets": {"max_regression": {"baseline": "a.lock", "size": "2 %", "latency": "10%"}}},
    {"budgets": {"max_regression": {"baseline": "a.lock", "memory": {"max": "0 %"}}}},
    {
        "data": {"evaluation": "e.npz"},
        "budgets": {"max_regression": {"baseline": "a.lock", "quality": "0.2 pp"}},
    },
    {
        "learning": {
            "teacher": "m.onnx",
            "augment": ["shift{by=0.1}", "mine:noisy"],
            "time": "2 min",
        }
    },
    {"data": {"train": "t.npz"}, "learning": {"augment": "shift | noise"}},
    {"objective": "size"},
    {"objective": ["latency", "memory"]},
]
BAD = [
    {"budgets": {"size": 48}},
    {"data": {"train": "t.csv"}},
    {"learning": {"augment": 3}},
    {"budgets": {"size": "48"}},
    {"budgets": {"max_regression": {"size": "2 %"}}},
    {"budgets": {"max_regression": {"baseline": "a.lock", "size": "2 KiB"}}},
    {"budgets": {"max_regression": {"baseline": "a.lock", "quality": "2 %"}}},
    {"budgets": {"size": "48 kib"}},
    {"budgets": {"latency": "5 KiB"}},
    {"budgets": {"latency": "1 x openvino"}},
    {"budgets": {"latency": {"max": "1 ms", "statistic": "p95"}}},
    {"budgets": {"sice": "1 B"}},
    {"budgets": {"memory": {"level": "error"}}},
    {"data": {"evaluation": "e.csv"}},
    {"targets": {}},
    {"targets": {"Pi 4": {"kind": "aarch64"}}},
    {"targets": {"host": {"threads": 0}}},
    {"targets": {"host": {"runner": "pi"}}},
    {"targets": {"host": {"cpu": "-x"}}},
    {"strategy": "shrink-learn"},
    {"objective": "speed"},
    {"objective": []},
    {"objective": ["size", "size"]},
    {"search": {"candidates": 0}},
    {"search": {"executor": "dask"}},
    {"search": {"executor": "tcp://host"}},
    {"quality": {"slices": "groups"}},
    {"data": {"validation": "v.csv"}},
    {"passes": {"fuse": {}}},
    {"search": {"trials": -1}},
    {"search": {"time": 600}},
    {"search": {"tuning": 60}},
    {"search": {"tuning": "5 mins"}},
    {"output": {"name": "5-x"}},
    {"output": {"kind": "wheel"}},
    {"inputs": {"x": {"shape": [0]}}},
    {"inputs": {"x": {}}},
    {"quality": {"metric": "a b"}},
    {"budgetc": 2},
    {"model": ""},
]


@pytest.mark.parametrize("value", GOOD)
def test_both_accept(value: dict[str, Any]) -> None:
    VALIDATOR.validate({"model": "m.onnx", **value})
    Spec.model_validate({"model": "m.onnx", **value}, by_alias=True, by_name=False)


@pytest.mark.parametrize("value", BAD)
def test_both_refuse(value: dict[str, Any], tmp_path: Path) -> None:
    whole = {"model": "m.onnx", **value}
    assert not VALIDATOR.is_valid(whole)
    with pytest.raises(ValueError, match="error"):
        Spec.model_validate(whole, context={"folder": tmp_path}, by_alias=True, by_name=False)


def test_defaults_are_valid_under_their_own_schemas() -> None:
    defaults = [each for _, each in properties(json_schema()) if "default" in each]
    assert defaults
    for each in defaults:
        Draft7Validator(each).validate(each["default"])
