"""Options of passes are held to their words and numbers, whatever the pass."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
from budgetc_passes.options import check_words, counts_of, values_of


@dataclass(frozen=True)
class Carving:
    """Has an option of each kind."""

    name: ClassVar[str] = "carve"
    method: Literal["saw", "axe", "knife"] = "saw"
    tool: Literal["own"] = "own"
    depth: int = 3
    parts: str = ""


def test_words_that_are_allowed_pass():
    check_words(Carving("knife"))


@pytest.mark.parametrize(
    ("carving", "said"),
    [
        (Carving("file"), 'carve: method is "file"; it is "saw", "axe" or "knife"'),
        (Carving(tool="lent"), 'carve: tool is "lent"; it is "own"'),
    ],
)
def test_another_word_is_refused_with_those_that_are_allowed(carving, said):
    with pytest.raises(ValueError, match="carve") as caught:
        check_words(carving)
    assert str(caught.value) == said


def test_numbers_of_parts_are_read_from_the_option():
    assert values_of(Carving(parts="a=0.5;b=2"), "parts") == {"a": 0.5, "b": 2.0}
    assert counts_of(Carving(parts="a=0;b=2"), "parts", "depth") == {"a": 0, "b": 2}


@pytest.mark.parametrize("parts", ["a=0.5", "a=-1"])
def test_a_count_is_whole_and_not_below_zero(parts):
    with pytest.raises(
        ValueError, match=r"carve: parts: 'a' has the depth .*; it is a whole number"
    ):
        counts_of(Carving(parts=parts), "parts", "depth")


def test_what_is_no_list_of_numbers_says_which_option_it_is():
    with pytest.raises(ValueError, match=r"^carve: parts: 'a' is not a name, = and a number"):
        values_of(Carving(parts="a"), "parts")
