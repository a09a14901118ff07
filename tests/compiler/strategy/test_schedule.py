"""Successive halving: as thorough as there is time for, and never more."""

from itertools import pairwise

import pytest
from budgetc.strategy.schedule import SCHEDULES, Pace, Schedule, schedule_for
from hypothesis import given
from hypothesis import strategies as st


def test_the_better_half_goes_on_for_as_many_epochs_again():
    rungs = Schedule(8, 48).rungs
    assert [(r.kept, r.tries, r.epochs) for r in rungs] == [
        (8, 0, 6),
        (4, 1, 6),
        (2, 1, 12),
        (1, 1, 24),
    ]
    assert sum(r.epochs for r in rungs) == 48
    assert Schedule(8, 48).cost == 48 + 30 + 36 + 48
    assert [r.epochs for r in Schedule(3, 64).rungs] == [32, 32]
    assert [r.epochs for r in Schedule(1, 64).rungs] == [64]


@pytest.mark.parametrize("entrants", [1, 2, 3, 5, 7])
def test_any_number_may_begin(entrants):
    rungs = Schedule(entrants, 64).rungs
    assert sum(r.epochs for r in rungs) == 64
    assert rungs[0].kept == entrants
    assert rungs[-1].kept == 1
    assert all(one.kept // 2 == other.kept for one, other in pairwise(rungs))


def test_two_trainings_tell_how_long_one_takes():
    assert Pace.of((1, 3), (5.0, 9.0)) == Pace(start=3.0, epoch=2.0)
    assert Pace.of((1, 3), (5.0, 4.0)).epoch > 0  # noise


@given(st.floats(0.01, 100), st.floats(0, 20), st.floats(0, 10_000), st.integers(1, 12))
def test_what_is_chosen_fits_where_anything_does(epoch, start, seconds, entrants):
    pace = Pace(start, epoch)
    chosen = schedule_for(pace, seconds, entrants)
    others = [Schedule(min(n, entrants), epochs) for n, epochs in SCHEDULES]
    assert chosen.entrants <= entrants
    assert chosen.fits(pace, seconds) or not any(other.fits(pace, seconds) for other in others)
    assert chosen.fits(pace, seconds) or chosen == Schedule(1, 1)


@given(st.floats(0.01, 100), st.floats(0, 10_000))
def test_more_time_is_never_less_training(epoch, seconds):
    pace = Pace(1.0, epoch)
    order = [Schedule(*each) for each in SCHEDULES]
    less, more = (order.index(schedule_for(pace, s, 8)) for s in (seconds, 2 * seconds))
    assert more <= less
