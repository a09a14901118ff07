"""`budgetc passes` says what the classes say."""

import dataclasses
import inspect
from importlib.metadata import entry_points

import pytest
from budgetc.cli.main import app
from budgetc.registry import PASSES, find_pass
from typer.testing import CliRunner


def test_all_are_listed_with_what_they_do():
    done = CliRunner().invoke(app, ["passes"])
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    names = entry_points(group=PASSES).names
    assert len(names) >= 10
    for name in names:
        (line,) = (line for line in lines if line.startswith(f"{name} "))
        summary = inspect.getdoc(find_pass(name)).splitlines()[0]
        assert summary[:60] in line, "a longer one goes on in the next line"
    assert any(line.split() == ["norm=l2", "(or", "l1)"] for line in lines)


@pytest.mark.parametrize("name", sorted(entry_points(group=PASSES).names))
def test_one_is_described_in_full(name):
    done = CliRunner().invoke(app, ["passes", name])
    kind = find_pass(name)
    assert done.exit_code == 0
    assert inspect.getdoc(kind) in done.stdout
    first = done.stdout.splitlines()[0]
    for field in dataclasses.fields(kind):
        assert f"{field.name}=" in first
    assert "from budgetc" in done.stdout


def test_an_unknown_one():
    done = CliRunner().invoke(app, ["passes", "quantise"])
    assert done.exit_code == 2
    assert 'did you mean "quantize"? `budgetc passes` lists them.' in done.stderr
