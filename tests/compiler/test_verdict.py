"""Verdicts: every budget has one, with its figures, and nothing unmeasured ever passes."""

import json
from dataclasses import replace

import numpy as np
import pytest
from budgetc.measure.classification import top1
from budgetc.measure.latency import Interval, measure_latency
from budgetc.measure.memory import Memory
from budgetc.measure.quality import Quality, Slice
from budgetc.measure.signals import mse
from budgetc.measure.size import Size
from budgetc.verdict import Measurement, check_quality_budget, judge
from budgetc_specs.budgets import Budgets, QualityBudget
from budgetc_specs.errors import SpecError

KIB = 1024
MEASURED = Measurement(
    size=Size(40 * KIB, 10 * KIB, 28 * KIB, 0),
    memory=Memory(48 * KIB, 64, 1 * KIB, 60 * KIB),
    latency=measure_latency(
        lambda runs: np.full(runs, 100_000),
        {"onnxruntime": lambda runs: np.full(runs, 200_000)},
        None,
    ),
    quality=Quality("top1", 0.976, 0.981, 0.005, 0.001, 0.009, 1000),
)


def verdict(budgets, measurement=MEASURED):
    (only,) = judge(Budgets.model_validate(budgets), measurement)
    return only


def timed(limit, microseconds=100, **options):
    budget = Budgets.model_validate({"latency": {"max": limit, **options}}).latency
    latency = measure_latency(
        lambda runs: np.full(runs, microseconds * 1000),
        {"onnxruntime": lambda runs: np.full(runs, 200_000)},
        budget,
    )
    return verdict({"latency": {"max": limit, **options}}, replace(MEASURED, latency=latency))


def test_every_budget_in_order_and_as_json():
    budgets = Budgets.model_validate(
        {"size": "48 KiB", "memory": "64 KiB", "latency": "200 us", "quality": "0.5 pp"}
    )
    verdicts = judge(budgets, MEASURED)
    assert [v.budget for v in verdicts] == ["size", "memory", "latency", "quality"]
    plain = json.loads(json.dumps([v.to_json() for v in verdicts]))
    assert plain[3]["interval"] == [0.001, 0.009]
    assert plain[0] == {
        "budget": "size",
        "limit": 48 * KIB,
        "measured": 40 * KIB,
        "interval": None,
        "excess": pytest.approx(-1 / 6),
        "status": "PASS",
        "unit": "bytes",
        "doubt": "",
        "baseline": None,
        "text": "size: 40 KiB of 48 KiB (code 10 KiB, constants 28 KiB, data 0 B, the rest 2 KiB)",
    }
    assert judge(Budgets(), MEASURED) == ()


def test_size():
    assert verdict({"size": "40 KiB"}).status == "PASS"
    failed = verdict({"size": "8 KiB"})
    assert (failed.status, failed.excess, failed.holds) == ("FAIL", 4.0, False)
    warned = verdict({"size": {"max": "8 KiB", "level": "warning"}})
    assert (warned.status, warned.holds) == ("WARN", True)


def test_memory():
    passed = verdict({"memory": "64 KiB"})
    assert passed.status == "PASS"
    assert passed.text == (
        "memory: 49.1 KiB of 64 KiB (arena 48 KiB, static data 64 B, stack 1 KiB)"
    )
    assert verdict({"memory": "49 KiB"}).status == "FAIL"


def test_memory_that_a_run_contradicts_is_a_warning():
    doubtful = replace(MEASURED, memory=Memory(48 * KIB, 0, KIB, 49 * KIB + 33 * KIB))
    seen = verdict({"memory": "64 KiB"}, doubtful)
    assert seen.status == "WARN"
    assert seen.text.endswith(
        "; one inference was seen to take 83968 bytes, 33792 more than its parts add up to"
    )
    assert verdict({"memory": "40 KiB"}, doubtful).status == "FAIL"


def test_latency():
    passed = timed("200 us")
    assert (passed.status, passed.measured) == ("PASS", 100e-6)
    assert passed.text == "latency: p50 100 us (100 us to 100 us) of 200 us"
    assert timed("90 us").status == "FAIL"
    relative = timed("0.6 x onnxruntime")
    assert (relative.status, relative.measured, relative.limit) == ("PASS", 0.5, 0.6)
    assert relative.text == (
        "latency: p50 100 us (100 us to 100 us) of 0.6 x onnxruntime "
        "(ratio 0.5, 0.5 to 0.5; onnxruntime 200 us in the same run)"
    )
    failed = timed("0.4 x onnxruntime")
    assert (failed.status, failed.excess) == ("FAIL", pytest.approx(0.25))


def test_latency_too_close_to_call():
    undecided = verdict({"latency": "100 us"}, MEASURED)  # measured without a decision
    assert (undecided.status, undecided.holds) == ("UNDECIDED", False)
    assert undecided.text.endswith("; undecided after 1 looks: too close, or the machine too noisy")


def test_an_emulator_passes_no_latency():
    for latency in (MEASURED.latency, None):
        emulated = replace(MEASURED, emulated=True, latency=latency)
        judged = verdict({"latency": "1 s"}, emulated)
        assert (judged.status, judged.measured) == ("UNDECIDED", None)
        seen = "; 100 us there" if latency else ""
        assert judged.text == (
            f"latency: p50 of at most 1 s: emulated{seen}; "
            "an emulator's times say nothing about the target"
        )
    assert verdict({"quality": "0.5 pp"}, emulated).status == "PASS"


