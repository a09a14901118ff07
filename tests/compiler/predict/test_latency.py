"""What is learnt of kernels: measured ones as they are, near ones nearly, and spreads that say how far to trust."""

import math

import numpy as np
import pytest
from budgetc.lower.lowered import Layer
from budgetc.predict.latency import Clockwork, Learnt, features, group_of
from budgetc.predict.roofline import roofline
from budgetc.predict.timings import Timing
from budgetc.registry import find_target
from budgetc_specs.capability import Capability
from hypothesis import given, settings
from hypothesis import strategies as st

SHEET = find_target("host").capability(None, 1)


def layer(form: str, work: int = 10**6, moved: int = 10**4, operator: str = "convolution") -> Layer:
    return Layer(form, operator, form, 32, 0.0, 100, work, work, moved, form=form)


def timed(form: str, seconds: float, work: int = 10**6, moved: int = 10**4) -> Timing:
    return Timing.of(layer(form, work, moved), seconds)


def test_a_measured_kernel_is_the_median_of_its_measurements() -> None:
    clock = Clockwork([timed("a", s * 1e-6) for s in (5, 7, 6, 90, 6)], SHEET)
    (found,), total, (low, high) = clock.expect([layer("a")])
    assert found.basis == "measured"
    assert found.seconds == 6e-6
    assert low < total < high
    assert total == pytest.approx(6e-6, rel=0.01)


def test_without_measurements_it_is_the_roofline_and_says_so() -> None:
    clock = Clockwork([], SHEET)
    calls, total, (low, high) = clock.expect([layer("a"), layer("b", 10**7)])
    assert {call.basis for call in calls} == {"roofline"}
    assert calls[1].seconds > calls[0].seconds
    assert high / low > 2
    assert total == pytest.approx(sum(call.seconds for call in calls), rel=0.01)


def efficient(work: int, moved: int, factor: float) -> Timing:
    """A kernel whose time is a fixed multiple of its roofline."""
    draft = timed(f"{work} {moved}", 1.0, work, moved)
    return Timing(**{**vars(draft), "seconds": roofline(draft, SHEET) * factor})


@settings(max_examples=30, deadline=None)
@given(st.floats(0.3, 20), st.integers(15, 26), st.integers(10, 22))
def test_a_steady_efficiency_is_found(factor: float, work: int, moved: int) -> None:
    timings = [efficient(2**w, 2**m, factor) for w in (16, 19, 22, 25) for m in (11, 15, 19)]
    asked = layer("new", 2**work + 7, 2**moved + 7)
    (found,), total, (low, high) = Clockwork(timings, SHEET).expect([asked])
    assert found.basis == "learnt"
    assert found.seconds == pytest.approx(roofline(asked, SHEET) * factor, rel=0.25)
    assert low <= total <= high


def test_the_nearer_the_surer() -> None:
    clock = Clockwork([efficient(2**w, 2**13, 3.0) for w in (18, 19, 20, 21)], SHEET)
    near, far = (clock.expect([layer("x", 2**w, 2**13)])[0][0].spread for w in (20, 30))
    unknown = clock.expect([layer("x", 2**20, 2**13, "softmax")])[0][0]
    assert near < far
    assert near < unknown.spread
    assert unknown.basis == "roofline"


def test_intervals_hold_what_they_promise() -> None:
    """Of kernels drawn with a spread of their own, nine tenths lie within, whatever the spread is."""
    random = np.random.default_rng(0)
    for spread in (0.05, 0.5):
        inside = 0
        for _ in range(100):
            draws = [
                efficient(2**w + i, 2**13 + i, 3.0 * math.exp(spread * random.standard_normal()))
                for i, w in enumerate([17, 18, 19, 20, 21, 22, 23] * 2)
            ]
            *known, asked = draws
            clock = Clockwork(known, SHEET)
            _, _, (low, high) = clock.expect([layer("new", asked.work, asked.moved)])
            inside += low <= asked.seconds <= high
        assert inside >= 80


def test_one_of_each_group_is_left_out_for_its_spread() -> None:
    steady = [efficient(2**w, 2**13, 3.0) for w in range(16, 26)]
    wild = [efficient(2**w, 2**13, 3.0 * 5 ** (w % 2)) for w in range(16, 26)]
    assert Learnt.from_timings(steady, SHEET).wider == 1.0
    assert Learnt.from_timings(wild, SHEET).wider > 1.5


def test_groups_and_features_are_told_by_what_decides_speed(host: Capability) -> None:
    del host
    assert group_of(layer("a")) == ("convolution", 32, False)
    assert (
        features([layer("a", 0, 10**4), layer("b", 10**4, 10**4)]).tolist()
        == [features([layer("b", 10**4, 10**4)])[0].tolist()] * 2
    )
