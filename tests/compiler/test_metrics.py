"""Metrics: known scores, ties, NaN, what is refused, and the two doors by which they come in."""

import numpy as np
import pytest
from budgetc.measure.metrics import Metric, agreement, mse, resolve_metric, top1, top5
from budgetc_specs.errors import SpecError

LOGITS = {"y": np.array([[1, 3, 2, 0, 0, 0], [9, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2]], np.float32)}


def test_top1_takes_the_first_of_equals():
    assert top1(LOGITS, np.array([1, 1, 0]), LOGITS).tolist() == [1, 0, 1]
    assert top1(LOGITS, np.array([[1], [0], [5]]), LOGITS).tolist() == [1, 1, 0]


def test_top5():
    assert top5(LOGITS, np.array([5, 5, 4]), LOGITS).tolist() == [0, 0, 1]
    assert top5(LOGITS, np.array([4, 1, 5]), LOGITS).tolist() == [1, 1, 0]


def test_nan_is_never_right():
    outputs = {"y": np.array([[np.nan, 1.0], [0.0, 1.0]], np.float32)}
    assert top1(outputs, np.array([0, 1]), outputs).tolist() == [0, 1]
    assert agreement(outputs, None, {"y": np.array([[1.0, 0.0], [0.0, 1.0]])}).tolist() == [0, 1]


def test_integers_are_ranked_without_overflow():
    outputs = {"y": np.array([[-128, 127, 0]], np.int8)}
    assert top1(outputs, np.array([1]), outputs).tolist() == [1]


def test_mse():
    outputs = {"y": np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)}
    labels = np.array([[1.0, 4.0], [3.0, 4.0]])
    assert mse(outputs, labels, outputs).tolist() == [2, 0]
    assert not mse.higher_is_better


@pytest.mark.parametrize(
    ("metric", "outputs", "labels", "text"),
    [
        (
            top1,
            LOGITS,
            None,
            "the metric top1 needs labels, and the evaluation data has none\n"
            '  add the array "label" to it, or choose a metric that needs none, such as agreement.',
        ),
        (
            top1,
            LOGITS,
            np.array([0.0, 1.0, 2.0]),
            "the metric top1 needs one whole number, the class, for each sample; "
            "here are float64 [3]\n"
            '  save the classes as "label", an array of integers of shape [N].',
        ),
        (
            agreement,
            {"a": np.zeros((1, 2)), "b": np.zeros((1, 2))},
            None,
            'the metric agreement is for models with one output; this one has "a", "b"\n'
            "  write a function that takes what it needs of them, and name it as module:function.",
        ),
        (
            mse,
            LOGITS,
            np.array([1, 2, 3]),
            "the metric mse needs labels of the output's shape; the output is [3, 6], "
            "they are [3]\n"
            '  save the right outputs as "label", samples on axis 0.',
        ),
        (
            Metric("odd", lambda *arguments: 1 / 0),
            LOGITS,
            None,
            "the metric odd failed: ZeroDivisionError: division by zero\n"
            "  it is called with (outputs, labels, reference), arrays with samples on axis 0.",
        ),
        (
            Metric("odd", lambda *arguments: np.zeros(2)),
            LOGITS,
            None,
            "the metric odd returned [2] scores for 3 samples, or not finite ones\n"
            "  a metric returns one finite score for each sample.",
        ),
        (
            Metric("odd", lambda *arguments: np.full(3, np.nan)),
            LOGITS,
            None,
            "the metric odd returned [3] scores for 3 samples, or not finite ones\n"
            "  a metric returns one finite score for each sample.",
        ),
    ],
)
def test_refusals(metric, outputs, labels, text):
    with pytest.raises(SpecError) as caught:
        metric(outputs, labels, outputs)
    assert str(caught.value) == text


@pytest.mark.parametrize("metric", [top1, top5, mse, agreement], ids=lambda m: m.name)
def test_ours_come_by_the_entry_points(metric):
    assert resolve_metric(metric.name) == metric


def test_a_function_beside_the_spec(tmp_path):
    (tmp_path / "beside_the_spec.py").write_text(
        "import numpy as np\n"
        "def f1(outputs, labels, reference):\n"
        "    return np.ones(len(outputs['y']))\n"
        "f1.higher_is_better = False\n"
        "def bare(outputs, labels, reference):\n"
        "    return np.zeros(len(outputs['y']))\n"
        "number = 3\n"
    )
    metric = resolve_metric("beside_the_spec:f1", tmp_path)
    assert (metric.name, metric.higher_is_better, metric.needs_labels) == (
        "beside_the_spec:f1",
        False,
        False,
    )
    assert metric(LOGITS, None, LOGITS).tolist() == [1, 1, 1]
    assert resolve_metric("beside_the_spec:bare", tmp_path).higher_is_better
    with pytest.raises(SpecError) as caught:
        resolve_metric("beside_the_spec:number", tmp_path)
    assert str(caught.value) == (
        'quality.metric: "beside_the_spec:number" is not a function\n'
        "  a metric is a function of (outputs, labels, reference)."
    )


def test_names_that_are_not_there():
    with pytest.raises(SpecError) as caught:
        resolve_metric("topp1")
    assert str(caught.value) == (
        'quality.metric: there is no metric "topp1"\n'
        '  did you mean "top1"? installed are agreement, mse, top1, top5; '
        "or name a function as module:function."
    )
    with pytest.raises(SpecError) as caught:
        resolve_metric("absent_module:f")
    assert str(caught.value) == (
        'quality.metric: "absent_module:f" can not be imported: '
        "ModuleNotFoundError: No module named 'absent_module'\n"
        "  it names a function as module:function, in a module that is installed or lies "
        "beside the spec."
    )


def test_a_name_claimed_twice_names_both(tmp_path, monkeypatch):
    for owner in ("one", "two"):
        info = tmp_path / f"{owner}-1.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {owner}\nVersion: 1\n")
        (info / "entry_points.txt").write_text(f"[budgetc.metrics]\nf1 = {owner}.metrics:f1\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SpecError) as caught:
        resolve_metric("f1")
    assert str(caught.value) == (
        'quality.metric: "f1" is claimed by one and two\n'
        "  uninstall one of them, or name the function as module:function."
    )