def test_what_was_not_executed_passes_nothing():
    still = Measurement(
        MEASURED.size,
        Memory(48 * KIB, 64, None),
        executed=False,
        reason="qemu-aarch64 is not installed",
    )
    budgets = Budgets.model_validate(
        {"size": "48 KiB", "memory": "64 KiB", "latency": "1 s", "quality": {"min": 0.1}}
    )
    size, memory, latency, quality = judge(budgets, still)
    assert size.status == "PASS"
    assert [v.status for v in (memory, latency, quality)] == ["UNDECIDED"] * 3
    why = "not executed: qemu-aarch64 is not installed"
    assert memory.text.endswith(f"stack not measured); {why}")
    assert latency.text == f"latency: p50 of at most 1 s: {why}"
    assert quality.text == f"quality: {why}"
    # The arena alone is too large already: that needs no run.
    assert verdict({"memory": "40 KiB"}, still).status == "FAIL"


def test_quality_drop():
    passed = verdict({"quality": "0.5 pp"})  # exactly 5 of 1000
    assert (passed.status, passed.measured) == ("PASS", 0.005)
    assert passed.interval == Interval(0.001, 0.009)
    assert passed.text == (
        "quality: drop 0.5 pp of 0.5 pp "
        "(top1 0.976, float model 0.981, 0.1 pp to 0.9 pp, 1000 samples)"
    )
    failed = verdict({"quality": "0.4 pp"})
    assert (failed.status, failed.excess) == ("FAIL", pytest.approx(0.25))
    assert verdict({"quality": "0 pp"}).status == "FAIL"


def test_quality_minimum():
    assert verdict({"quality": {"min": 0.976}}).status == "PASS"
    failed = verdict({"quality": {"min": 0.98}})
    assert (failed.status, failed.excess) == ("FAIL", pytest.approx(0.004 / 0.98))
    assert failed.text == ("quality: top1 0.976, float model 0.981, at least 0.98 (1000 samples)")


def test_a_minimum_of_what_should_be_small():
    budget = Budgets.model_validate({"quality": {"min": 0.5}}).quality
    check_quality_budget(budget, top1)
    with pytest.raises(SpecError) as caught:
        check_quality_budget(budget, mse)
    assert str(caught.value) == (
        "budgets.quality.min: less is better of the metric mse, so a least value bounds nothing\n"
        '  bound what it may rise against the float model, such as "drop: 0.5 pp" for 0.005.'
    )


def test_a_minimum_beyond_the_best_there_is():
    for least, hint in ((97, "97 % is 0.97; write"), (101, "write")):
        with pytest.raises(SpecError) as caught:
            check_quality_budget(QualityBudget(min=float(least)), top1)
        assert str(caught.value) == (
            f"budgets.quality.min: {least} is out of reach: top1 is at most 1\n"
            f"  {hint} what the metric has to reach, in its own unit."
        )
    check_quality_budget(QualityBudget(min=1.0), top1)


def test_the_worst_entry_point_counts():
    larger = replace(MEASURED, memory=Memory(80 * KIB, 64, 1 * KIB, 90 * KIB), entry="4x28")
    found = verdict({"memory": "64 KiB"}, replace(MEASURED, further=(larger,)))
    assert found.status == "FAIL"
    assert found.measured == larger.memory.total
    assert found.text.startswith("first shape: memory: ")
    assert "; 4x28: memory: " in found.text


def test_the_figure_decides_and_the_doubt_is_said():
    passed = verdict({"quality": "0.5 pp"})
    assert passed.status == "PASS"
    assert passed.doubt == (
        "1,000 samples do not rule out a drop of more than 0.5 pp: the interval is 0.1 pp to "
        "0.9 pp; even 1000 times as many hardly would"
    )
    failed = verdict({"quality": "0.2 pp"})
    assert failed.status == "FAIL"
    assert failed.doubt.startswith("1,000 samples do not rule out a drop of 0.2 pp or less")
    assert verdict({"quality": "1 pp"}).doubt == ""


SLICED = replace(
    MEASURED.quality,
    slices=(
        Slice("night", 0.9, 0.95, 0.05, 0.01, 0.12, 200),
        Slice("day", 0.99, 0.99, 0.0, -0.01, 0.01, 790),
        Slice("fog", 0.5, 0.9, 0.4, 0.1, 0.7, 10),
    ),
)


def test_the_worst_slice():
    budgets = Budgets.model_validate({"quality": {"drop": "1 pp", "worst_slice": "2 pp"}})
    whole, worst = judge(budgets, replace(MEASURED, quality=SLICED))
    assert (whole.budget, whole.status) == ("quality", "PASS")
    assert (worst.budget, worst.status, worst.unit) == ("worst_slice", "FAIL", "fraction")
    assert (worst.measured, worst.interval) == (0.05, Interval(0.01, 0.12))
    assert worst.excess == pytest.approx(1.5)
    assert worst.text == (
        'worst slice: drop 5 pp of 2 pp in "night" (top1 0.9, float model 0.95, 1 pp to 12 pp, 200 '
        "samples; 3 slices; 1 of them too small to be judged)"
    )
    assert worst.doubt.endswith("the interval is 1 pp to 12 pp; about 360 would")


def test_slices_that_are_all_too_small_pass_nothing():
    small = replace(SLICED, slices=SLICED.slices[2:])
    found = verdict({"quality": {"worst_slice": "50 pp"}}, replace(MEASURED, quality=small))
    assert found.status == "UNDECIDED"
    assert found.text == "worst slice: no slice has the 20 samples that it takes to judge one"
    warned = {"quality": {"worst_slice": "50 pp", "level": "warning"}}
    assert verdict(warned, replace(MEASURED, quality=small)).status == "WARN"
