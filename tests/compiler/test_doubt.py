"""Doubts: where samples are too few to decide a budget, and how many would do."""

from dataclasses import replace

import pytest
from budgetc.measure.doubt import doubt_of_drop, doubt_of_value, enough
from budgetc.measure.quality import Quality, Slice

SEEN = Quality("top1", 0.975, 0.98, 0.005, -0.002, 0.011, 1000, True, 0.96, 0.985)


def test_a_drop_that_is_decided():
    assert doubt_of_drop(0.011, SEEN) == ""
    assert doubt_of_drop(0.02, SEEN) == ""
    assert doubt_of_drop(0.0, replace(SEEN, low=0.001)) == ""


def test_a_drop_that_is_kept_by_luck_perhaps():
    assert doubt_of_drop(0.008, SEEN) == (
        "1,000 samples do not rule out a drop of more than 0.8 pp: the interval is -0.2 pp to 1.1 pp; "
        "about 4,000 would"
    )


def test_a_drop_that_is_missed_by_bad_luck_perhaps():
    assert doubt_of_drop(0.0, SEEN) == (
        "1,000 samples do not rule out a drop of 0 pp or less: the interval is -0.2 pp to 1.1 pp; "
        "about 2,000 would"
    )
    slice_ = Slice("night", 0.9, 0.95, 0.05, 0.01, 0.12, 200)
    assert doubt_of_drop(0.02, slice_).startswith("200 samples do not rule out")
    assert doubt_of_drop(0.02, replace(slice_, samples=1)).startswith("1 sample does not rule out")


def test_a_drop_at_its_limit_is_kept_and_never_certain():
    at_limit = replace(SEEN, drop=0.005 + 1e-12)
    assert doubt_of_drop(0.005, at_limit) == (
        "1,000 samples do not rule out a drop of more than 0.5 pp: the interval is -0.2 pp to 1.1 pp; "
        "even 1000 times as many hardly would"
    )


@pytest.mark.parametrize(
    ("few", "text"),
    [
        (0, "none of 1,000 samples differs, but up to 0.38% of all may"),
        (1, "1 of 1,000 samples differs, but up to 0.56% of all may"),
        (4, "4 of 1,000 samples differ, but up to 1.02% of all may"),
    ],
)
def test_too_few_differences(few, text):
    seen = replace(SEEN, drop=0.0, low=0.0, high=0.0, few_differ=few)
    assert doubt_of_drop(0.003, seen) == f"{text}: too few to tell what that costs"
    assert doubt_of_drop(0.011, seen) == ""


def test_a_value():
    assert doubt_of_value(0.97, SEEN) == (
        "1,000 samples do not rule out less than 0.97: the interval is 0.96 to 0.985; about 9,100 would"
    )
    assert doubt_of_value(0.98, SEEN) == (
        "1,000 samples do not rule out 0.98 or more: the interval is 0.96 to 0.985; about 4,100 would"
    )
    assert doubt_of_value(0.95, SEEN) == ""
    assert doubt_of_value(0.99, SEEN) == ""
    assert doubt_of_value(0.97, replace(SEEN, value_low=None)) == ""


def test_half_the_interval_takes_four_times_the_samples():
    assert enough(0.01, 0.0, 0.02, 500) == "about 2,100 would"
