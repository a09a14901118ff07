"""The head of the page says what came out, whatever came out."""

import copy

import pytest
from budgetc.report.document import parse_result
from budgetc.report.outcome import outcome


def head(result):
    return outcome(parse_result(result))


def test_all_budgets_met(searched):
    found = head(searched)
    assert found.title == "All 3 budgets are met on host"
    assert found.tone == "pass"
    (row,) = found.rows
    assert row.facts == (
        "size 44.1 KiB of 64 KiB",
        "latency 26 us of 60 us",
        "quality drop 0.1 pp of 0.5 pp",
    )
    assert row.hardware == "host, x86-64-v3, 1 thread"
    assert found.columns == ("size", "latency", "quality")
    (size,) = row.cells[0]
    assert (size.tone, size.word, size.value, size.allowed) == (
        "pass",
        "kept",
        "44.1 KiB",
        "of 64 KiB",
    )
    assert size.share == pytest.approx(45168 / 65536)
    assert row.cells[2][0].interval == "-0.3 pp to 0.5 pp"
    assert row.cells[2][0].allowed == "lost, of 0.5 pp allowed"


def test_budgets_that_contradict_each_other(infeasible):
    found = head(infeasible)
    assert found.title == "No point keeps all budgets on host: size and quality bind"
    assert found.tone == "fail"
    assert found.rows[0].facts == ("size 80 KiB of 64 KiB",)


def test_what_binds_is_not_known(infeasible):
    infeasible["targets"][0]["proof"] = None
    assert head(infeasible).title == "No point keeps all budgets on host: the nearest misses size"


def test_several_targets(both):
    found = head(both)
    assert found.title == "1 of 2 targets keeps every budget"
    assert [row.tone for row in found.rows] == ["pass", "fail"]
    both["targets"][1] = {**both["targets"][0], "target": "pi"}
    assert head(both).title == "Every budget is met on both targets"
    warned = copy.deepcopy(both["targets"][0])
    warned["chosen"]["verdicts"][1]["status"] = "WARN"
    both["targets"][1] = {**warned, "target": "pi"}
    assert head(both).title == "Both targets have a library, with a warning on pi"


def test_nothing_was_built(infeasible):
    target = infeasible["targets"][0]
    target |= {"exit_code": 3, "trials": [], "proof": {"binding": ["size"]}}
    found = head(infeasible)
    assert found.title == "Out of reach on host, proven before anything was built: size binds"
    assert found.columns == ()


def test_wrong_numbers(infeasible):
    target = infeasible["targets"][0]
    target |= {"exit_code": 6, "proof": None}
    target["trials"] = [{"recipe": "clean", "outcome": "wrong numbers"}]
    assert "wrong numbers" in head(infeasible).title


@pytest.mark.parametrize(
    ("status", "unit", "limit", "measured", "word", "tone"),
    [
        ("WARN", "seconds", 1e-3, None, "warning", "warn"),
        ("UNDECIDED", "seconds", 1e-3, 1e-3, "undecided", "warn"),
        ("something new", "seconds", 1e-3, 1e-3, "something new", "warn"),
    ],
)
def test_a_warning(searched, status, unit, limit, measured, word, tone):
    verdict = searched["targets"][0]["chosen"]["verdicts"][1]
    verdict |= {"status": status, "unit": unit, "limit": limit, "measured": measured}
    found = head(searched)
    assert found.title == "2 of 3 budgets are met on host, with a warning for latency"
    assert found.tone == "warn"
    (cell,) = found.rows[0].cells[1]
    assert (cell.word, cell.tone) == (word, tone)


def test_a_ratio_and_a_least_value(searched):
    verdicts = searched["targets"][0]["chosen"]["verdicts"]
    verdicts[1] |= {"unit": "x onnxruntime-int8", "limit": 1.0, "measured": 0.2876}
    verdicts[2] |= {"unit": "metric", "limit": 0.97, "measured": 0.9789, "interval": None}
    row = head(searched).rows[0]
    assert row.cells[1][0].value == "0.288 x"
    assert row.cells[1][0].allowed == "onnxruntime int8, of 1 x allowed"
    assert row.cells[1][0].note == "26 us against 90 us"
    assert "latency 0.288 x onnxruntime int8 (1 x allowed)" in row.facts
    assert row.cells[2][0].allowed == "at least 0.97"
    assert row.cells[2][0].share is None
    assert "quality 0.9789 of at least 0.97" in row.facts


def test_two_budgets_of_quality_and_its_worst_slice(searched):
    verdicts = searched["targets"][0]["chosen"]["verdicts"]
    least = {**verdicts[2], "unit": "metric", "limit": 0.97, "measured": 0.979}
    worst = {**verdicts[2], "budget": "worst_slice", "limit": 0.02, "doubt": "too few samples"}
    verdicts += [least, worst]
    found = head(searched)
    assert found.title == "All 5 budgets are met on host"
    assert found.columns == ("size", "latency", "quality", "worst slice")
    loss, value = found.rows[0].cells[2]
    assert (loss.value, value.value) == ("0.1 pp", "0.979")
    assert found.rows[0].cells[3][0].doubt == "too few samples"
    assert "worst slice drop 0.1 pp of 2 pp" in found.rows[0].facts


def test_no_budgets_and_no_targets(searched):
    searched["targets"][0]["chosen"]["verdicts"] = []
    assert head(searched).title == "The model is compiled for host; no budget is set"
    assert head({"budgetc": 1}).title == "Nothing was compiled"
