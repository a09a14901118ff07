"""Names: what a C identifier is, and the nearest one to any file name."""

import re

import pytest
from budgetc_specs.errors import Refusal
from budgetc_specs.naming import TARGET_NAME, c_identifier, check_c_identifier
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("mnist", "mnist"),
        ("resnet-8.v2", "resnet_8_v2"),
        ("8bit", "model_8bit"),
        ("_x_", "x"),
        ("", "model"),
        ("---", "model"),
        ("größe", "gr__e"),
        ("math", "math_model"),
        ("a" * 99, "a" * 64),
    ],
)
def test_the_nearest_identifier(stem: str, name: str) -> None:
    assert c_identifier(stem) == name


@given(st.text(max_size=80))
def test_the_nearest_identifier_is_one(stem: str) -> None:
    name = c_identifier(stem)
    assert check_c_identifier(name) == name
    assert re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name)
    assert c_identifier(name) == name


@pytest.mark.parametrize(
    ("name", "message", "repair"),
    [
        (
            "5-x",
            '"5-x" is not a C identifier',
            'use at most 64 letters, digits and _, a letter first: "model_5_x".',
        ),
        (
            "",
            '"" is not a C identifier',
            'use at most 64 letters, digits and _, a letter first: "model".',
        ),
        (
            "_x",
            '"_x" is not a C identifier',
            'use at most 64 letters, digits and _, a letter first: "x".',
        ),
        (
            "string",
            '"string.h" is a header of the C library',
            'use another name, such as "string_model".',
        ),
    ],
)
def test_what_is_no_name_for_a_library(name: str, message: str, repair: str) -> None:
    with pytest.raises(Refusal) as caught:
        check_c_identifier(name)
    assert (caught.value.message, caught.value.repair) == (message, repair)


def test_what_is_not_text_is_left_to_the_type_check() -> None:
    assert check_c_identifier(5) == 5


@pytest.mark.parametrize("name", ["../x", "a/b", "Pi", "", ".", "-x", "a b", "x" * 65, "a\n"])
def test_a_target_name_cannot_leave_its_folder(name: str) -> None:
    assert not TARGET_NAME.fullmatch(name)
