"""The order of calls: one in which they can run, of least peak, and never worse than the one given."""

import itertools
import random

import pytest
from budgetc.lower.ordering import Work, best_order
from hypothesis import given
from hypothesis import strategies as st


@st.composite
def graphs(draw, most=7):
    """Calls that each write a storage of their own and read some of those before; some have scratch memory too."""
    works, sizes = [], {}
    for call in range(draw(st.integers(0, most))):
        read = [n for n in range(call) if draw(st.booleans())]
        touches = [*(f"s{n}" for n in read), f"s{call}"]
        sizes[f"s{call}"] = draw(st.integers(0, 9))
        if draw(st.booleans()):
            touches.append(f"scratch{call}")
            sizes[f"scratch{call}"] = draw(st.integers(1, 9))
        works.append(Work(tuple(touches), tuple(read)))
    return works, sizes


def peak(works, sizes, order):
    """By the definition: a storage lives from the first call that touches it to the last."""
    lives = {}
    for moment, call in enumerate(order):
        for name in works[call].touches:
            lives.setdefault(name, []).append(moment)
    return max(
        (
            sum(sizes.get(n, 0) for n, seen in lives.items() if seen[0] <= moment <= seen[-1])
            for moment in range(len(order))
        ),
        default=0,
    )


def possible(works, order):
    place = {call: moment for moment, call in enumerate(order)}
    return sorted(order) == list(range(len(works))) and all(
        place[needed] < place[call] for call, work in enumerate(works) for needed in work.needs
    )


@given(graphs())
def test_it_is_the_best_of_all_orders(graph):
    works, sizes = graph
    found = best_order(works, sizes)
    every = (o for o in itertools.permutations(range(len(works))) if possible(works, o))
    least = min(peak(works, sizes, order) for order in every)
    assert possible(works, found.calls)
    assert found.peak == found.bound == peak(works, sizes, found.calls) == least


@given(graphs(most=24), st.integers(0, 20))
def test_it_is_never_worse_than_the_order_given(graph, limit):
    works, sizes = graph
    found = best_order(works, sizes, limit)
    assert possible(works, found.calls)
    assert found.peak == peak(works, sizes, found.calls)
    assert found.bound <= found.peak <= peak(works, sizes, range(len(works)))


@given(graphs(most=7))
def test_a_bound_without_a_proof_holds_too(graph):
    works, sizes = graph
    assert best_order(works, sizes, limit=1).bound <= best_order(works, sizes).peak


def test_the_given_order_is_kept_where_no_other_is_better():
    works = [Work((f"s{i}",), ()) for i in range(6)]
    assert best_order(works, {f"s{i}": 8 for i in range(6)}).calls == (0, 1, 2, 3, 4, 5)


def test_branches_run_one_after_the_other():
    """Each makes much of little and then little of much; side by side they would need all that is much."""
    branches = 6
    works, sizes = [Work(("x",), ())], {"x": 1}
    for i in range(branches):
        works.append(Work(("x", f"wide{i}"), (0,)))
        sizes[f"wide{i}"] = 100
    for i in range(branches):
        works.append(Work((f"wide{i}", f"narrow{i}"), (1 + i,)))
        sizes[f"narrow{i}"] = 1
    ends = tuple(range(1 + branches, 1 + 2 * branches))
    works.append(Work((*(f"narrow{i}" for i in range(branches)), "y"), ends))
    found = best_order(works, {**sizes, "y": 1})
    assert peak(works, sizes, range(len(works))) >= 100 * branches
    assert found.peak == found.bound == 100 + branches


@pytest.mark.parametrize("seed", range(3))
def test_a_large_graph_takes_seconds_and_says_what_is_proven(seed):
    random_ = random.Random(seed)
    works, sizes = [], {}
    for call in range(300):
        read = sorted({random_.randrange(call) for _ in range(2)}) if call else []
        works.append(Work((*(f"s{n}" for n in read), f"s{call}"), tuple(read)))
        sizes[f"s{call}"] = random_.randrange(1, 1000)
    found = best_order(works, sizes, limit=300)
    assert possible(works, found.calls)
    assert 0 < found.bound <= found.peak < peak(works, sizes, range(len(works)))
    assert found == best_order(works, sizes, limit=300)
