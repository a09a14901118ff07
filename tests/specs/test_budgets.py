"""Budgets: the short form, the mapping, the relative latency, and what each refuses."""

from typing import Any

import pytest
from budgetc_specs.budgets import (
    Budgets,
    LatencyBudget,
    MemoryBudget,
    QualityBudget,
    Relative,
    SizeBudget,
)
from budgetc_specs.units import SIZE_HELP
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

LATENCY = (
    'a latency is a number with a unit, such as "10 ms" or "250 us", '
    'or relative to a peer, such as "1.0 x onnxruntime".'
)


def refusals(value: Any) -> dict[str, tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        Budgets.model_validate(value, context={"folder": None})
    found = {}
    for error in caught.value.errors():
        held = error["ctx"]["error"]
        found[".".join(map(str, error["loc"]))] = (held.message, held.repair)
    return found


def test_the_short_form_is_the_mapping_with_its_defaults() -> None:
    short = Budgets.model_validate(
        {"size": "48 KiB", "memory": "64 KiB", "latency": "200 us", "quality": "0.5 pp"}
    )
    assert short == Budgets(
        size=SizeBudget(max_bytes=49152, level="error"),
        memory=MemoryBudget(max_bytes=65536, level="error"),
        latency=LatencyBudget(max=200e-6, statistic="p50", runs=100, level="error"),
        quality=QualityBudget(drop=0.005, level="error"),
    )


def test_the_mapping_says_more() -> None:
    budgets = Budgets.model_validate(
        {
            "size": {"max": "1 MB", "level": "warning"},
            "latency": {"max": "2 ms", "statistic": "p99", "runs": 7, "level": "warning"},
            "quality": {"min": 0.97},
        }
    )
    assert budgets.size == SizeBudget(max_bytes=1_000_000, level="warning")
    assert budgets.latency == LatencyBudget(max=0.002, statistic="p99", runs=7, level="warning")
    assert budgets.quality == QualityBudget(min=0.97)
    assert budgets.memory is None


@pytest.mark.parametrize(
    ("text", "ratio", "peer"),
    [
        ("1.0 x onnxruntime", 1.0, "onnxruntime"),
        ("0.9x onnxruntime-int8", 0.9, "onnxruntime-int8"),
        ("2 × onnxruntime", 2.0, "onnxruntime"),
    ],
)
def test_a_latency_relative_to_a_peer(text: str, ratio: float, peer: Any) -> None:
    assert LatencyBudget(max=text).max == Relative(ratio, peer)  # type: ignore[arg-type]


@given(
    st.floats(1e-6, 1e6).map(lambda x: round(x, 6)),
    st.sampled_from(["onnxruntime", "onnxruntime-int8"]),
)
def test_a_relative_latency_is_its_text(ratio: float, peer: Any) -> None:
    budget = LatencyBudget(max=Relative(ratio, peer))
    text = budget.model_dump(mode="json")["max"]
    assert LatencyBudget(max=text) == budget


def test_one_times_a_peer_reads_well() -> None:
    assert str(Relative(1.0, "onnxruntime-int8")) == "1.0 x onnxruntime-int8"
    assert str(Relative(0.95, "onnxruntime")) == "0.95 x onnxruntime"


@pytest.mark.parametrize(
    ("latency", "message", "repair"),
    [
        (10, '"10" has no unit', LATENCY),
        ("soon", '"soon" is not a time', LATENCY),
        ("0 x onnxruntime", '"0 x onnxruntime" is not above zero', LATENCY),
        (
            "1 x openvino",
            'the peer "openvino" is not supported yet',
            "choose onnxruntime or onnxruntime-int8.",
        ),
        (
            "1 x onnxruntim",
            '"onnxruntim" is not a peer that can be measured',
            'did you mean "onnxruntime"?',
        ),
        (
            "1 x me",
            '"me" is not a peer that can be measured',
            "choose onnxruntime or onnxruntime-int8.",
        ),
    ],
)
def test_latencies_that_are_refused(latency: object, message: str, repair: str) -> None:
    assert refusals({"latency": latency}) == {"latency.max": (message, repair)}


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_a_latency_in_python_is_above_zero(seconds: float) -> None:
    with pytest.raises(ValidationError, match="is not above zero"):
        LatencyBudget(max=seconds)


def test_all_findings_come_at_once() -> None:
    value = {
        "size": {"max": 4096, "level": "fatal"},
        "memory": "8",
        "latency": {"max": "1 ms", "statistic": "p95", "runs": 0},
        "quality": {"drop": "0.5 pp", "min": 0.9},
        "power": "1 W",
    }
    assert refusals(value) == {
        "size.max": ('"4096" has no unit', SIZE_HELP),
        "size.level": ('"fatal" is not error or warning', ""),
        "memory.max": ('"8" has no unit', SIZE_HELP),
        "latency.statistic": ('"p95" is not supported yet', "choose p50, p90, p99 or mean."),
        "latency.runs": ('"0" is below 1', "Number of timed runs, at least."),
        "quality": (
            "both of drop and min given",
            'give one: "drop: 0.5 pp" is relative to the float model, "min: 0.97" is absolute.',
        ),
        "power": (
            '"power" is not a field here',
            "the fields here are size, memory, latency, quality, max_regression.",
        ),
    }


def test_a_quality_budget_needs_one_of_its_two_forms() -> None:
    assert refusals({"quality": {}})["quality"][0] == "neither of drop and min given"
    assert refusals({"quality": {"min": "97 %"}})["quality.min"][0] == '"97 %" is not a number'
    assert refusals({"quality": 0.97})["quality.drop"][0] == '"0.97" has no unit'


def test_a_budget_in_python_may_be_a_number_but_not_without_its_fields_name() -> None:
    assert SizeBudget(max_bytes=10).max_bytes == 10
    with pytest.raises(ValidationError, match='"10" has no unit'):
        Budgets(size=10)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match='"0" is below 1'):
        SizeBudget(max_bytes=0)
    with pytest.raises(ValidationError, match=r'"1\.5" is not a whole number'):
        SizeBudget(max_bytes=1.5)  # type: ignore[arg-type]


def test_budgets_of_a_target_replace_those_of_the_spec_one_by_one() -> None:
    common = Budgets.model_validate({"size": "1 KB", "latency": {"max": "1 ms", "runs": 5}})
    own = Budgets.model_validate({"latency": "2 ms", "memory": "3 KB"})
    assert common.overridden_by(own) == Budgets.model_validate(
        {"size": "1 KB", "latency": "2 ms", "memory": "3 KB"}
    )
    assert common.overridden_by(Budgets()) == common


def test_what_is_dumped_is_read_back() -> None:
    budgets = Budgets.model_validate(
        {"size": "49153 B", "latency": "1.5 x onnxruntime", "quality": {"drop": "0.3 pp"}}
    )
    dumped = budgets.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert dumped["size"] == {"max": "49153 B", "level": "error"}
    assert dumped["quality"] == {"drop": "0.3 pp", "level": "error"}
    assert Budgets.model_validate(dumped, context={"folder": None}) == budgets
