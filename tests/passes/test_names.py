"""Names in the text of an option, with whatever they hold, there and back."""

import pytest
from budgetc_passes.names import join_names, join_values, split_names, split_values
from hypothesis import given
from hypothesis import strategies as st

NAMES = st.text(alphabet=st.one_of(st.sampled_from('\\;= "a/\n'), st.characters()), min_size=1)


@given(st.lists(NAMES))
def test_names_there_and_back(names: list[str]) -> None:
    assert split_names(join_names(names)) == tuple(names)


@given(st.dictionaries(NAMES, st.floats(0, 1)))
def test_names_with_numbers_there_and_back(values: dict[str, float]) -> None:
    assert split_values(join_values(values)) == values


def test_what_people_write() -> None:
    assert split_names(" head ; act=1 ;; body") == ("head", "act=1", "body")
    assert split_values("a = 0.5; b=1e-3;") == {"a": 0.5, "b": 0.001}
    assert split_names("model/conv\\;model/bn") == ("model/conv;model/bn",)
    assert join_names(["plain/name:0", "a=b"]) == "plain/name:0;a=b"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a", "'a' is not a name, = and a number"),
        ("a=b", "'a=b' is not a name, = and a number"),
        ("a=1=2", "'a=1=2' is not a name, = and a number"),
        ("a=0.5;a=0.5", "'a' is named twice"),
    ],
)
def test_what_is_no_list_of_names_with_numbers(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        split_values(text)
