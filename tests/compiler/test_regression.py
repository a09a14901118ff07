"""Budgets against a baseline: grown figures fail, those that cannot be compared are undecided, and say why."""

from dataclasses import replace

import numpy as np
import pytest
from budgetc.figures import Figures, Limits
from budgetc.lock import Lock, LockedTarget, write_lock
from budgetc.machine import machine_fingerprint
from budgetc.measure.latency import measure_latency
from budgetc.measure.memory import Memory
from budgetc.measure.quality import Quality
from budgetc.measure.size import Size
from budgetc.regression import Now, Regression, judge_regressions, load_regressions
from budgetc.result import Point
from budgetc.search.proof import allowance
from budgetc.verdict import Measurement
from budgetc_specs.budgets import Budgets
from budgetc_specs.errors import LockError, SpecError
from budgetc_specs.units import parse_percent
from budgetc_targets.runners.ssh import Ssh
from hypothesis import given
from hypothesis import strategies as st

KIB = 1024
DATA = "f" * 64
FIGURES = {
    "size_bytes": 40.0 * KIB,
    "memory_bytes": 49.0 * KIB,
    "stack_bytes": 1.0 * KIB,
    "latency_statistic": "p50",
    "latency_s": 100e-6,
    "latency_low_s": 99e-6,
    "latency_high_s": 101e-6,
    "quality_metric": "top1",
    "quality": 0.976,
    "quality_drop": 0.005,
    "quality_samples": 1000,
}
ALL = {"size": "2 %", "memory": "2 %", "latency": "10 %", "quality": "0.2 pp"}


class Runner:
    """This machine itself: nothing here asks it anything."""


NOW = Now(Runner(), "p50", "top1", DATA)
AWAY = replace(NOW, runner=Ssh("ssh://pi@pi"))
ON_BOARD = {"targets.host.runner": "ssh://pi@pi"}


def measured(
    size=40 * KIB, arena=48 * KIB, microseconds=100, value=0.976, higher_is_better=True, entry=""
):
    return Measurement(
        size=Size(size, 10 * KIB, 28 * KIB, 0),
        memory=Memory(arena, 0, KIB, 60 * KIB),
        latency=measure_latency(lambda runs: np.full(runs, microseconds * 1000), {}, None),
        quality=Quality("top1", value, 0.981, 0.005, 0.001, 0.009, 1000, higher_is_better),
        entry=entry,
    )


@pytest.fixture
def load(tmp_path):
    """Regressions of budgets against a lock with the figures above, changed as asked."""

    def load(asked, now=NOW, target="host", machine=None, spec=None, **figures):
        kept = {k: v for k, v in {**FIGURES, **figures}.items() if v is not None}
        machine = machine or {"cpu": "this one", "fingerprint": machine_fingerprint()}
        locked = LockedTarget(
            "host", "c" * 64, "clean", False, "d" * 64, machine, {}, kept, {}, files={}
        )
        file = tmp_path / "model.lock"
        board = replace(locked, figures={**kept, "size_bytes": 20.0 * KIB})
        targets = {"board": board, "host": locked}
        write_lock(
            Lock(file, "x", spec or {}, {"evaluation": DATA}, {}, targets),
            dict.fromkeys(targets, file),
        )
        budgets = Budgets.model_validate({"max_regression": {"baseline": file, **asked}})
        return load_regressions(budgets, target, now)

    return load


def statuses(regressions, measurement):
    return {v.budget: v.status for v in judge_regressions(regressions, measurement)}


def test_each_target_is_held_against_its_own_figures(load):
    (host,) = load({"size": "2 %"})
    (board,) = load({"size": "2 %"}, target="board")
    assert (host.baseline, board.baseline) == ({"": 40 * KIB}, {"": 20 * KIB})


def test_nothing_is_asked_for():
    assert load_regressions(Budgets(), "host", NOW) == ()


def test_what_has_stayed_passes(load):
    verdicts = judge_regressions(load(ALL), measured())
    assert [(v.budget, v.status) for v in verdicts] == [
        ("size_regression", "PASS"),
        ("memory_regression", "PASS"),
        ("latency_regression", "PASS"),
        ("quality_regression", "PASS"),
    ]
    size, _, latency, quality = verdicts
    assert (size.limit, size.baseline) == (pytest.approx(40.8 * KIB), 40 * KIB)
    assert size.text == (
        "size regression: 40 KiB, as much as the 40 KiB of model.lock; at most 2 % more is allowed"
    )
    assert (latency.interval.high, latency.unit) == (pytest.approx(100e-6), "seconds")
    assert (quality.measured, quality.unit) == (0.0, "fraction")


