"""The way of a strategy: its points, its tables, what it says where a part of it lacks."""

import copy

import pytest
from budgetc.report.document import parse_result
from budgetc.report.ladder import chart, sentence, table, trainings


def target(result):
    return parse_result(result).targets[0]


@pytest.fixture
def without(searched):
    """Builds a result whose strategy lacks some keys, or has other values."""

    def change(**values):
        result = copy.deepcopy(searched)
        result["targets"][0]["strategy"] |= values
        return target(result)

    return change


def test_the_way_ends_in_what_was_built(searched):
    drawn = chart(target(searched), 100)
    steps = [point for point in drawn["points"] if point["step"]]
    assert [point["step"] for point in steps] == [1, 2, 3, 4, 5]
    assert [point["stage"] for point in steps] == ["simulated"] * 4 + ["built"]
    assert steps[2]["texts"] == [
        "3: trained",
        "distill{epochs=12}",
        "12 epochs so far",
        "size about 60 KiB, memory about 30 KiB, latency about 61.4 us, quality drop about 0.4 pp",
    ]
    assert (steps[-1]["size"], steps[-1]["drop"], steps[-1]["shown"]) == (45168, 0.001, True)
    assert drawn["axes"] == ["size", "latency", "memory"]
    assert drawn["limits"]["size"] == 64 * 1024


def test_every_training_is_a_point(searched):
    drawn = chart(target(searched), 100)
    points = [point for point in drawn["points"] if point["stage"] == "trained"]
    assert [point["kept"] for point in points] == [False, True, True, False]
    assert points[0]["texts"][0] == "training 1: shrink, rung 1, 4 epochs"
    assert points[3]["size"] is None
    assert points[3]["texts"][-1] == "it has no codes"
    assert len(chart(target(searched), 2)["points"]) == 5 + 2


def test_the_steps_as_a_table(searched):
    found = table(target(searched))
    assert [[cell.text for cell in row] for row in found.rows[:2]] == [
        ["1 as it is", "–", "≈ 150 KiB", "≈ 75 KiB", "≈ 154 us", "≈ 0 pp", ""],
        ["2 smaller", "–", "≈ 60 KiB", "≈ 30 KiB", "≈ 61.4 us", "≈ 41 pp", "prune{ratio=0.5}"],
    ]
    last = [cell.text for cell in found.rows[-1]]
    assert (last[0], last[2]) == ("5 built and measured", "44.1 KiB")


def test_the_last_trainings_where_there_are_too_many(searched):
    found = trainings(target(searched), 3)
    assert [row[0].text for row in found.rows] == ["2", "3", "4"]
    assert found.left_out == 1
    assert [row[-2].text for row in found.rows] == ["went on", "went on", "it has no codes"]


def test_how_it_went(searched):
    said = "4 trainings, 152 s of training in all, judged on a tenth of the training data."
    assert sentence(target(searched)) == said


def test_without_figures_nothing_is_drawn(without):
    steps = [{"kind": "float", "text": "", "reached": None}]
    one = without(steps=steps, trials=[])
    assert trainings(one, 9) is None
    assert [row[2].text for row in table(one).rows] == ["–", "44.1 KiB"]
    assert [point["step"] for point in chart(one, 9)["points"]] == [1, 2]
    one = one.model_copy(update={"chosen": None, "trials": ()})
    assert chart(one, 9) is None
    assert sentence(without(trials=[], trained=None, judged_on="")) == "No training."


def test_without_a_strategy(searched):
    one = target(searched).model_copy(update={"strategy": None})
    assert (chart(one, 9), table(one), trainings(one, 9), sentence(one)) == (None, None, None, "")
