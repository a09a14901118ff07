"""`--set`: paths, values, and what leads nowhere."""

from typing import Any

import pytest
from budgetc_specs.errors import SpecError
from budgetc_specs.overrides import override
from budgetc_specs.source import Node, Source
from budgetc_specs.yaml_source import parse_yaml

TEXT = "a: {b: 1, c: [1]}\nd:\ne: x\n"


def root() -> Node:
    return parse_yaml(Source.of("f", TEXT), TEXT)[0]


def error(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        override(root(), text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        ("a.b=2", {"a": {"b": 2, "c": [1]}}),
        ("e=48 KiB", {"e": "48 KiB"}),
        ("e=", {"e": None}),
        ("a={x: [1, 2]}", {"a": {"x": [1, 2]}}),
        ("d.x.y=true", {"d": {"x": {"y": True}}}),
        ("new.deep=1", {"new": {"deep": 1}}),
        ('a."x.1"=[1, 16]', {"a": {"b": 1, "c": [1], "x.1": [1, 16]}}),
        ("e=a=b", {"e": "a=b"}),
        (" e = y", {"e": "y"}),
    ],
)
def test_a_value_is_set(text: str, changed: dict[str, Any]) -> None:
    before = {"a": {"b": 1, "c": [1]}, "d": None, "e": "x"}
    assert override(root(), text).plain() == before | changed


def test_an_empty_spec_can_be_filled() -> None:
    empty, _ = parse_yaml(Source.of("f", ""), "")
    assert override(empty, "a.b=1").plain() == {"a": {"b": 1}}


def test_the_tree_that_was_given_stays_as_it_was() -> None:
    tree = root()
    override(tree, "a.b=2")
    assert tree == root()


@pytest.mark.parametrize(
    "text", ["", "a", "=1", "a.=1", ".a=1", "a..b=1", "a." * 9 + "b=1", '"a=1']
)
def test_what_is_no_override(text: str) -> None:
    assert error(text) == (
        f'--set: "{text}" is not key=value\n'
        "  write the path of a field and its value, such as --set budgets.size=8KiB."
    )


def test_a_path_through_a_value_leads_nowhere() -> None:
    assert error("e.x=1") == (
        '--set e.x=1: e is "x" and has no field "x"\n'
        "  set e as a whole, such as --set 'e={x: ...}'."
    )
    assert error("a.c.x=1").startswith('--set a.c.x=1: a.c is a list and has no field "x"')


def test_a_value_that_is_no_yaml() -> None:
    assert error("a=[1") == (
        "--set a=[1: this is not YAML: expected ',' or ']', but got '<stream end>'"
    )
    assert error("a={b: 1, b: 2}").startswith('--set a={b: 1, b: 2}: "b" is given twice')