@pytest.mark.parametrize(
    ("figure", "worse", "words"),
    [
        ("size", {"size": 41 * KIB}, "41 KiB, 2.5 % more than the 40 KiB of model.lock"),
        ("memory", {"arena": 50 * KIB}, "51 KiB, 4.08 % more than the 49 KiB of model.lock"),
        ("latency", {"microseconds": 120}, "20 % more than the 100 us of model.lock"),
        ("quality", {"value": 0.972}, "top1 0.972, 0.4 pp worse than the 0.976 of model.lock"),
    ],
)
def test_a_regression_fails_and_says_so(load, figure, worse, words):
    regressions = load(ALL)
    found = statuses(regressions, measured(**worse))
    assert found.pop(f"{figure}_regression") == "FAIL"
    assert set(found.values()) == {"PASS"}
    (failed,) = (v for v in judge_regressions(regressions, measured(**worse)) if v.status == "FAIL")
    assert words in failed.text
    assert failed.excess > 0
    asked = {**ALL, figure: {"max": ALL[figure], "level": "warning"}}
    assert statuses(load(asked), measured(**worse))[f"{figure}_regression"] == "WARN"


def test_of_a_metric_of_which_less_is_better_more_is_worse(load):
    (worse,) = judge_regressions(
        load({"quality": "0.2 pp"}), measured(value=0.979, higher_is_better=False)
    )
    assert (worse.status, worse.measured) == ("FAIL", pytest.approx(0.003))


def test_latencies_of_another_machine_are_not_compared_and_all_else_is(load):
    regressions = load(ALL, machine={"cpu": "Another CPU", "fingerprint": "0" * 12})
    found = statuses(regressions, measured())
    assert found == {
        "size_regression": "PASS",
        "memory_regression": "PASS",
        "latency_regression": "UNDECIDED",
        "quality_regression": "PASS",
    }
    latency = judge_regressions(regressions, measured())[2]
    assert (latency.measured, latency.limit) == (None, pytest.approx(110e-6))
    for words in ('"Another CPU"', "lock on this machine", "level: warning"):
        assert words in latency.text
    limits = Limits(Budgets(), regressions=regressions)
    assert limits.unjudged == ("latency_regression",)
    assert "latency_regression" not in limits.names


def test_latencies_of_one_device_are_compared_whoever_compiled(load):
    other = {"cpu": "Another CPU", "fingerprint": "0" * 12}
    regressions = load(
        {"latency": "10 %"}, AWAY, machine=other, spec=ON_BOARD, latency_device="pi-2"
    )
    assert Limits(Budgets(), regressions=regressions).names == ("latency_regression",)
    same = replace(measured(), device="pi-2")
    assert statuses(regressions, same) == {"latency_regression": "PASS"}
    slower = replace(measured(microseconds=120), device="pi-2")
    assert statuses(regressions, slower) == {"latency_regression": "FAIL"}


@pytest.mark.parametrize(
    ("then", "now", "words"),
    [
        ("pi-2", "pi-3", 'was measured on "pi-2", and this is "pi-3"'),
        ("pi-2", "", 'was measured on "pi-2", and this is'),
        (None, "pi-3", 'was measured on "this one", and this is "pi"'),
    ],
)
def test_latencies_of_two_devices_are_not_compared(load, then, now, words):
    asked, where = {"latency": "10 %"}, AWAY if now else NOW
    regressions = load(asked, where, spec=ON_BOARD if then else {}, latency_device=then)
    (verdict,) = judge_regressions(regressions, replace(measured(), device=now))
    assert verdict.status == "UNDECIDED"
    assert words in verdict.text


def test_a_lock_that_does_not_say_which_device_it_was_is_no_baseline_of_latency(load):
    (one,) = load({"latency": "10 %"}, AWAY, spec=ON_BOARD)
    assert one.why_not == "model.lock does not say which device its times are of; lock anew"


def test_other_samples_are_not_compared(load):
    (verdict,) = judge_regressions(load({"quality": "1 pp"}, quality_samples=16), measured())
    assert verdict.status == "UNDECIDED"
    assert "is about 16 samples, and this is about 1000" in verdict.text
    (older,) = judge_regressions(load({"quality": "1 pp"}, quality_samples=None), measured())
    assert (older.status, "lock anew" in older.text) == ("UNDECIDED", True)


