"""Field types: units in files, plain numbers in Python, choices, and what is not supported yet."""

from pathlib import Path
from typing import Annotated, Any

import pytest
from budgetc_specs.errors import Refusal
from budgetc_specs.fields import (
    Bytes,
    Matching,
    Points,
    Seconds,
    one_of,
    read_augmentations,
    read_passes,
)
from budgetc_specs.recipe import Recipe, Step
from pydantic import TypeAdapter, ValidationError

IN_A_FILE = {"folder": Path()}


def refusal(kind: Any, value: object, context: dict[str, Any] | None = None) -> tuple[str, str]:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(kind).validate_python(value, context=context)
    (error,) = caught.value.errors()
    held = error["ctx"]["error"]
    return held.message, held.repair


@pytest.mark.parametrize(
    ("kind", "text", "number"),
    [(Bytes, "48 KiB", 49152), (Seconds, "10 min", 600.0), (Points, "0.5 pp", 0.005)],
)
def test_a_quantity_is_read_and_written(kind: Any, text: str, number: float) -> None:
    adapter = TypeAdapter(kind)
    assert adapter.validate_python(text, context=IN_A_FILE) == number
    assert adapter.dump_python(number, mode="json") == text
    assert adapter.dump_python(number) == number


@pytest.mark.parametrize("kind", [Bytes, Seconds, Points])
def test_a_bare_number_has_a_meaning_in_python_but_none_in_a_file(kind: Any) -> None:
    assert TypeAdapter(kind).validate_python(1) == 1
    assert refusal(kind, 1, IN_A_FILE)[0] == '"1" has no unit'


@pytest.mark.parametrize(
    ("value", "message", "repair"),
    [
        ("later", '"later" is not supported yet', "choose a, bee or cee."),
        ("beee", '"beee" is not a, bee or cee', 'did you mean "bee"?'),
        (3, '"3" is not a, bee or cee', ""),
        (["a"], "a list is not a, bee or cee", ""),
    ],
)
def test_one_of(value: object, message: str, repair: str) -> None:
    kind = Annotated[str, one_of("a", "bee", "cee", later=["later"])]
    assert TypeAdapter(kind).validate_python("bee") == "bee"
    assert refusal(kind, value) == (message, repair)


def test_a_single_choice_is_named_alone() -> None:
    assert refusal(Annotated[str, one_of("shrink")], "x") == ('"x" is not shrink', "")


def test_matching_checks_the_whole_text_and_puts_the_pattern_into_the_schema() -> None:
    adapter = TypeAdapter(Annotated[str, Matching("[a-z]|[0-9]", "a thing", "name one.")])
    assert adapter.validate_python("a") == "a"
    assert adapter.json_schema() == {"type": "string", "pattern": "^([a-z]|[0-9])$"}
    for wrong in ("ab", "a\n", ""):
        with pytest.raises(ValidationError, match="is not a thing; name one"):
            adapter.validate_python(wrong)


@pytest.mark.parametrize(
    ("value", "passes"),
    [
        ("auto", "auto"),
        ("", Recipe()),
        ([], Recipe()),
        ("a | b", Recipe((Step("a"), Step("b")))),
        (["a{x=1}", "b | c"], Recipe((Step.of("a", x=1), Step("b"), Step("c")))),
        (Recipe((Step("a"),)), Recipe((Step("a"),))),
    ],
)
def test_passes(value: object, passes: object) -> None:
    assert read_passes(value) == passes


def test_passes_of_another_kind_are_refused() -> None:
    with pytest.raises(Refusal) as caught:
        read_passes({"quantize": {}})
    assert str(caught.value) == (
        'a mapping is not a recipe; write "auto", or passes such as "fuse | quantize".'
    )


def test_every_wrong_step_of_a_list_is_found() -> None:
    with pytest.raises(ValidationError) as caught:
        read_passes(["a", "B", 3])
    assert [(each["loc"], each["ctx"]["error"].message) for each in caught.value.errors()] == [
        ((1,), '"B" is not the name of a pass'),
        ((2,), '"3" is not a pass'),
    ]


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ([], ()),
        ("", ()),
        ("shift | noise{deviation=0.2}", ("shift", "noise{deviation=0.2}")),
        (["shift{ by = 0.2 }", "mine.changes:noisy"], ("shift{by=0.2}", "mine.changes:noisy")),
    ],
)
def test_augmentations_are_read_as_text(value: object, texts: tuple[str, ...]) -> None:
    assert read_augmentations(value) == texts
    assert read_augmentations(list(texts)) == texts


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (3, "is not a list of augmentations"),
        ([3], "is not an augmentation"),
        (["Shift!"], "Shift!"),
    ],
)
def test_what_is_no_augmentation_is_refused(value: object, words: str) -> None:
    with pytest.raises((Refusal, ValidationError)) as caught:
        read_augmentations(value)
    assert words in str(caught.value)
