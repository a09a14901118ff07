"""Pays or goes: what each step of a recipe is good for, with figures, and what goes because it is good for nothing."""

from dataclasses import replace

from budgetc.figures import Figures
from budgetc.search.pays import NOISE, no_worse, parts, settle, without
from budgetc.search.study import Proposal
from budgetc_specs.recipe import parse_recipe
from hypothesis import given
from hypothesis import strategies as st

FIGURES = Figures(size=1000, memory=100, latency=1e-3, drop=0.01)


def test_a_step_goes_alone():
    recipe = parse_recipe("clean | fuse | clean | prune{ratio=0.5} | clean | quantize")
    names = {step.name: step for step in recipe.steps}
    assert str(without(recipe, names["quantize"])) == (
        "clean | fuse | clean | prune{ratio=0.5} | clean"
    )
    assert str(without(recipe, names["prune"])) == "clean | fuse | clean | quantize"
    assert str(without(recipe, names["fuse"])) == "clean | prune{ratio=0.5} | clean | quantize"


def test_better_by_the_first_goal_that_differs():
    smaller = replace(FIGURES, size=900)
    slower = replace(smaller, latency=2e-3)
    assert no_worse(smaller, FIGURES, ("size",))
    assert not no_worse(FIGURES, smaller, ("size",))
    assert no_worse(slower, FIGURES, ("size", "latency"))
    assert not no_worse(slower, FIGURES, ("latency", "size"))
    assert not no_worse(slower, FIGURES, ("quality",))  # equal by that, and slower
    assert no_worse(smaller, FIGURES, ("quality",))
    assert not no_worse(FIGURES, smaller, ("quality",))


@given(st.floats(-NOISE, NOISE).map(lambda x: x * 0.99))
def test_latencies_within_the_noise_are_equal(part):
    near = replace(FIGURES, latency=1e-3 * (1 + part), size=900)
    assert no_worse(replace(near, size=1000), FIGURES, ("latency",))
    assert no_worse(near, FIGURES, ("latency", "size"))
    assert not no_worse(FIGURES, near, ("latency", "size"))


@given(st.floats(0, 1), st.floats(0, 1))
def test_no_two_candidates_are_each_better_than_the_other(one, other):
    first, second = (replace(FIGURES, drop=drop) for drop in (one, other))
    both = no_worse(first, second, ("quality",)) and no_worse(second, first, ("quality",))
    assert both == (first.loss == second.loss)


def settled(own, settings):
    (candidate,) = own.explorer.look([Proposal(settings, "")])
    own.workshop.make(candidate, "")
    chosen, pays = settle(
        candidate,
        own.explorer,
        own.selection,
        own.workshop,
        own.limits,
        own.effort.objective,
    )
    return candidate, chosen, {payment.step.partition("{")[0]: payment for payment in pays}


def everything(own):
    return own.space.furthest()


def test_what_changes_nothing_goes(world):
    own = world(size=3500, objective=("size",))
    before, chosen, pays = settled(own, everything(own))
    assert set(pays) == {"fuse", "prune", "quantize"}
    assert not pays["fuse"].kept
    assert pays["fuse"].text.startswith("dropped, it does not pay: ")
    assert "fuse" not in str(chosen.recipe)
    assert chosen.trial.outcome == "feasible"
    assert pays["prune"].kept
    assert pays["quantize"].kept
    assert chosen.figures == before.figures


def test_what_keeps_a_budget_stays_and_nothing_is_built_to_see_that(world):
    own = world(size=2000, objective=("quality",))
    _, chosen, pays = settled(own, everything(own))
    assert pays["prune"].kept
    assert "size would not be kept" in pays["prune"].text
    assert pays["prune"].without.size > 2000
    assert len(own.formula.built) == 2  # the candidate, and the one without fusing
    assert "prune" in str(chosen.recipe)


def test_what_costs_quality_for_nothing_goes(world):
    own = world(size=4000, objective=("quality",))
    _, chosen, pays = settled(own, everything(own))
    assert not any(payment.kept for payment in pays.values())
    assert chosen.figures.drop == 0


def test_codes_that_are_slow_go_where_latency_counts(world):
    own = world(size=4000, objective=("latency",), slow_codes=1e-3)
    _, chosen, pays = settled(own, everything(own))
    assert not pays["quantize"].kept
    assert "quantize" not in str(chosen.recipe)


def test_when_the_time_is_up_all_stays(world):
    own = world(size=4000, late=True)
    _, _, pays = settled(own, everything(own))
    assert all(payment.kept for payment in pays.values())
    assert all("there was no time" in payment.text for payment in pays.values())


def test_trainings_in_a_row_are_one_part():
    recipe = parse_recipe(
        "clean | prune{ratio=0.5} | clean | distill{epochs=1} | distill{epochs=2} | fuse | clean | quantize | qat"
    )
    found = [[step.name for step in part] for part in parts(recipe)]
    assert found == [["prune"], ["distill", "distill"], ["fuse"], ["quantize"], ["qat"]]
    (_, distill, *_) = parts(recipe)
    assert (
        str(without(recipe, *distill))
        == "clean | prune{ratio=0.5} | clean | fuse | clean | quantize | qat"
    )