@pytest.mark.parametrize(
    ("figure", "now", "words"),
    [
        ("quality", replace(NOW, metric="f1"), "model.lock has top1, and the metric is f1"),
        ("quality", replace(NOW, evaluation="e" * 64), "other evaluation data"),
        ("latency", replace(NOW, statistic="p90"), "has the p50, and the budget is about the p90"),
    ],
)
def test_what_is_not_of_one_kind_is_not_compared(load, figure, now, words):
    (verdict,) = judge_regressions(load({figure: ALL[figure]}, now), measured())
    assert verdict.status == "UNDECIDED"
    assert words in verdict.text


def test_what_no_run_has_measured_is_undecided(load):
    (then,) = judge_regressions(load({"memory": "2 %"}, stack_bytes=None), measured())
    assert (then.status, "no run has measured" in then.text) == ("UNDECIDED", True)
    here = Measurement(
        Size(40 * KIB, 0, 0, 0), Memory(48 * KIB, 0, None), executed=False, reason="no runner"
    )
    found = judge_regressions(load(ALL), here)
    assert [v.status for v in found] == ["PASS", "UNDECIDED", "UNDECIDED", "UNDECIDED"]
    assert all("not executed: no runner" in v.text for v in found[1:])


def test_what_the_lock_does_not_have_is_refused(load, tmp_path):
    with pytest.raises(SpecError, match='has no target "pi"') as refused:
        load(ALL, target="pi")
    assert "max_regression=null" in str(refused.value)
    with pytest.raises(SpecError, match='no latency of "host"'):
        load({"latency": "10 %"}, latency_s=None)
    (tmp_path / "broken.lock").write_text("lock = 99")
    budgets = Budgets.model_validate(
        {"max_regression": {"baseline": tmp_path / "broken.lock", "size": "1 %"}}
    )
    with pytest.raises(LockError):
        load_regressions(budgets, "host", NOW)


def test_of_several_entry_points_the_worst_counts(load):
    regressions = load({"memory": "2 %"}, **{"memory_bytes 4x1": 99.0 * KIB})
    both = replace(measured(), further=(measured(arena=99 * KIB, entry="4x1"),))
    (verdict,) = judge_regressions(regressions, both)
    assert (verdict.status, verdict.baseline) == ("PASS", 99 * KIB)
    grown = replace(measured(), further=(measured(arena=120 * KIB, entry="4x1"),))
    (verdict,) = judge_regressions(regressions, grown)
    assert (verdict.status, "4x1: memory regression" in verdict.text) == ("FAIL", True)
    other = replace(measured(), further=(measured(entry="8x1"),))
    (verdict,) = judge_regressions(regressions, other)
    assert (verdict.status, "no such entry point" in verdict.text) == ("UNDECIDED", True)


def test_the_search_keeps_to_what_may_have_grown(load):
    limits = Limits(Budgets(), regressions=load(ALL))
    assert limits.names == (
        *("size_regression", "memory_regression"),
        *("latency_regression", "quality_regression"),
    )
    small = Figures(size=40 * KIB, memory=49 * KIB, latency=100e-6, drop=0.006)
    assert max(limits.excess(small).values()) <= 0
    large = Figures(size=42 * KIB, memory=60 * KIB, latency=120e-6, drop=0.009)
    assert min(limits.excess(large).values()) > 0
    warned = Limits(Budgets(), regressions=load({"size": {"max": "2 %", "level": "warning"}}))
    assert warned.names == ()


@given(st.integers(1, 10**9), st.integers(1, 10**9))
def test_a_growth_that_is_allowed_is_enough(baseline, reached):
    """The certificate's value, written into the spec, lets the same library pass."""
    one = Regression("size", {"": float(baseline)}, 0.0, "error", "model.lock")
    (verdict,) = judge_regressions([one], measured(size=reached))
    allowed = parse_percent(allowance(verdict))
    again = replace(one, allowed=allowed)
    assert statuses([again], measured(size=reached)) == {"size_regression": "PASS"}
    assert allowed <= max(reached / baseline - 1, 0) + 0.001 + 1e-9


def test_the_certificate_names_the_field():
    point = Point("size_regression", 1.0, 2.0, "bytes", "clean", 0, "2.5 %")
    assert point.text == "with max_regression.size: 2.5 % this one keeps all budgets: clean"
