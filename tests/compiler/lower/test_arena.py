"""The arena: nothing alive is overwritten, and no plan is smaller than it can be."""

from budgetc.lower.arena import ALIGNMENT, Life, lower_bound, plan
from hypothesis import given
from hypothesis import strategies as st


@st.composite
def lifetimes(draw):
    lives = {}
    for i in range(draw(st.integers(0, 20))):
        first = draw(st.integers(0, 12))
        lives[f"t{i}"] = Life(draw(st.integers(1, 5000)), first, first + draw(st.integers(0, 6)))
    return lives


@given(lifetimes())
def test_what_lives_at_the_same_time_does_not_overlap(lives):
    made = plan(lives)
    assert set(made.offsets) == set(lives)
    for one in lives:
        for other in lives:
            meet = lives[one].first <= lives[other].last and lives[other].first <= lives[one].last
            if one < other and meet:
                a, b = made.offsets[one], made.offsets[other]
                assert a + lives[one].size <= b or b + lives[other].size <= a


@given(lifetimes())
def test_every_tensor_is_aligned_and_within_the_arena(lives):
    made = plan(lives)
    for name, life in lives.items():
        assert made.offsets[name] % ALIGNMENT == 0
        assert made.offsets[name] + life.size + ALIGNMENT <= made.size


@given(lifetimes())
def test_the_size_lies_between_the_bound_and_the_sum(lives):
    made = plan(lives)
    assert made.lower_bound == lower_bound(lives)
    assert made.lower_bound <= made.size
    assert made.size <= sum(life.size + ALIGNMENT for life in lives.values()) + ALIGNMENT


def test_memory_is_reused_as_soon_as_it_is_free():
    lives = {"a": Life(640, 0, 1), "b": Life(320, 1, 2), "c": Life(640, 2, 3)}
    assert plan(lives).size == 640 + 320 + ALIGNMENT
    assert lower_bound(lives) == 960


def test_a_chain_takes_the_two_largest_neighbours():
    sizes = [64, 1024, 512, 2048, 128]
    lives = {str(i): Life(size, i, i + 1) for i, size in enumerate(sizes)}
    assert plan(lives).size == 2048 + 512 + ALIGNMENT


def test_nothing_takes_nothing():
    assert plan({}).size == 0
    assert lower_bound({}) == 0
