"""The calls of a real library, timed in their places."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from budgetc.assess import synthetic
from budgetc.predict.predictor import run_prediction
from budgetc.predict.profile import profile, remember
from budgetc.registry import find_target
from budgetc.run import start


def silent(stage: str) -> None:
    del stage


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("library", ["shared", "static"])
def test_the_calls_add_up_to_the_inference(
    small: Callable[..., Any], library: str, threads: int
) -> None:
    sheet = find_target("host").capability(None, threads)
    made = small(64, library, capability=sheet)
    built, runner = made.build(), find_target("host").runner(made.job.capability)
    inputs = synthetic(made.job.model.inputs, 1)
    calls = profile(built, made.folder, made.job, runner, inputs)
    assert calls is not None
    assert [call.layer for call in calls] == list(built.lowered.layers)
    assert all(call.seconds >= 0 and call.filling >= 0 for call in calls)
    harness = start(built, made.job, runner)
    assert harness is not None
    with harness:
        harness.load(inputs)
        whole = float(np.median(harness.time(500))) * 1e-9
    total = sum(call.seconds + call.filling for call in calls)
    assert whole / 3 < total < whole * 3  # other work disturbs one or the other
    row = calls[0].to_json()
    assert row["seconds"] == calls[0].seconds + calls[0].filling
    assert row["layer"] == calls[0].layer.layer


def test_what_was_measured_is_predicted(small: Callable[..., Any]) -> None:
    made = small(64)
    before = run_prediction(made.job, made.optimised, made.folder, silent)
    runner = find_target("host").runner(made.job.capability)
    calls = profile(
        made.build(), made.folder, made.job, runner, synthetic(made.job.model.inputs, 1)
    )
    assert calls
    remember(made.job, calls)
    after = run_prediction(made.job, made.optimised, made.folder, silent)
    assert "measured" not in {each.basis for each in before.first.layers}
    timed = [call for call in calls if call.seconds > 0]
    assert timed
    assert {each.basis for each in after.first.layers} >= {"measured"}
    assert after.latency == pytest.approx(sum(call.seconds for call in calls), rel=0.2)
    assert after.interval[1] / after.interval[0] < before.interval[1] / before.interval[0]


def test_code_for_another_machine_is_not_timed(small: Callable[..., Any]) -> None:
    sheet = find_target("aarch64").capability("cortex-a76", 1)
    made = small(kind="aarch64", capability=sheet)
    runner = find_target("aarch64").runner(sheet)
    inputs = synthetic(made.job.model.inputs, 1)
    assert profile(made.build(), made.folder, made.job, runner, inputs) is None
