"""Structures that fit: of each direction the largest, known without training."""

import pytest
from budgetc.search.space import Space
from budgetc.strategy.structures import (
    GRID,
    MOST,
    TILTS,
    alike,
    codes_of,
    directions,
    fits,
    fitting,
    tilted,
)
from budgetc.strategy.way import Way
from budgetc_specs.recipe import Step
from hypothesis import given, settings
from hypothesis import strategies as st

from .formula import SPACE, WHOLE, Formula, explorer_of, limits_of, size_of

CHOICES = SPACE.families[0].choices


def test_shares_are_tilted_to_where_the_parameters_are():
    assert alike(CHOICES, 0.4) == {"a": 0.4, "b": 0.4}
    assert tilted(1.0, 0.5)(CHOICES, 0.4) == {"a": 0.2, "b": 0.4}
    assert tilted(0.5, 1.0)(CHOICES, 0.4) == {"a": 0.4, "b": 0.2}


def test_directions_are_of_one_family_by_shares_and_one_by_levels():
    found = directions(SPACE)
    assert len(found) == 1 + len(TILTS) * 3
    assert [d.origin for d in found[:3]] == [
        "as it is",
        "prune, all alike",
        "separable 1 and prune, all alike",
    ]
    assert found[0].codes == ()
    names = [[step.name for step in d.at(0.5)] for d in found[1:]]
    assert ["prune"] in names
    assert ["prune", "separable"] in names
    assert all(
        d.codes == (Step.of("quantize", calibration="minmax", output="float"),) for d in found[1:]
    )


def test_without_a_family_by_shares_there_are_levels():
    some = Space(SPACE.families[1:])
    assert [d.origin for d in directions(some)] == [
        "as it is",
        "as it is",
        "separable 1",
        "separable 2",
    ]
    assert not any(d.gradual for d in directions(some))
    assert directions(Space(()))[0].at(0.5) == ()


def test_options_of_codes_are_said():
    (step,) = codes_of(SPACE, {"quantize": {"calibration": "mse"}})
    assert dict(step.options)["calibration"] == "mse"


@settings(max_examples=20, deadline=None)
@given(st.integers(30, WHOLE + 100))
def test_the_largest_that_fits_is_taken(size):
    formula = Formula(limits_of(size))
    explorer = explorer_of(formula)
    ways = fitting(directions(SPACE), Way(), explorer, formula.limits)
    sizes = {str(w.structure): size_of(w.recipe) for w in ways if w.codes}
    assert all(found <= size for found in sizes.values())
    alone = [w for w in ways if w.codes and len(w.structure) <= 1][:1]
    for way in alone:
        if way.structure:
            ratio = dict(way.structure[0].options)["ratio"]
            larger = WHOLE * 0.25 * (1 - ratio + MOST / GRID + 0.002)
            assert larger > size
    assert bool(ways) == (size >= round(WHOLE * 0.25 * (1 - MOST) * 0.8))
    assert (Way() in ways) == (size >= WHOLE)


def test_the_quality_of_what_is_not_trained_does_not_matter():
    formula = Formula(limits_of(500, drop=0.001))
    explorer = explorer_of(formula)
    (way, *_) = fitting(directions(SPACE), Way(), explorer, formula.limits)
    (candidate,) = explorer.look_at_all({way.recipe: "again"})
    assert candidate.figures.drop > 0.3
    assert fits(candidate, formula.limits)


def test_what_is_refused_does_not_fit():
    formula = Formula(limits_of(500), refused="separable")
    ways = fitting(directions(SPACE), Way(), explorer_of(formula), formula.limits)
    assert ways
    assert "separable" not in str([way.recipe for way in ways])


@pytest.mark.parametrize("size", [WHOLE, 600, 100])
def test_it_takes_few_simulations(size):
    formula = Formula(limits_of(size))
    fitting(directions(SPACE), Way(), explorer_of(formula), formula.limits)
    assert len(formula.simulated) <= (1 + len(TILTS) * 3) * 8
    assert len(formula.simulated) == len(set(formula.simulated))
