"""The report shows every budget with its figures, what was compared, what was tried, and why nothing came of it."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
from budgetc.cli.report import print_misses, print_report
from budgetc.measure.latency import Interval, Latency, Timing
from budgetc.measure.memory import Memory
from budgetc.measure.quality import Quality, Slice
from budgetc.measure.size import Size
from budgetc.result import Result, TargetResult, Trial
from budgetc.verdict import Measurement, judge
from budgetc_specs.budgets import Budgets
from rich.console import Console

LATENCY = Latency(
    ours=Timing("ours", 100, 200e-6, 220e-6, 250e-6, 205e-6, 190e-6),
    peers={
        "onnxruntime": Timing("onnxruntime", 100, 300e-6, 0.0, 0.0, 0.0, 0.0),
        "onnxruntime-int8": Timing("onnxruntime-int8", 100, 250e-6, 0.0, 0.0, 0.0, 0.0),
    },
    statistic="p50",
    interval=Interval(195e-6, 205e-6),
    ratio=0.8,
    ratio_interval=Interval(0.78, 0.82),
    decision="PASS",
    looks=1,
)
MEASUREMENT = Measurement(
    size=Size(50544, 11383, 37280, 0),
    memory=Memory(27008, 0, 592, 28672),
    latency=LATENCY,
    quality=Quality("top1", 0.979, 0.981, 0.002, -0.003, 0.007, 1000),
)
LEDGER = (
    {
        "pass": "quantize{per=channel}",
        "modified": True,
        "weight_bytes": 38289,
        "parameters": 1,
        "notes": [
            {"kind": "did", "node": "conv1", "text": "weights s8"},
            {"kind": "refused", "node": "[softmax]", "text": "stays float"},
        ],
    },
)


def budgets(**limits):
    given = {
        "size": "64 KiB",
        "memory": "64 KiB",
        "latency": "1.0 x onnxruntime-int8",
        "quality": {"drop": "0.5 pp"},
    }
    return Budgets.model_validate({**given, **limits})


def trial(**limits):
    verdicts = judge(budgets(**limits), MEASUREMENT)
    outcome = "feasible" if all(v.holds for v in verdicts) else "infeasible"
    return Trial("clean | quantize{per=channel}", outcome, "", 38289, LEDGER, MEASUREMENT, verdicts)


@pytest.fixture
def target(sheet):
    skipped = Trial("clean", "out of reach", "its weights alone take 138.7 KiB", 142056)
    return TargetResult(
        target="pi",
        capability=sheet(),
        trials=(skipped, trial()),
        chosen=trial(),
        folder=Path("/out/pi"),
        baseline={"model_bytes": {"onnxruntime": 148377, "onnxruntime-int8": 49875}},
    )


def report(target, *, verbose=False):
    console = Console(file=io.StringIO(), width=160, color_system=None)
    print_report(console, Result("m", (target,)), verbose=verbose)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def test_every_budget_with_its_figures(target):
    lines = report(target)
    assert "budget limit measured interval status" in lines
    assert "size 64 KiB 49.4 KiB - PASS" in lines
    assert "memory 64 KiB 27.0 KiB - PASS" in lines
    assert "latency 1 x onnxruntime-int8 0.8 x 0.78 x to 0.82 x PASS" in lines
    assert "quality 0.5 pp 0.2 pp -0.3 pp to 0.7 pp PASS" in lines
    assert "written to /out/pi" in lines


def test_other_units(target):
    chosen = trial(latency="250 us", quality={"min": 0.97})
    lines = report(replace(target, chosen=chosen))
    assert "latency 250 us 200 us 195 us to 205 us PASS" in lines
    assert "quality 0.97 0.979 - PASS" in lines


def test_slices_and_doubts(target):
    slices = (Slice("night", 0.95, 0.96, 0.01, -0.02, 0.06, 100),)
    sliced = replace(MEASUREMENT, quality=replace(MEASUREMENT.quality, slices=slices))
    limits = budgets(quality={"drop": "0.5 pp", "worst_slice": "2 pp"})
    verdicts = judge(limits, sliced)
    lines = report(replace(target, chosen=replace(trial(), verdicts=verdicts)))
    assert "worst_slice 2 pp 1 pp -2 pp to 6 pp PASS" in lines
    assert (
        "quality: 1,000 samples do not rule out a drop of more than 0.5 pp: the interval is -0.3 pp "
        "to 0.7 pp; about 2,800 would"
    ) in lines
    assert any(line.startswith("worst_slice: 100 samples do not rule out") for line in lines)


def test_how_it_was_tuned(target):
    tuned = {"how": "chosen by a model of the core, not measured", "notes": ["a board was lost"]}
    lines = report(replace(target, chosen=replace(trial(), parts={"tuned": tuned})))
    assert "schedules chosen by a model of the core, not measured" in lines
    assert "while tuning: a board was lost" in lines


def test_beside_onnxruntime(target):
    lines = report(target)
    assert "budgetc onnxruntime float onnxruntime int8" in lines
    assert "size 49.4 KiB 144.9 KiB model 48.7 KiB model" in lines
    assert "latency p50 200 us 300 us (1.50x) 250 us (1.25x)" in lines
    assert "top1 0.979 0.981 -" in lines


def test_every_candidate(target):
    lines = report(target)
    assert "1 clean out of reach - - - its weights alone take 138.7 KiB" in lines
    assert "2 clean | quantize{per=channel} feasible 49.4 KiB 200 us 0.2 pp" in lines


def test_the_ledger_only_where_asked_for(target):
    noted = ("conv1: weights s8", "[softmax]: refused: stays float")
    quiet, loud = report(target), report(target, verbose=True)
    assert not set(noted) & set(quiet)
    assert set(noted) <= set(loud)
    assert "quantize{per=channel}: changed, weights 37.4 KiB" in loud


def test_a_miss_shows_the_nearest_point(target):
    missed = replace(
        target,
        trials=(trial(size="32 KiB", quality={"drop": "0.1 pp"}), trial(size="48 KiB")),
        chosen=None,
        folder=None,
        certificate="size binds: 49.4 KiB of 48 KiB\nthe nearest point is 'x'",
        exit_code=1,
    )
    lines = report(missed)
    assert "no artefact was written: no candidate keeps every budget" in lines
    assert "size binds: 49.4 KiB of 48 KiB" in lines
    assert "nearest point: clean | quantize{per=channel}" in lines
    assert "size 48 KiB 49.4 KiB - FAIL" in lines
    assert any(line.startswith("size: 49.4 KiB of 48 KiB (code") for line in lines)
    assert any(line.endswith("0.2 pp misses size, quality") for line in lines)


def test_quiet_tells_misses_only(target):
    def misses(*targets):
        console = Console(file=io.StringIO(), width=160, color_system=None)
        print_misses(console, Result("m", targets))
        return console.file.getvalue()

    wrong = Trial("clean", "wrong numbers", "its outputs are not onnxruntime's: y: 7 steps")
    failed = replace(target, trials=(wrong,), chosen=None, folder=None, exit_code=6)
    assert misses(target) == ""
    assert misses(target, failed).splitlines() == [
        "pi: no artefact was written: the binary's numbers are wrong, which is a fault of budgetc",
        "  clean: its outputs are not onnxruntime's: y: 7 steps",
    ]


def test_all_candidates_refused(target):
    refused = Trial("clean", "refused", "budgetc.produce:produce was killed by SIGSEGV")
    missed = replace(target, trials=(refused,), chosen=None, folder=None, exit_code=1)
    assert "clean: refused: budgetc.produce:produce was killed by SIGSEGV" in report(missed)


def test_an_emulated_target_has_no_latency_to_compare(target):
    emulated = replace(MEASUREMENT, latency=None, emulated=True)
    verdicts = judge(budgets(latency={"max": "2 ms", "level": "warning"}), emulated)
    chosen = replace(trial(), measurement=emulated, verdicts=verdicts)
    lines = report(replace(target, chosen=chosen, trials=(chosen,)))
    assert "latency 2 ms - - WARN" in lines
    assert not any(line.startswith("latency p50") for line in lines)
    assert any(line.startswith("latency: p50 of at most 2 ms:") for line in lines)
    assert (
        "the library ran on an emulator: its results are checked, its times are not known" in lines
    )


def test_what_was_not_executed_is_told_without_any_budget(target):
    unseen = Measurement(MEASUREMENT.size, MEASUREMENT.memory, executed=False, reason="no qemu")
    chosen = replace(trial(), measurement=unseen, verdicts=())
    lines = report(replace(target, chosen=chosen, trials=(chosen,)))
    assert "the library was not executed here: no qemu" in lines
    assert "no budgets are set" in lines


def test_several_targets_end_in_one_table(target):
    missed = (trial(size="1 KiB"),)
    small = replace(target, target="small", trials=missed, chosen=None, folder=None)
    console = Console(file=io.StringIO(), width=160, color_system=None)
    print_report(console, Result("m", (target, small)), verbose=False)
    lines = [" ".join(line.split()) for line in console.file.getvalue().splitlines()]
    at = lines.index("target hardware size memory latency quality artefact")
    good, bad = lines[at + 1 : at + 3]
    assert good.startswith("pi ")
    assert "49.4 KiB PASS" in good
    assert good.endswith("written")
    assert bad.startswith("small ")
    assert "49.4 KiB FAIL" in bad
    assert bad.endswith("none")


def test_one_target_needs_no_such_table(target):
    assert not any(line.startswith("target hardware") for line in report(target))
