"""The files for pre-commit, GitHub and GitLab: what they call exists, and no input reaches a shell as code."""

import re
import shlex
from pathlib import Path

from budgetc.cli.main import app
from ruamel.yaml import YAML
from typer.testing import CliRunner

ROOT = Path(__file__).parents[3]


def read(name: str):
    return YAML(typ="safe").load((ROOT / name).read_text(encoding="utf-8"))


def options() -> set[str]:
    """Every option of compile."""
    return set(re.findall(r"--[a-z]+", CliRunner().invoke(app, ["compile", "--help"]).output))


def test_the_hook_checks_every_spec_that_it_is_given(tiny):
    (hook,) = read(".pre-commit-hooks.yaml")
    program, *arguments = shlex.split(hook["entry"])
    assert program == "budgetc"
    assert re.search(hook["files"], "models/a/spec.yaml")
    assert not re.search(hook["files"], "models/a/inspec.yaml.txt")
    other = tiny.with_name("other.yaml")
    other.write_text(tiny.read_text())
    done = CliRunner().invoke(app, [*arguments, str(tiny), str(other)])
    assert done.exit_code == 0, done.output
    assert f"{other}: ok" in done.output
    other.write_text("model: none.onnx\n")
    assert CliRunner().invoke(app, [*arguments, str(tiny), str(other)]).exit_code == 2


def test_the_action_calls_what_exists():
    action = read("action.yml")
    assert action["runs"]["using"] == "composite"
    steps = [step["run"] for step in action["runs"]["steps"] if "run" in step]
    assert set(re.findall(r"--(?:out|junit|sarif|markdown)\b", steps[-1])) <= options()
    for text in steps:  # an input in a script would be run by the shell
        assert "inputs." not in text


def test_the_template_calls_what_exists():
    job = read(".gitlab-ci-budgetc.yml")[".budgetc"]
    command = job["script"][-1]
    assert command.startswith("budgetc compile")
    assert set(re.findall(r"--[a-z]+", command)) <= options()
    assert job["artifacts"]["reports"]["junit"] in command
