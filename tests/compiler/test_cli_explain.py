"""`budgetc explain` for people: a word with its example, the list of all words, and an unknown one."""

from budgetc.cli.main import app
from typer.testing import CliRunner


def test_a_word():
    done = CliRunner().invoke(app, ["explain", "max_regression"])
    assert done.exit_code == 0
    assert done.stdout.startswith("budgets.max_regression: field of a spec\n")
    assert "  baseline: The lock" in done.stdout


def test_without_a_word_all_are_listed():
    done = CliRunner().invoke(app, ["explain"])
    assert done.exit_code == 0
    for words in ("exit codes\n  0, 1, 2", "budgets.size", "quantize", "mean-iou", "budget-size"):
        assert words in done.stdout


def test_an_unknown_word():
    done = CliRunner().invoke(app, ["explain", "quantise"])
    assert done.exit_code == 2
    assert 'did you mean "quantize"' in done.stderr
