"""`budgetc schema` prints a schema that takes the examples and refuses what is no spec."""

import json
from pathlib import Path

import jsonschema
import pytest
from budgetc.cli.main import app
from ruamel.yaml import YAML
from typer.testing import CliRunner

EXAMPLES = Path(__file__).parents[2] / "specs" / "examples"


def test_the_schema_takes_the_examples_and_refuses_others():
    done = CliRunner().invoke(app, ["schema"])
    assert done.exit_code == 0
    validator = jsonschema.Draft7Validator(json.loads(done.stdout))
    specs = sorted(EXAMPLES.glob("*/spec.yaml"))
    assert len(specs) >= 2
    for path in specs:
        validator.validate(YAML(typ="safe").load(path))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"modle": "a.onnx"})
