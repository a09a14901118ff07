"""The base of all sections: findings in a user's words, all at once, at the right place."""

from datetime import date
from typing import Any, ClassVar

import pytest
from budgetc_specs.errors import Refusal
from budgetc_specs.section import Section, refused
from pydantic import Field, ValidationError


class Inner(Section):
    shorthand: ClassVar[str | None] = "count"

    count: int = Field(strict=True, ge=1, le=9, description="How many")
    tags: tuple[str, ...] = Field(default=(), description="What they are called")


class Stamped(Section):
    day: date = Field(description="When")


class Outer(Section):
    inner: Inner | None = Field(default=None, description="The inner one")
    more: dict[str, Inner] = Field(default={}, description="Others")
    share: float = Field(default=0.5, gt=0, allow_inf_nan=False, description="A share")


def findings(value: Any) -> dict[tuple[int | str, ...], tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(value)
    found = {}
    for error in caught.value.errors():
        refusal = error["ctx"]["error"]
        assert isinstance(refusal, Refusal)
        found[error["loc"]] = (refusal.message, refusal.repair)
    return found


def test_all_findings_come_at_once_in_plain_words() -> None:
    value = {
        "inner": {"count": 0, "tags": ["a", 4]},
        "more": {"x": {"tags": 3}, "y": {"count": 10}, "z": [1]},
        "share": "much",
        "shade": 1,
        "zzz": 2,
    }
    assert findings(value) == {
        ("inner", "count"): ('"0" is below 1', "How many."),
        ("inner", "tags", 1): ('"4" is not text', "What they are called."),
        ("more", "x", "count"): ('"count" is missing', "How many."),
        ("more", "x", "tags"): ('"3" is not a list', "What they are called."),
        ("more", "y", "count"): ('"10" is above 9', "How many."),
        ("more", "z"): ("a list is not a mapping", "the fields here are count, tags."),
        ("share",): ('"much" is not a number', "A share."),
        ("shade",): ('"shade" is not a field here', 'did you mean "share"?'),
        ("zzz",): ('"zzz" is not a field here', "the fields here are inner, more, share."),
    }


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"share": 0}, '"0" is not above 0'),
        ({"share": float("nan")}, '"nan" is not a finite number'),
        ({"share": None}, '"null" is not a number'),
        ({"more": 3}, '"3" is not a mapping'),
    ],
)
def test_single_findings(value: Any, message: str) -> None:
    assert [text for text, _ in findings(value).values()] == [message]


def test_what_has_no_words_of_its_own_is_told_in_those_of_pydantic() -> None:
    with pytest.raises(ValidationError, match=r'"soon": Input should be a valid date.*; When\.'):
        Stamped(day="soon")  # type: ignore[arg-type]


def test_a_plain_value_stands_for_the_shorthand_field() -> None:
    # As text, so that a field with a unit can say that the unit is missing.
    assert findings({"inner": 3})["inner", "count"][0] == '"3" is not a whole number'


def test_an_empty_section_counts_as_left_out() -> None:
    assert Outer.model_validate(None) == Outer()


def test_a_section_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Outer().share = 0.1


def test_the_error_of_the_constructor_reads_the_same() -> None:
    with pytest.raises(
        ValidationError, match=r'"shade" is not a field here; did you mean "share"\?'
    ):
        Outer(shade=1)  # type: ignore[call-arg]


def test_refused_holds_several_refusals_with_braces_in_their_text() -> None:
    error = refused("x", [(("a",), Refusal("{no}", "{yes}"), 1), (("b", 0), Refusal("n"), 2)])
    assert [(each["loc"], each["msg"]) for each in error.errors()] == [
        (("a",), "{no}; {yes}"),
        (("b", 0), "n"),
    ]
