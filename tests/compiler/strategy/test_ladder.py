"""The steps of a recipe, as a report shows them."""

from budgetc.strategy.ladder import stairs
from budgetc_specs.recipe import parse_recipe

from .formula import SPACE


def kinds(text):
    return [(s.kind, len(s.steps), s.epochs) for s in stairs(parse_recipe(text), SPACE)]


def test_each_kind_of_step_is_one():
    text = (
        "clean | widen | deepen | distill{epochs=2} | prune{ratio=0.5} | separable | clean | "
        "distill{epochs=3,teacher=before} | distill{epochs=4,teacher=before} | fuse | clean | quantize | qat{epochs=5}"
    )
    assert kinds(text) == [
        ("float", 0, 0),
        ("grown", 2, 0),
        ("raised", 1, 2),
        ("shrunk", 2, 2),
        ("trained", 2, 9),
        ("coded", 1, 9),
        ("tuned", 1, 14),
    ]
    last = stairs(parse_recipe(text), SPACE)[-1]
    assert str(last.recipe) == str(parse_recipe(text))


def test_what_ends_early_is_folded_as_the_whole_is():
    found = stairs(parse_recipe("clean | prune{ratio=0.5} | clean | distill | fuse | clean"), SPACE)
    assert [str(s.recipe) for s in found] == [
        "clean | fuse | clean",
        "clean | prune{ratio=0.5} | clean | fuse | clean",
        "clean | prune{ratio=0.5} | clean | distill | fuse | clean",
    ]


def test_without_steps_there_is_the_model():
    assert kinds("clean | fuse | clean") == [("float", 0, 0)]
    assert kinds("clean | fuse | clean | quantize") == [("float", 0, 0), ("coded", 1, 0)]
