"""Scratch memory: a kernel's working memory is a part of the arena for the time of its call."""

import numpy as np
import pytest
from budgetc.lower.lower import lower
from budgetc.model import parse_model
from budgetc.registry import find_target
from budgetc.tuning.tuner import Effort, Tuner
from budgetc_targets.kernels.winograd import Winograd

ONE = """g (float[1,32,16,16] x) => (float[1,32,16,16] y)
{ y = Conv<pads=[1,1,1,1]>(x, w) }"""
THREE = """g (float[1,32,16,16] x) => (float[1,32,16,16] y)
{ a = Conv<pads=[1,1,1,1]>(x, w)  b = Conv<pads=[1,1,1,1]>(a, v)  c = Add(a, b)  d = Relu(c)
  y = Conv<pads=[1,1,1,1]>(d, w) }"""


@pytest.fixture
def lower_text(make_model, host):
    def run(text, threads=1, **weights):
        model = parse_model(make_model(text, **weights).SerializeToString(), "test.onnx")
        sheet = host.model_copy(update={"threads": threads})
        return lower([model.data], find_target("host"), sheet).lowered

    return run


def of_kind(lowered, kind):
    return [call for call in lowered.calls if call.kernel.startswith(kind)]


def test_scratch_memory_is_the_last_pointer_of_a_call_and_within_the_arena(lower_text, weights):
    lowered = lower_text(ONE, w=weights(32, 32, 3, 3))
    (call,) = of_kind(lowered, "winograd")
    *others, scratch = call.arguments
    assert scratch.region == "arena"
    assert scratch.offset % 64 == 0
    assert scratch.offset < lowered.arena_bytes
    assert scratch not in others
    bordered = 32 * 18 * 18 * 4
    assert lowered.arena_bytes > bordered + 36 * 32 * 4
    assert lowered.arena_bytes >= lowered.arena_lower_bound


def test_calls_share_their_scratch_memory_and_threads_do_not(lower_text, weights):
    w, v = weights(32, 32, 3, 3), weights(32, 32, 3, 3, seed=1)
    one = lower_text(ONE, w=w)
    three = lower_text(THREE, w=w, v=v)
    assert len(of_kind(three, "winograd")) == 3
    tensors = 2 * 32 * 18 * 18 * 4
    assert three.arena_bytes <= one.arena_bytes + tensors
    assert lower_text(ONE, threads=2, w=w).arena_bytes > one.arena_bytes


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_network_with_scratch_memory_runs(check_float, weights, threads):
    w, v = weights(32, 32, 3, 3), weights(32, 32, 3, 3, seed=1)
    library = check_float(THREE, terms=2, threads=threads, w=w, v=v)
    assert library.kernels.count("winograd") == 3
    assert all(call.tasks > 0 for call in of_kind(library.lowered, "winograd")) == (threads > 1)


def test_the_tuner_measures_kernels_with_scratch_memory(make_model, host, weights, tmp_path):
    target = find_target("host")
    records, runner = tmp_path / "records", target.runner(host)
    tuner = Tuner(target, host, runner, Effort(trials=3), records, tmp_path)
    w = weights(32, 32, 3, 3)
    model = parse_model(make_model(ONE, w=w).SerializeToString(), "test.onnx")
    code = lower([model.data], target, host, tuner)
    assert of_kind(code.lowered, "winograd")
    (report,) = [r for r in tuner.report() if r["kernel"] == Winograd.kind]
    assert len(report["times"]) > 1
    assert all(np.isfinite(time) and time > 0 for _, time in report["times"])
