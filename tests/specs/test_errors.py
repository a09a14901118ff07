"""The error tree: exit codes, how a diagnostic looks, and what hostile text cannot do."""

import pickle

import pytest
from budgetc_specs import errors
from budgetc_specs.errors import (
    BudgetcError,
    Diagnostic,
    ModelError,
    Refusal,
    SpecError,
    did_you_mean,
    printable,
    quoted,
)

CODES = {
    "BudgetcError": 70,
    "SpecError": 2,
    "InfeasibleError": 3,
    "EnvironmentError_": 4,
    "LockError": 5,
    "WrongNumbersError": 6,
    "ModelError": 7,
    "TargetUnreachableError": 8,
    "InternalError": 70,
}


def test_every_error_of_the_tree_has_its_own_documented_exit_code() -> None:
    tree = [
        each
        for each in vars(errors).values()
        if isinstance(each, type) and issubclass(each, BudgetcError)
    ]
    assert {each.__name__: each.exit_code for each in tree} == CODES
    assert all(each.__doc__ for each in tree)


def test_a_diagnostic_shows_the_line_and_underlines_the_value() -> None:
    finding = Diagnostic(
        path="spec.yaml",
        line=14,
        column=12,
        message='budgets.latency: "10" has no unit',
        repair="write a unit.\nsuch as ms.",
        source_line="  latency: 10",
        width=2,
    )
    assert str(finding) == (
        'spec.yaml:14:12: budgets.latency: "10" has no unit\n'
        "   14 |   latency: 10\n"
        "      |            ^^\n"
        "  write a unit.\n"
        "  such as ms."
    )


def test_a_diagnostic_without_a_position_is_its_message() -> None:
    assert str(Diagnostic("--set a=1", None, None, "no", "yes.")) == "--set a=1: no\n  yes."
    assert str(Diagnostic(None, None, None, "no")) == "no"


def test_the_caret_stays_under_the_value_of_a_long_line() -> None:
    line = "x" * 5000 + "HERE" + "y" * 5000
    shown = str(Diagnostic("f", 12345, 5001, "m", "", line, 4)).splitlines()
    text, carets = shown[1], shown[2]
    assert len(text) < 120
    assert text[carets.index("^") :].startswith("HERE")
    assert carets.count("^") == 4


def test_the_caret_of_an_error_at_the_end_of_a_line_is_behind_it() -> None:
    assert str(Diagnostic("f", 1, 3, "m", "", "ab", 9)).splitlines()[1:] == [
        "    1 | ab",
        "      |   ^",
    ]


def test_terminal_escapes_of_a_file_are_spelled_out() -> None:
    shown = str(Diagnostic("a\x1b]0;x\x07.yaml", 1, 1, "\x9b31m\u202e", "", "\x1b[2J\tk"))
    assert all(c.isprintable() or c == "\n" for c in shown)
    assert "a\\x1b]0;x\\x07.yaml:1:1: \\x9b31m\\u202e" in shown


def test_an_error_says_how_to_repair_it_and_survives_pickling() -> None:
    error = ModelError("no such model", "name one.")
    assert str(error) == "no such model\n  name one."
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.repair) == (ModelError, str(error), "name one.")


def test_a_spec_error_holds_all_its_findings_also_after_pickling() -> None:
    error = SpecError([Diagnostic("a", 1, 2, "x"), Diagnostic("a", 3, 4, "y")])
    assert str(error) == "a:1:2: x\na:3:4: y"
    assert pickle.loads(pickle.dumps(error)).diagnostics == error.diagnostics
    assert str(SpecError.of("bad", "fix it.", "p")) == "p: bad\n  fix it."


def test_a_refusal_is_a_value_error_with_its_repair() -> None:
    assert str(Refusal("wrong", "right.")) == "wrong; right."
    assert isinstance(Refusal("wrong"), ValueError)


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("latancy", 'did you mean "latency"?'),
        ("SIZE", 'did you mean "size"?'),
        ("kib", 'did you mean "KiB"?'),
        ("zzz", ""),
        ("", ""),
    ],
)
def test_did_you_mean(word: str, hint: str) -> None:
    assert did_you_mean(word, ["latency", "size", "KiB"]) == hint


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10, '"10"'),
        (1.5, '"1.5"'),
        (True, '"true"'),
        (None, '"null"'),
        ("a", '"a"'),
        ("x" * 99, '"' + "x" * 57 + '..."'),
        ([1], "a list"),
        ((1,), "a list"),
        ({"a": 1}, "a mapping"),
        ("\n", '"\\n"'),
    ],
)
def test_quoted(value: object, text: str) -> None:
    assert quoted(value) == text


def test_printable_keeps_what_people_write() -> None:
    assert printable("250 µs × 2, Grüße") == "250 µs × 2, Grüße"
