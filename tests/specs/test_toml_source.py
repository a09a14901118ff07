"""TOML: values from tomllib, places by search."""

from typing import Any

import pytest
from budgetc_specs.errors import SpecError
from budgetc_specs.source import MAX_NODES, Node, Source
from budgetc_specs.toml_source import parse_toml

TEXT = """\
model = "m.onnx"
"output" = { name = 'net', kind = "static" }
search.trials = 4 # few

[budgets]
size = "48 KiB"
latency = { max = "2 ms", runs = 5 }

[targets.pi]
kind = "aarch64"
[targets.host]
[inputs."x.1"]
shape = [1,
  28]
"""


def tree(text: str) -> Node:
    root, problems = parse_toml(Source.of("f", text), text)
    assert not problems
    return root


def fatal(text: str) -> str:
    with pytest.raises(SpecError) as caught:
        tree(text)
    return str(caught.value)


def places(*loc: int | str) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Line, column and width of a key and its value."""
    node = tree(TEXT)
    key = node.place
    for part in loc:
        key = node.keys.get(str(part), node.place)
        child = node.child(part)
        assert child is not None
        node = child
    value = node.place
    return (key.line, key.column, key.width), (value.line, value.column, value.width)


def test_values() -> None:
    assert tree(TEXT).plain() == {
        "model": "m.onnx",
        "output": {"name": "net", "kind": "static"},
        "search": {"trials": 4},
        "budgets": {"size": "48 KiB", "latency": {"max": "2 ms", "runs": 5}},
        "targets": {"pi": {"kind": "aarch64"}, "host": {}},
        "inputs": {"x.1": {"shape": [1, 28]}},
    }


@pytest.mark.parametrize(
    ("loc", "key", "value"),
    [
        (("model",), (1, 1, 5), (1, 9, 8)),
        (("output", "kind"), (2, 28, 4), (2, 35, 8)),
        (("search", "trials"), (3, 1, 13), (3, 17, 1)),
        (("budgets", "size"), (6, 1, 4), (6, 8, 8)),
        (("budgets", "latency", "runs"), (7, 27, 4), (7, 34, 1)),
        (("targets", "pi", "kind"), (10, 1, 4), (10, 8, 9)),
        (("targets", "pi"), (9, 2, 10), (9, 2, 10)),
        (("inputs", "x.1", "shape", 1), (13, 9, 1), (13, 9, 1)),
    ],
)
def test_places(loc: Any, key: Any, value: Any) -> None:
    assert places(*loc) == (key, value)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("a = ", "f:1:5: this is not TOML: invalid value"),
        ("a = 1\nb", "f:2:2: this is not TOML: expected '=' after a key in a key/value pair"),
        ("a = 1\na = 2", "f:2:6: this is not TOML: cannot overwrite a value"),
        ("a = " + "[" * 20_000, "f: nested more than 32 deep"),
        ("a" + ".a" * 50 + " = 1", "f: nested more than 32 deep"),
        (f"a = [{'1,' * (MAX_NODES + 1)}]", f"f: more than {MAX_NODES} values"),
        ('a = """x\n', "f:2:1: this is not TOML: unterminated string"),
        (f"a = {'9' * 5000}", "f:1:5005: this is not TOML: Exceeds the limit"),
    ],
)
def test_text_that_cannot_be_read(text: str, first: str) -> None:
    assert fatal(text).splitlines()[0].startswith(first)


def test_a_key_that_is_not_found_stands_where_its_table_does() -> None:
    text = 'a = { "b\\u0063" = 1 }'
    root = tree(text)
    assert root.plain() == {"a": {"bc": 1}}
    inner = root.child("a")
    assert inner is not None
    assert (inner.keys["bc"].line, inner.keys["bc"].column) == (1, 5)
