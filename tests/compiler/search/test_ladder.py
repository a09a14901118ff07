"""The ladder of a family: from nothing to everything, each step the cheapest for what it saves."""

from itertools import pairwise

from budgetc.search.ladder import ladder, rung_at
from budgetc.search.space import Choice, Family
from hypothesis import given
from hypothesis import strategies as st


def family(*levels: int) -> Family:
    choices = [Choice(f"p{n}", tuple(range(count)), (), 1, 1, 1) for n, count in enumerate(levels)]
    return Family("prune", "structure", tuple(choices))


def by(table):
    return lambda _family, part, level: table[part][level]


@st.composite
def families(draw):
    own = family(*draw(st.lists(st.integers(2, 5), min_size=1, max_size=4)))
    numbers = st.floats(0, 10, allow_nan=False)
    table = {c.name: [0.0, *(draw(numbers) for _ in c.levels[1:])] for c in own.choices}
    gains = {c.name: [float(level) for level in c.levels] for c in own.choices}
    return own, table, gains


@given(families())
def test_it_begins_with_nothing_ends_with_everything_and_never_steps_back(case):
    own, costs, gains = case
    rungs = ladder(own, by(costs), by(gains))
    assert rungs[0].levels == {}
    assert rungs[0].gain == 0.0
    assert rungs[-1].levels == {c.name: c.levels[-1] for c in own.choices}
    assert rungs[-1].gain == 1.0
    for before, after in pairwise(rungs):
        assert all(after.levels[part] >= level for part, level in before.levels.items())
        assert after.gain >= before.gain


@given(families())
def test_the_share_of_a_rung_is_reached(case):
    own, costs, gains = case
    rungs = ladder(own, by(costs), by(gains))
    for share in (0.0, 0.3, 0.7, 1.0):
        assert rung_at(rungs, share).gain >= share


def test_the_cheapest_part_goes_first():
    rungs = ladder(
        family(2, 2), by({"p0": [0, 5.0], "p1": [0, 1.0]}), by({"p0": [0, 1], "p1": [0, 1]})
    )
    assert [dict(r.levels) for r in rungs] == [{}, {"p1": 1}, {"p1": 1, "p0": 1}]


def test_a_level_that_does_not_pay_is_passed_over():
    costs = {"p0": [0, 10.0, 10.0]}
    gains = {"p0": [0, 1.0, 9.0]}
    rungs = ladder(family(3), by(costs), by(gains))
    assert [dict(r.levels) for r in rungs] == [{}, {"p0": 2}]


def test_what_saves_nothing_comes_last():
    costs = {"p0": [0, 0.0], "p1": [0, 9.0]}
    gains = {"p0": [0, 0.0], "p1": [0, 1.0]}
    rungs = ladder(family(2, 2), by(costs), by(gains))
    assert [dict(r.levels) for r in rungs][1] == {"p1": 1}
