"""Points, fronts and budgets of the chart; rows of the table."""

import math

import pytest
from budgetc.report.candidates import candidates, chart, front, limits
from budgetc.report.document import parse_result
from hypothesis import given
from hypothesis import strategies as st

FIGURES = st.floats(0, 1e9, allow_subnormal=False)
POINTS = st.lists(st.tuples(FIGURES, FIGURES), max_size=30)


def target(result):
    return parse_result(result).targets[0]


@given(POINTS)
def test_the_front_is_what_nobody_beats(points):
    found = front(points)
    assert set(found) <= set(points)
    assert found == sorted(found)
    for x, y in points:
        beaten = any(a <= x and b <= y and (a, b) != (x, y) for a, b in points)
        assert ((x, y) in found) == (not beaten)


def test_stages_and_tones(searched):
    found = candidates(target(searched), 100)
    assert [c.number for c in found] == list(range(1, 35))
    assert [(c.stage, c.tone) for c in found[:4]] == [
        ("simulated", "fail"),
        ("built", "fail"),
        ("built", "pass"),
        ("built", "fail"),
    ]
    assert [c.number for c in found if c.shown] == [3]
    assert found[4].tone == "pass", "within every budget, as far as can be foreseen"
    assert found[10].tone == "fail", "it would lose 0.98 pp of 0.5 pp"
    assert found[1].why == "misses size and latency"
    assert found[2].texts == (
        "#3 clean | fuse | quantize{bits=8}",
        "built and measured: feasible",
        "size 44.1 KiB, memory 26.6 KiB, latency 26 us, quality drop 0.1 pp",
        "foreseen: size about 44.1 KiB, latency about 28.6 us",
        "sensitivity ladder",
    )
    assert "size about 57.6 KiB" in found[4].texts[2]
    assert "latency about 40 us (32 us to 48 us)" in found[4].texts[2]


def test_what_does_not_fit_is_what_matters_least(searched):
    found = candidates(target(searched), 5)
    assert [c.number for c in found] == [1, 2, 3, 4, 5]
    assert [c.number for c in candidates(target(searched), 1)] == [3]


def test_the_chart(searched):
    one = target(searched)
    drawn = chart(one, candidates(one, 100))
    assert drawn["axes"] == ["size", "latency"]
    assert len(drawn["points"]) == 33, "what was refused has no figures"
    limits = {"size": 65536, "latency": 6e-5, "drop": 0.005, "memory": None, "latency_text": ""}
    assert drawn["limits"] == limits
    assert drawn["fronts"]["size"] == [(20480, 0.09), (45168, 0.001), (153600, 0.0)]
    assert drawn["peers"][0]["size"] == 148422
    assert drawn["peers"][0]["latency"] == 1.2e-4
    assert drawn["peers"][0]["drop"] == 0


def test_a_budget_relative_to_a_peer_is_drawn_in_seconds(searched):
    for trial in searched["targets"][0]["trials"][1:4]:
        trial["verdicts"][1] |= {"unit": "x onnxruntime-int8", "limit": 1.5}
    searched["targets"][0]["chosen"] = searched["targets"][0]["trials"][2]
    found = limits(target(searched))
    assert found.latency == pytest.approx(1.5 * 9e-5)
    assert found.latency_text == "1.5 x onnxruntime int8"


def test_a_least_value_of_the_metric_is_drawn_as_a_loss(searched):
    for trial in (searched["targets"][0]["chosen"], *searched["targets"][0]["trials"][1:4]):
        trial["verdicts"][2] |= {"unit": "metric", "limit": 0.97}
    assert limits(target(searched)).drop == pytest.approx(0.01)


def test_of_two_budgets_of_quality_the_tighter_one_is_drawn(searched):
    verdicts = searched["targets"][0]["chosen"]["verdicts"]
    verdicts.append({**verdicts[2], "unit": "metric", "limit": 0.978})
    assert limits(target(searched)).drop == pytest.approx(0.002)


def test_the_budgets_stand_in_the_certificate_where_nothing_was_built(infeasible):
    infeasible["targets"][0]["trials"] = []
    found = limits(target(infeasible))
    assert (found.size, found.latency, found.drop) == (65536, None, 0.005)


def test_times_of_an_emulator_are_no_times(searched):
    for trial in searched["targets"][0]["trials"][1:4]:
        trial["measurement"]["emulated"] = True
    one = target(searched)
    assert candidates(one, 100)[1].figures.latency is None
    assert not math.isnan(sum(p["size"] for p in chart(one, candidates(one, 100))["points"]))


def test_without_evaluation_data_time_goes_up(searched):
    searched["targets"][0]["chosen"] = None
    trials = searched["targets"][0]["trials"] = searched["targets"][0]["trials"][1:4]
    for trial in trials:
        trial["measurement"]["quality"] = None
    one = target(searched)
    drawn = chart(one, candidates(one, 100))
    assert drawn["axes"] == ["size-latency"]
    assert drawn["fronts"]["size-latency"] == [(20480, 1.4e-5)]


def test_nothing_to_draw():
    one = target({"budgetc": 1, "targets": [{"trials": [{"recipe": "clean"}]}]})
    found = candidates(one, 10)
    assert [c.stage for c in found] == ["refused"]
    assert chart(one, found)["axes"] == []
