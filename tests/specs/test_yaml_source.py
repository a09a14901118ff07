"""YAML and JSON: values, places, and texts that mean harm."""

import json
import time
from typing import Any

import pytest
from budgetc_specs.errors import SpecError
from budgetc_specs.source import MAX_NODES, Node, Source
from budgetc_specs.yaml_source import parse_json, parse_yaml
from hypothesis import example, given
from hypothesis import strategies as st


def plain(text: str) -> Any:
    node, problems = parse_yaml(Source.of("f", text), text)
    assert not problems
    return node.plain()


def fatal(text: str, parse: Any = parse_yaml) -> str:
    with pytest.raises(SpecError) as caught:
        parse(Source.of("f", text), text)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing", None),
        ("a: 1\nb: {c: [x, -2.5, true]}", {"a": 1, "b": {"c": ["x", -2.5, True]}}),
        ("a: ~\nb:\nc: null", {"a": None, "b": None, "c": None}),
        (
            "[yes, no, on, 2020-01-01, 1_000, .nan]",
            ["yes", "no", "on", "2020-01-01", "1_000", ".nan"],
        ),
        ("[0x10, 0o17, 010, +5, 1e3, .5]", [16, 15, 10, 5, 1000.0, 0.5]),
        ('[\'1\', "2", "a\\nb"]', ["1", "2", "a\nb"]),
        ("5: a\ntrue: b", {"5": "a", "true": "b"}),
        ("a: |\n  fuse\n  | x\n", {"a": "fuse\n| x\n"}),
        ("%YAML 1.1\n---\na: yes", {"a": "yes"}),
        ("a: &x {b: 1}\nc: *x", {"a": {"b": 1}, "c": {"b": 1}}),
        ('"\\ud83d\\ude00"', "\N{GRINNING FACE}"),
        ("9" * 19, 10**19 - 1),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert plain(text) == value


def test_every_value_and_key_knows_its_place() -> None:
    text = "a: 1\nbudgets:\n  size: '48 KiB' # most\n  list: [xy, z]\n"
    root, _ = parse_yaml(Source.of("f", text), text)
    budgets = root.child("budgets")
    assert budgets is not None
    size, listed = budgets.child("size"), budgets.child("list")
    assert size is not None
    assert listed is not None
    second = listed.child(1)
    assert second is not None

    def at(place: Any) -> tuple[int, int, int]:
        return place.line, place.column, place.width

    assert at(budgets.keys["size"]) == (3, 3, 4)
    assert at(size.place) == (3, 9, 8)
    assert at(second.place) == (4, 14, 1)


def test_duplicates_and_tags_are_all_found_and_reading_goes_on() -> None:
    text = "a: 1\nb: {c: 1, c: 2}\na: !!python/object/apply:os.system [x]\n"
    root, problems = parse_yaml(Source.of("f", text), text)
    assert root.plain() == {"a": 1, "b": {"c": 1}}
    assert [str(each) for each in problems] == [
        'f:2:11: b: "c" is given twice\n'
        "    2 | b: {c: 1, c: 2}\n"
        "      |           ^\n"
        "  keep one of the two; the first is on line 2.",
        'f:3:4: the tag "tag:yaml.org,2002:python/object/apply:os.system" has no meaning\n'
        "    3 | a: !!python/object/apply:os.system [x]\n"
        "      |    ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
        "  remove the tag; a spec holds plain mappings, lists, text and numbers.",
        'f:3:1: "a" is given twice\n'
        "    3 | a: !!python/object/apply:os.system [x]\n"
        "      | ^\n"
        "  keep one of the two; the first is on line 1.",
    ]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        (
            "a: b: c",
            "f:1:5: this is not YAML: mapping values are not allowed here",
            '  text that holds ": " needs quotes.',
        ),
        (
            "a: [1, 2",
            "f:1:9: this is not YAML: expected ',' or ']', but got '<stream end>'",
            "      |         ^",
        ),
        (
            "a:\n\tb: 1",
            "f:2:1: this is not YAML: found character '\\t' that cannot start any token",
            "  YAML is indented with spaces, not with tabs.",
        ),
        (
            "a: 1\nb",
            "f:2:2: this is not YAML: could not find expected ':'",
            '  a field is written "name: value".',
        ),
        (
            "a: 1\n---\nb: 2",
            "f:2:1: a second document starts here",
            "  a spec is one document.",
        ),
        ("? [a]\n: b", "f:1:3: a key must be plain text", "      |   ^"),
        ("a: *b", 'f:1:4: "*b" names no anchor before it', "      |    ^^"),
        ("&a [*a]", 'f:1:5: "*a" names no anchor before it', "      |     ^^"),
        ('"\\ud83d"', "f:1:1: half a surrogate pair is no character", "      | ^^^^^^^^"),
    ],
)
def test_text_that_cannot_be_read_on(text: str, first: str, last: str) -> None:
    lines = fatal(text).splitlines()
    assert (lines[0], lines[-1]) == (first, last)


