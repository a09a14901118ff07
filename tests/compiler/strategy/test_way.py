"""Ways as recipes: each step in its place, and the text says all of it."""

from budgetc.registry import make_passes
from budgetc.strategy.way import Taste, Way, epochs_of, words
from budgetc_specs.recipe import Step, parse_recipe

FULL = Way(
    growth=(Step.of("widen", ratio=1.0),),
    raising=(Taste(0.004, hard=1.0).step(2, before=False),),
    structure=(Step.of("prune", ratio=0.5),),
    training=(Taste(0.004).step(3, before=True), Taste(0.002).step(4, before=True)),
    codes=(Step.of("quantize"),),
    tuning=(Taste(3e-4).step(5, before=True, codes=True),),
)


def test_each_step_has_its_place():
    names = [step.name for step in FULL.recipe.steps]
    assert names == [
        *("clean", "widen", "distill", "prune", "clean", "distill", "distill"),
        *("fuse", "clean", "quantize", "qat"),
    ]
    assert FULL.epochs == 2 + 3 + 4 + 5
    assert str(Way().recipe) == "clean | fuse | clean"
    assert words(FULL.preamble).endswith("hard=1.0,rate=0.004,temperature=2.0} | fuse | clean")


def test_the_text_makes_the_same_passes():
    again = parse_recipe(str(FULL.recipe))
    assert again == FULL.recipe
    made = {each.name: each for each in make_passes(again)}
    assert made["qat"].teacher == "before"
    assert made["distill"].rate == 0.002


def test_what_trains_nothing_has_no_epochs():
    assert epochs_of(Step.of("clean")) == 0
