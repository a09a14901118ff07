"""What is proven of budgets: weights are a bound to the size, whatever else is there."""

from budgetc.figures import Figures, Limits
from budgetc.search.bounds import find_bounds, weight_bounds
from budgetc.search.simulations import Simulated
from budgetc_specs.budgets import Budgets
from budgetc_specs.recipe import parse_recipe
from hypothesis import given
from hypothesis import strategies as st

RECIPE = parse_recipe("clean")
KIBIBYTE = Limits(Budgets.model_validate({"size": "1 KiB"}))


def simulated(weights):
    return Simulated(RECIPE, weights, choices=(Figures(weights + 100, 10),))


def test_weights_beyond_the_budget_are_a_proof():
    (bound,) = find_bounds([simulated(1025)], KIBIBYTE)
    assert (bound.budget, bound.bound, bound.limit, bound.unit) == ("size", 1025, 1024, "bytes")
    assert bound.beyond
    assert "1 KiB" in bound.why


def test_weights_within_the_budget_prove_nothing():
    (bound,) = find_bounds([simulated(1024)], KIBIBYTE)
    assert not bound.beyond


@given(st.lists(st.integers(1, 4096), min_size=1))
def test_no_candidate_is_below_the_bound(weights):
    (bound,) = find_bounds([simulated(each) for each in weights], KIBIBYTE)
    assert bound.bound == min(weights)


def test_what_was_refused_has_no_weights_to_go_by():
    refused = Simulated(RECIPE, refusal="it does not fit")
    assert find_bounds([refused], KIBIBYTE) == ()
    (bound,) = find_bounds([refused, simulated(2000)], KIBIBYTE)
    assert bound.bound == 2000


def test_without_a_budget_for_the_size_there_is_no_bound():
    assert weight_bounds(5000, Limits(Budgets()), "with this recipe") == ()
    memory = Limits(Budgets.model_validate({"memory": "1 KiB"}))
    assert find_bounds([simulated(5000)], memory) == ()