def test_a_control_character_is_pointed_at() -> None:
    assert (
        fatal("a: 1\nb: \x01").splitlines()[0].startswith("f:2:4: this is not YAML: unacceptable")
    )


@pytest.mark.parametrize(
    "text", ['"\\UFFFFFFFF"', "%YAML 9.9\n---\na", "%TAG ! x\n--- !<", '"\\q"']
)
def test_what_the_parser_chokes_on_is_an_error_of_the_spec(text: str) -> None:
    assert "this is not YAML: " in fatal(text)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "{a: " * 50_000, "- " * 100_000, "a: 1\nb: " + "{c: [" * 20]
)
def test_deep_nesting_is_refused_at_once(text: str) -> None:
    start = time.monotonic()
    assert ": nested more than 32 deep" in fatal(text)
    assert time.monotonic() - start < 30


def test_a_chain_of_aliases_is_as_deep_as_what_it_stands_for() -> None:
    chain = "\n".join(f"- &a{i} [*a{i - 1}]" for i in range(1, 60))
    assert ": nested more than 32 deep" in fatal(f"- &a0 [1]\n{chain}")


def test_an_alias_bomb_is_refused_before_it_grows() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "\n".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)
    )
    message = fatal(bomb)
    assert f": more than {MAX_NODES} values" in message
    assert message.startswith("f:5:")


def test_json_is_read_with_places() -> None:
    text = '{"a": 1,\n\t"b": {"a": "x\\/y", "c": [1.5e2, null]}}'
    root, problems = parse_json(Source.of("f", text), text)
    assert not problems
    assert root.plain() == {"a": 1, "b": {"a": "x/y", "c": [150.0, None]}}
    assert root.keys["b"].line == 2
    assert root.keys["b"].column == 2


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("{'a': 1}", "f:1:2: this is not JSON: expecting property name enclosed in double quotes"),
        ('{"a": 1', "f:1:8: this is not JSON: expecting ',' delimiter"),
        ("", "f:1:1: this is not JSON: expecting value"),
        ("[" * 100_000, "f:1:33: nested more than 32 deep"),
    ],
)
def test_json_that_cannot_be_read(text: str, first: str) -> None:
    assert fatal(text, parse_json).splitlines()[0] == first


def test_a_number_of_thousands_of_digits_is_text() -> None:
    text = '{"a": ' + "9" * 5000 + "}"
    root, _ = parse_json(Source.of("f", text), text)
    assert root.plain() == {"a": "9" * 5000}


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**17), 10**17)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=12,
)


def outcome(parse: Any, text: str) -> Node | SpecError:
    try:
        root, _ = parse(Source.of("f", text), text)
    except SpecError as error:
        return error
    assert isinstance(root, Node)
    return root


@given(json_values, st.booleans())
@example({"\x85\u2028": "\u2029"}, False)
def test_json_means_what_it_says(value: Any, escaped: bool) -> None:
    read = outcome(parse_json, json.dumps(value, ensure_ascii=escaped))
    if isinstance(read, SpecError):  # YAML knows fewer characters than JSON; then it says so
        assert not escaped
        assert "this is not YAML: unacceptable character" in str(read)
    else:
        assert read.plain() == value


@given(st.text(alphabet="ab: -[]{},&*!|>'\"%#?\n\t\\x01~@`", max_size=40))
def test_any_text_is_a_tree_or_an_error_of_the_spec(text: str) -> None:
    read = outcome(parse_yaml, text)
    if isinstance(read, SpecError):
        assert read.diagnostics
    else:
        json.dumps(read.plain())
