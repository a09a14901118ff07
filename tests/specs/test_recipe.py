"""Recipes: text and value are the same thing, and an error points at the character."""

import pytest
from budgetc_specs.errors import Refusal
from budgetc_specs.recipe import Recipe, Step, Value, parse_recipe
from hypothesis import given
from hypothesis import strategies as st

HELP = 'a recipe is a chain of passes, such as "clean | prune{ratio=0.3} | quantize{per=channel}".'

names = st.from_regex(r"[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,3}){0,2}", fullmatch=True)
keys = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
values: st.SearchStrategy[Value] = st.one_of(
    st.booleans(),
    st.integers(-(10**18) + 1, 10**18 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(["true", "false", "12", "1e5", "/conv1/Conv", "a|b", "nan", "inf", "-"]),
)
steps = st.builds(
    Step, names, st.dictionaries(keys, values, max_size=3).map(lambda d: tuple(d.items()))
)
recipes = st.builds(Recipe, st.lists(steps, max_size=4).map(tuple))


@given(recipes)
def test_what_is_written_is_read_back(recipe: Recipe) -> None:
    again = parse_recipe(str(recipe))
    assert again == recipe
    kinds = [[type(value) for _, value in step.options] for step in recipe.steps]
    assert [[type(value) for _, value in step.options] for step in again.steps] == kinds


@given(st.text(alphabet='ab1-_|{}=,." \\\n\x00é', max_size=30))
def test_any_text_is_a_recipe_or_a_refusal_that_points_into_it(text: str) -> None:
    outcome: Recipe | Refusal
    try:
        outcome = parse_recipe(text)
    except Refusal as refusal:
        outcome = refusal
    if isinstance(outcome, Recipe):
        assert parse_recipe(str(outcome)) == outcome
    else:
        assert outcome.offset is not None
        assert 0 <= outcome.offset <= len(text)
        assert outcome.repair


def test_a_recipe_is_its_text() -> None:
    text = "clean | fuse | prune{ratio=0.3} | quantize{calibration=mse,per=channel}"
    recipe = parse_recipe(text)
    assert recipe.steps == (
        Step("clean"),
        Step("fuse"),
        Step.of("prune", ratio=0.3),
        Step.of("quantize", per="channel", calibration="mse"),
    )
    assert str(recipe) == text


def test_spaces_line_breaks_and_the_order_of_options_do_not_matter() -> None:
    text = ' a{ y = 1 ,x="two words" }\n|b { }'
    assert str(parse_recipe(text)) == 'a{x="two words",y=1} | b'


def test_no_text_is_no_passes() -> None:
    assert parse_recipe(" \n") == Recipe()
    assert str(Recipe()) == ""


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-2", -2),
        ("0.5", 0.5),
        ("1e-3", 0.001),
        ("true", True),
        ("x.y", "x.y"),
        ('"1"', "1"),
    ],
)
def test_values(text: str, value: Value) -> None:
    read = parse_recipe(f"p{{k={text}}}").steps[0].options[0][1]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "message", "offset", "width"),
    [
        ("fuse |", "the name of a pass is missing before the end", 6, 1),
        ("| fuse", 'the name of a pass is missing before "|"', 0, 1),
        ("Fuse", '"Fuse" is not the name of a pass', 0, 4),
        ("fuse prune", "| is missing between passes", 5, 1),
        ("prune{ratio}", "= is missing after the name of an option", 11, 1),
        ("prune{ratio=}", 'a value is missing before "}"', 12, 1),
        ("prune{ratio=0.3", ", is missing or } after an option", 15, 1),
        ("prune{Ratio=1}", '"Ratio" is not the name of an option', 6, 5),
        ("prune{a=1,a=2}", 'the option "a" is given twice', 10, 1),
        ('prune{a="x}', "the text in quotes does not end, or has a wrong escape", 8, 1),
        ("prune{a=1}}", "| is missing between passes", 10, 1),
    ],
)
def test_an_error_points_at_the_character(text: str, message: str, offset: int, width: int) -> None:
    with pytest.raises(Refusal) as caught:
        parse_recipe(text)
    refusal = caught.value
    assert (refusal.message, refusal.offset, refusal.width) == (message, offset, width)
    assert refusal.repair == HELP


@pytest.mark.parametrize("text", ["3x", "1e999", "'a'", "9" * 19])
def test_what_is_no_value_is_told_to_take_quotes(text: str) -> None:
    with pytest.raises(Refusal, match=r"is not a value; put text in double quotes\."):
        parse_recipe(f"p{{k={text}}}")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("Fuse", (), '"Fuse" is not the name of a pass'),
        ("a", (("b-c", 1),), '"b-c" is not the name of an option'),
        ("a", (("b", 1), ("b", 2)), 'the option "b" is given twice'),
        ("a", (("b", float("nan")),), "b=nan is not a finite number"),
        ("a", (("b", 10**18),), 'b: "1000000000000000000" is too large'),
    ],
)
def test_a_step_that_no_text_could_hold_is_refused(
    name: str, options: tuple[tuple[str, Value], ...], message: str
) -> None:
    with pytest.raises(Refusal) as caught:
        Step(name, options)
    assert caught.value.message == message
