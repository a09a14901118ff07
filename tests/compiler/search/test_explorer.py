"""Which candidates are looked at: no worse than a grid, none twice, nearer to budgets where nothing keeps them."""

import pytest
from budgetc.search.explorer import best_first
from budgetc.search.selection import EARLIER
from budgetc.search.settings import Settings
from budgetc.search.study import Proposal


def sizes(own):
    return [c.figures.size for c in own.explorer.candidates]


@pytest.mark.parametrize("size", [4000, 3500, 3000, 2500, 2200, 2000, 1800, 1600])
def test_what_is_found_is_no_worse_than_a_grid(world, size):
    own = world(size=size)
    own.explorer.explore([], 40)
    kept = [c.figures.drop for c in own.explorer.candidates if own.explorer.keeps(c)]
    grid = own.best(size)
    assert kept if grid is not None else True
    assert grid is None or min(kept) <= grid


def test_nothing_is_looked_at_twice_and_no_more_than_allowed(world):
    own = world(size=2500)
    own.explorer.explore([], 30)
    assert len(own.formula.simulated) == len(set(own.formula.simulated)) == 30
    own.explorer.explore([], 30)
    assert len(own.formula.simulated) == 30


def test_the_same_seed_looks_at_the_same(world):
    one, other = (world(size=2500) for _ in range(2))
    for own in (one, other):
        own.explorer.explore([], 30)
    assert one.formula.simulated == other.formula.simulated


def test_some_are_held_back_where_nothing_keeps_the_budgets(world):
    own = world(size=100)
    own.explorer.explore([], 40)
    assert len(own.explorer.candidates) == 30


def test_approach_comes_nearer_to_a_budget(world):
    """Within no loss at all: only what loses nothing counts, so the float model is the nearest."""
    own = world(size=1000, drop=0.004)
    own.explorer.explore([], 30)

    def nearest():
        return min(c.figures.size for c in own.explorer.candidates if c.figures.drop <= 0.004)

    before = nearest()
    own.explorer.approach("size", 24)
    assert nearest() <= before
    assert {c.proposal.origin for c in own.explorer.candidates} >= {"toward size"}


def test_the_count_never_passes_its_total_which_grows_by_what_is_added(world):
    own, told = world(size=1000, drop=0.004), []
    own.explorer._observer = told.append
    own.explorer.explore([], 20)
    explored = len(told)
    own.explorer.approach("size", 8)
    found = [(event.step, event.steps) for event in told]
    assert [step for step, _ in found] == list(range(1, len(told) + 1))
    assert {most for _, most in found[:explored]} == {20}
    assert {most for _, most in found[explored:]} == {explored + 8}
    assert all(step <= most for step, most in found)


def test_what_is_asked_for_by_recipe_is_counted_without_a_total(world):
    own, told = world(size=2500), []
    own.explorer._observer = told.append
    recipes = [own.space.recipe(own.space.uniform("prune", ratio)) for ratio in (0.25, 0.5)]
    own.explorer.look_at_all(dict.fromkeys(recipes, "by a strategy"))
    assert [(event.step, event.steps) for event in told] == [(1, 0), (2, 0)]


def test_of_earlier_answers_the_latest_are_looked_at_first(world):
    own = world(size=2500)
    answers = [own.space.uniform("prune", ratio) for ratio in (0.25, 0.5, 0.75)]
    own.explorer.explore([Proposal(settings, EARLIER) for settings in answers], 10)
    origins = [c.proposal.origin for c in own.explorer.candidates]
    assert origins[:2] == [EARLIER, EARLIER]
    assert origins.count(EARLIER) == 2  # a fifth of ten


def test_when_the_time_is_up_one_candidate_is_looked_at(world):
    own = world(size=2500, late=True)
    own.explorer.look([Proposal(own.space.furthest(), "every pass at its most")])
    own.explorer.explore([], 40)
    assert own.explorer.late
    assert len(own.explorer.candidates) == 1


def test_a_recipe_outside_of_the_space(world):
    own = world(size=2500)
    (candidate,) = own.explorer.look([Proposal(own.space.uniform("prune", 0.5), "")])
    recipe = type(candidate.recipe)(candidate.recipe.steps[2:])  # without fusing
    other = own.explorer.look_at(recipe, "without fuse")
    assert other.figures == candidate.figures
    assert not other.proposal.in_space
    assert own.explorer.look_at(recipe, "again") is other


def test_the_best_come_first_by_the_objective(world):
    own = world()
    settings = [Settings(), own.space.furthest()]
    as_it_is, furthest = own.explorer.look([Proposal(s, "") for s in settings])
    both = [furthest, as_it_is]
    assert best_first(both, ("quality",), 1.0) == [as_it_is, furthest]
    assert best_first(both, ("size", "quality"), 1.0) == [furthest, as_it_is]
    assert best_first(both, ("latency",), 1.0) == [furthest, as_it_is]
