"""What a certificate says: the fewest budgets that bind together, and values that a spec takes as they are."""

from dataclasses import replace

from budgetc.measure.latency import Interval
from budgetc.regression import Regression
from budgetc.search.proof import allowance, binding, prove
from budgetc.verdict import Verdict
from budgetc_specs.budgets import LatencyBudget, QualityBudget, Relative, SizeBudget
from budgetc_specs.units import parse_bytes, parse_percent, parse_points
from hypothesis import given
from hypothesis import strategies as st


def verdict(unit, measured, interval=None):
    return Verdict("size", 0.0, measured, interval, 1.0, "FAIL", "", unit)


@given(st.integers(1, 2**40))
def test_bytes_that_are_allowed_are_enough_and_little_more(count):
    allowed = parse_bytes(allowance(verdict("bytes", count)))
    assert count <= allowed <= count * 1.1 + 1
    assert SizeBudget.model_validate(allowance(verdict("bytes", count))).max_bytes == allowed


@given(st.floats(0, 1))
def test_a_drop_that_is_allowed_is_enough_and_little_more(drop):
    text = allowance(verdict("fraction", drop))
    assert drop <= parse_points(text) <= drop + 1.01e-4
    assert QualityBudget.model_validate({"drop": text}).drop == parse_points(text)


def test_a_drop_in_whole_hundredths_is_allowed_as_it_is():
    assert allowance(verdict("fraction", 0.0123)) == "1.23 pp"
    assert allowance(verdict("fraction", 0.1 + 0.2)) == "30.01 pp"  # a little more than 30


@given(st.floats(1e-9, 1e9), st.floats(1, 1.5))
def test_a_latency_that_is_allowed_leaves_room_above_its_interval(seconds, spread):
    interval = Interval(seconds / spread, seconds * spread)
    text = allowance(verdict("seconds", seconds, interval))
    allowed = LatencyBudget.model_validate({"max": text}).max
    assert interval.high < allowed < interval.high * 1.08


@given(st.floats(1e-6, 1e6))
def test_a_ratio_that_is_allowed_names_its_peer(ratio):
    text = allowance(verdict("x onnxruntime-int8", ratio))
    allowed = LatencyBudget.model_validate({"max": text}).max
    assert isinstance(allowed, Relative)
    assert allowed.peer == "onnxruntime-int8"
    assert ratio < allowed.ratio < ratio * 1.08


@given(st.floats(-1e6, 1e6))
def test_a_least_value_that_is_allowed_was_reached(value):
    assert value - 1.01e-4 <= float(allowance(verdict("metric", value))) <= value


def conflict(world, **more):
    """A size that needs int8 and pruning, and no loss at all."""
    return world(size=1900, drop=0.0, **more)


def test_budgets_that_conflict_bind_together(world):
    own = conflict(world)
    own.explorer.explore([], 24)
    found = binding(own.selection, own.limits, own.explorer.candidates)
    assert found == ("size", "quality")


def test_a_budget_that_no_candidate_keeps_binds_alone(world):
    own = world(size=10, drop=0.0)
    own.explorer.explore([], 24)
    assert binding(own.selection, own.limits, own.explorer.candidates) == ("size",)


def test_where_all_was_refused_no_budget_is_to_blame(world):
    own = world(size=10, drop=0.0)
    assert binding(own.selection, own.limits, []) == ()


def test_what_can_be_kept_binds_nothing(world):
    own = world(size=4000, drop=1.0)
    own.explorer.explore([], 12)
    assert binding(own.selection, own.limits, own.explorer.candidates) == ()


def test_measurements_tell_where_expectations_promised_too_much(world):
    """The library turns out to be larger than was expected of every candidate."""
    own = world(size=1900, drop=1.0, grown=4000)
    own.explorer.explore([], 12)
    assert own.selection.best() is None
    assert binding(own.selection, own.limits, own.explorer.candidates) == ("size",)


def test_each_budget_that_gives_way_has_a_point_that_keeps_the_rest(world):
    own = conflict(world)
    own.explorer.explore([], 24)
    assert own.selection.best() is None
    proof = prove(own.explorer, own.selection, own.limits, (), own.explorer.candidates, "")
    assert proof.binding == ("size", "quality")
    assert [point.budget for point in proof.points] == ["size", "quality"]
    for point in proof.points:
        trial = own.explorer.candidates[point.trial].trial
        assert str(trial.recipe) == point.recipe
        assert [v.budget for v in trial.verdicts if not v.holds] == [point.budget]
        assert point.allow in proof.text
    size, quality = proof.points
    assert size.limit < size.reached <= parse_bytes(size.allow)
    assert quality.limit < quality.reached <= parse_points(quality.allow)
    relaxed = world(size=parse_bytes(size.allow), drop=0.0)
    relaxed.explorer.explore([], 24)
    assert relaxed.selection.best() is not None


def test_a_regression_is_kept_like_a_budget(world):
    grown = Regression("size", {"": 1800.0}, 0.1, "error", "a.lock")
    own = world(regressions=[grown])
    found = own.seeker.seek([], "")
    assert found.exit_code == 0
    (verdict,) = found.chosen.verdicts
    assert (verdict.budget, verdict.status) == ("size_regression", "PASS")
    tight = world(drop=0.0, regressions=[grown])
    proof = tight.seeker.seek([], "").proof
    assert proof.binding == ("quality", "size_regression")
    (growth,) = (p for p in proof.points if p.budget == "size_regression")
    again = replace(grown, allowed=parse_percent(growth.allow))
    assert world(drop=0.0, regressions=[again]).seeker.seek([], "").exit_code == 0


def test_what_cannot_be_judged_here_is_not_searched_for(world):
    """One library is built, for all other verdicts; no further one could be held against the baseline either."""
    timed = Regression("latency", {"": 1.0}, 0.1, "error", "a.lock", why_not="another machine")
    own = world(size=1900, drop=1.0, regressions=[timed])
    found = own.seeker.seek([], "")
    assert (found.exit_code, len(own.formula.built)) == (1, 1)
    assert found.proof.binding == ("latency_regression",)
    assert "latency_regression binds" in found.proof.text
    (built,) = (t for t in found.trials if t.measurement)
    statuses = {v.budget: v.status for v in built.verdicts}
    assert statuses == {"size": "PASS", "quality": "PASS", "latency_regression": "UNDECIDED"}
