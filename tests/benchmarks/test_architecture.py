"""The table holds each recipe against the model as it is, and each recipe can be read."""

import sys
from pathlib import Path

import pytest
from budgetc.registry import make_passes
from budgetc_specs.recipe import parse_recipe

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.architecture import BEFORE, RECIPES, main, table


def test_every_recipe_is_one_of_passes_that_there_are() -> None:
    for recipes in RECIPES.values():
        assert recipes[0] == ""
        for recipe in recipes[1:]:
            make_passes(parse_recipe(f"{BEFORE} | {recipe} | clean"))


def test_figures_are_beside_those_of_the_model_as_it_is() -> None:
    found = [
        {"model": "m", "recipe": "", "weight_bytes": 40000, "top1": 0.98},
        {"model": "m", "recipe": "separable", "weight_bytes": 10000, "top1": 0.9575},
    ]
    assert table(found).splitlines()[2:] == [
        "| m, as it is | 40.0 kB | 1.00 | 0.980 | +0.0 |",
        "| m: `separable` | 10.0 kB | 4.00 | 0.958 | -2.2 |",
    ]


def test_a_model_that_is_not_here(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["mnist5k_vit"])
    assert "no such model here: mnist5k_vit" in capsys.readouterr().err
