"""The course of tuning: who is next, and when enough is enough."""

from dataclasses import replace

import pytest
from budgetc.lower.points import Work
from budgetc.tuning.course import NEGLIGIBLE, PATIENCE, TURN, Contest, most_promising, share
from budgetc.tuning.records import Record
from budgetc_targets.kernels.tiles import point

SPACE = [point(pixels=n) for n in range(1, 20)]


@pytest.fixture
def contest(works: list[Work]):
    """A kernel of which the default was measured: `contest(nanoseconds, calls=1, fruitless=0)`."""

    def make(nanoseconds: float, calls: int = 1, fruitless: int = 0) -> Contest:
        times = dict.fromkeys(SPACE[: 1 + fruitless], nanoseconds)
        record = Record("convolution", "x", times, SPACE[0], fruitless)
        return Contest(replace(works[0], calls=calls), SPACE, record)

    return make


def test_the_kernel_with_most_of_the_time_is_next(contest) -> None:
    often, dear, cheap = contest(40, calls=3), contest(100), contest(50)
    assert most_promising([cheap, dear, often]) is often
    assert share(often, [cheap, dear, often]) == pytest.approx(120 / 270)
    assert most_promising([cheap, dear]) is dear


def test_each_turn_in_vain_halves_the_promise(contest) -> None:
    tired = contest(100, fruitless=TURN)
    assert most_promising([tired, contest(49)]) is tired
    fresh = contest(51)
    assert most_promising([tired, fresh]) is fresh


def test_patience_ends(contest) -> None:
    assert most_promising([contest(100, fruitless=PATIENCE)]) is None
    assert len(contest(100, fruitless=PATIENCE - 1).waiting) == len(SPACE) - PATIENCE


def test_a_negligible_kernel_gets_nothing(contest) -> None:
    small = contest(1.0)
    rest = contest(1 / NEGLIGIBLE, fruitless=PATIENCE)
    assert most_promising([small, rest]) is None
    assert most_promising([small]) is small


def test_a_kernel_whose_default_is_not_known_waits_for_nothing(contest) -> None:
    unknown = contest(1.0)
    unknown.record = Record("convolution", "x", {})
    assert most_promising([unknown]) is None
    assert share(unknown, [unknown]) == 0
    assert unknown.point == SPACE[0]


def test_a_point_that_left_the_space_is_not_chosen(contest) -> None:
    old = contest(1.0)
    old.record = old.record.measured({point(pixels=99): 0.5}, point(pixels=99))
    assert old.point == SPACE[0]
