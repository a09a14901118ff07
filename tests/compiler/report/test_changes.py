"""The ledger: weights before and after each pass, and which passes pay."""

from budgetc.report.changes import changes
from budgetc.report.document import parse_result


def target(result):
    return parse_result(result).targets[0]


def test_before_and_after(searched):
    found = changes(target(searched), 100)
    clean, fuse, quantize = found.steps
    assert (clean.modified, clean.before, clean.after, clean.change) == (
        False,
        "140.6 KiB",
        "140.6 KiB",
        "",
    )
    assert (fuse.before, fuse.after, fuse.change) == ("140.6 KiB", "138.7 KiB", "−1.33 %")
    assert (quantize.before, quantize.change) == ("138.7 KiB", "−73 %")
    assert clean.share == 1
    assert [n.text for n in fuse.done] == ["folded into /0/Conv"]
    assert [n.text for n in quantize.refused] == ["too sensitive"]


def test_weights_before_the_first_pass_are_unknown_where_it_changed_them(searched):
    searched["targets"][0]["chosen"]["ledger"][0]["modified"] = True
    assert changes(target(searched), 100).steps[0].before == "–"


def test_pays_or_goes(searched):
    found = changes(target(searched), 100)
    assert [step.payoff is not None for step in found.steps] == [False, False, True]
    size, latency, drop = found.steps[2].payoff.gains
    assert (size.name, size.with_, size.without, size.change) == (
        "size",
        "44.1 KiB",
        "150 KiB",
        "−70.6 %",
    )
    assert latency.change == "−71.1 %"
    assert (drop.name, drop.change) == ("quality drop", "+0.1 pp")
    assert [p.step for p in found.dropped] == ["prune{ratio=0.125}"]


def test_the_same_pass_twice_is_paid_once_each(searched):
    one = searched["targets"][0]
    one["chosen"]["ledger"].append(one["chosen"]["ledger"][2])
    found = changes(target(searched), 100)
    assert [step.payoff is not None for step in found.steps] == [False, False, True, False]


def test_notes_are_cut(searched):
    notes = searched["targets"][0]["chosen"]["ledger"][1]["notes"]
    notes *= 10
    step = changes(target(searched), 4).steps[1]
    assert (len(step.done), step.left_out) == (4, 6)


def test_a_ledger_that_stands_with_the_trial_only(searched):
    searched["targets"][0]["chosen"]["ledger"] = []
    assert len(changes(target(searched), 100).steps) == 3


def test_nothing():
    found = changes(target({"budgetc": 1, "targets": [{}]}), 100)
    assert found.steps == found.dropped == ()
