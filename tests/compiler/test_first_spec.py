"""A first spec: what a model leaves open is settled or asked for; budgets are measured figures with room."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from budgetc.first_spec import Baseline, Wish, draft
from budgetc.measure.latency import Interval, Latency, Timing
from budgetc.measure.memory import Memory
from budgetc.measure.quality import Quality
from budgetc.measure.size import Size
from budgetc.spec_text import _budgets, spec_text
from budgetc.verdict import Measurement
from budgetc_specs.document import load_spec
from budgetc_specs.errors import SpecError
from budgetc_specs.units import parse_bytes
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

KIB = 1024


def write_model(folder, dims=("batch", 4), outputs=("batch", 3)):
    weights = np.arange(12, dtype=np.float32).reshape(4, 3)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, outputs)],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "net.onnx")
    return folder / "net.onnx"


@pytest.fixture
def wish(tmp_path):
    return Wish(write_model(tmp_path), tmp_path / "spec.yaml")


def timing(name, seconds):
    return Timing(name, 100, seconds, seconds, seconds, seconds, seconds)


def measured(size=10 * KIB, seconds=1e-4, drop=0.0, **changes):
    latency = Latency(
        timing("ours", seconds),
        {"onnxruntime": timing("onnxruntime", 2e-4)},
        "p50",
        Interval(seconds, seconds),
        None,
        None,
        "UNDECIDED",
        1,
    )
    quality = Quality("top1", 0.9 - drop, 0.9, drop, drop, drop, 100)
    whole = Measurement(Size(size, 0, 0, 0), Memory(2 * KIB, 0, KIB), latency, quality)
    return replace(whole, **changes)


def read(drafted, baselines, out):
    out.write_text(spec_text(drafted, baselines, out))
    if drafted.made_up:
        drafted.evaluation.write_bytes(drafted.made_up)
    return load_spec(out)


def test_without_data_samples_are_made_up_and_no_labels_are_needed(wish):
    drafted = draft(wish)
    assert drafted.shapes == {"x": (1, 4)}
    assert drafted.metric == "agreement"
    assert not drafted.evaluation.exists(), "drafting writes nothing"
    spec = read(drafted, [Baseline("host", measured(), None, "no reason")], wish.out)
    with np.load(drafted.evaluation) as made:
        assert made["x"].shape == (64, 4)
    assert spec.data.calibration == spec.data.evaluation == drafted.evaluation
    assert "Made-up numbers" in wish.out.read_text()


def test_labels_choose_the_metric_and_samples_the_shape(tmp_path):
    model = write_model(tmp_path, dims=("batch", "n", 4), outputs=("batch", "n", 3))
    x = np.ones((6, 5, 4), np.float32)
    np.savez(tmp_path / "d.npz", x=x, label=np.arange(6) % 3)
    drafted = draft(Wish(model, tmp_path / "spec.yaml", tmp_path / "d.npz"))
    assert drafted.shapes == {"x": (1, 5, 4)}
    assert drafted.metric == "top1"
    np.savez(tmp_path / "d.npz", x=x, label=np.arange(6) + 7)
    drafted = draft(Wish(model, tmp_path / "spec.yaml", tmp_path / "d.npz"))
    assert drafted.metric == "cosine"
    assert drafted.why_metric.startswith("the labels are no classes")


def test_a_dimension_that_nothing_tells_is_asked_for(tmp_path):
    model = write_model(tmp_path, dims=("batch", "n", 4), outputs=("batch", "n", 3))
    wish = Wish(model, tmp_path / "spec.yaml")
    with pytest.raises(SpecError) as refused:
        draft(wish)
    assert '"x" is [batch, n, 4]' in str(refused.value)
    assert "--shape 'x=1,<n>,4'" in str(refused.value)
    assert draft(replace(wish, shapes={"x": (1, 2, 4)})).shapes == {"x": (1, 2, 4)}
    with pytest.raises(SpecError, match='no input "y"'):
        draft(replace(wish, shapes={"y": (1,)}))


@pytest.mark.parametrize(
    ("word", "name", "written"),
    [
        ("host", "host", {}),
        ("aarch64", "aarch64", {"kind": "aarch64"}),
        ("cortex-a53", "cortex-a53", {"kind": "aarch64", "cpu": "cortex-a53"}),
        ("raspberry-pi-4", "raspberry-pi-4", {"board": "raspberry-pi-4"}),
    ],
)
def test_targets_by_what_they_are_called(wish, word, name, written):
    drafted = draft(replace(wish, targets=(word,)))
    spec = read(drafted, [Baseline(name, measured(), None, "no reason")], wish.out)
    assert spec.targets[name].model_dump(exclude_unset=True, exclude={"budgets"}) == written


def test_an_unknown_target(wish):
    with pytest.raises(SpecError, match='did you mean "cortex-a53"'):
        draft(replace(wish, targets=("cortex-a533",)))


def test_several_targets_have_budgets_of_their_own(wish):
    drafted = draft(replace(wish, targets=("host", "cortex-m")))
    unseen = measured(
        executed=False, reason="no board", memory=Memory(KIB, 0, None), latency=None, quality=None
    )
    baselines = [
        Baseline("host", measured(), None, "-"),
        Baseline("cortex-m", unseen, None, "-"),
    ]
    spec = read(drafted, baselines, wish.out)
    assert spec.budgets_for("host").quality.drop == 0.005
    other = spec.budgets_for("cortex-m")
    assert (other.memory, other.latency, other.quality) == (None, None, None)
    assert other.size.max_bytes >= 11 * KIB
    assert "# memory: not measured, since nothing ran: no board" in wish.out.read_text()


def test_budgets_are_made_of_what_is_better(wish):
    plain = measured(size=40 * KIB)
    assert Baseline("host", plain, None, "-").base is plain
    for worse in (
        measured(size=41 * KIB),
        measured(seconds=2e-4),
        measured(drop=0.05),
    ):
        assert Baseline("host", plain, worse).base is plain
    int8 = measured(drop=0.01)
    baseline = Baseline("host", plain, int8)
    assert baseline.base is int8
    spec = read(draft(wish), [baseline], wish.out)
    assert spec.budgets.quality.drop == 0.015
    assert spec.budgets.latency.max.ratio == 0.75
    assert "10 KiB as int8, 40 KiB in float" in wish.out.read_text()


@given(
    st.integers(1, 2**32),
    st.floats(1e-8, 100, allow_nan=False),
    st.floats(0, 0.9, exclude_max=True),
)
def test_what_was_measured_keeps_the_budgets_that_are_written(size, seconds, drop):
    base = measured(size=size, seconds=seconds, drop=drop)
    lines = dict(line.split(": ", 1) for line in _budgets(Baseline("host", base, None, "-")))
    assert parse_bytes(lines["size"].partition(" #")[0]) >= size
    ratio = float(lines["latency"].partition(" x ")[0])
    assert ratio >= seconds / 2e-4 * 1.49
