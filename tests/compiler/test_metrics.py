"""The contract of metrics: what is refused, options, aggregates, and the two doors by which they come in."""

import pickle

import numpy as np
import pytest
from budgetc.measure.classification import agreement, f1, mean_iou, top, top1, top5
from budgetc.measure.metrics import Metric, metric_options, resolve_metric
from budgetc.measure.sequences import edit_distance
from budgetc.measure.signals import cosine, mse, snr
from budgetc_specs.errors import SpecError

LOGITS = {"y": np.array([[1, 3, 2, 0, 0, 0], [9, 1, 1, 1, 1, 1], [2, 2, 2, 2, 2, 2]], np.float32)}


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
            top1,
            {"a": np.zeros((1, 2)), "b": np.zeros((1, 2))},
            np.array([0]),
            'the metric top1 is for models with one output; this one has "a", "b"\n'
            "  agreement, cosine and snr look at all of them; or write a function that takes what it "
            "needs of them, and name it as module:function.",
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


@pytest.mark.parametrize(
    "metric",
    [top, top1, top5, f1, mean_iou, agreement, mse, snr, cosine, edit_distance],
    ids=lambda m: m.name,
)
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


def test_a_function_with_statistics_and_an_aggregate(tmp_path):
    (tmp_path / "rates.py").write_text(
        "import numpy as np\n"
        "def rate(outputs, labels, reference):\n"
        "    return np.array([[1, 2], [2, 2], [0, 6]])\n"
        "rate.aggregate = lambda means: means[..., 0] / means[..., 1]\n"
        "def broken(outputs, labels, reference):\n"
        "    return np.ones((3, 1))\n"
        "broken.aggregate = lambda means: means[5]\n"
        "def nothing(outputs, labels, reference):\n"
        "    return np.ones((3, 1))\n"
        "nothing.aggregate = lambda means: float('nan')\n"
    )
    rate = resolve_metric("rates:rate", tmp_path)
    assert rate.value(rate(LOGITS, None, LOGITS)) == pytest.approx(0.3)
    with pytest.raises(SpecError, match=r"rates:broken failed: IndexError.*\n  it takes means of"):
        resolve_metric("rates:broken", tmp_path).value(np.ones((3, 1)))
    with pytest.raises(SpecError, match=r"rates:nothing returned nan\n  a metric's value is a fin"):
        resolve_metric("rates:nothing", tmp_path).value(np.ones((3, 1)))


def test_options():
    metric = resolve_metric("top{k=2}")
    assert metric.name == "top{k=2}"
    assert metric(LOGITS, np.array([2, 0, 2]), LOGITS).tolist() == [1, 1, 0]
    assert dict(metric_options(metric)) == {"k": 1}
    assert dict(metric_options(top1)) == {}
    assert pickle.loads(pickle.dumps(metric)).name == "top{k=2}"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("top{n=3}", 'quality.metric: top has no option "n"\n  its options are k.'),
        ("top1{k=3}", 'quality.metric: top1 has no option "k"\n  its options are none.'),
        (
            "top{k=true}",
            'quality.metric: top: k is "true"\n  it is of the kind of its default, "1".',
        ),
        (
            "top{k}",
            'quality.metric: "top{k}" is not a metric\n'
            '  write its name, with options in braces where it has any, such as "top{k=3}".',
        ),
    ],
)
def test_options_that_are_refused(name, text):
    with pytest.raises(SpecError) as caught:
        resolve_metric(name)
    assert str(caught.value) == text


def test_names_that_are_not_there():
    with pytest.raises(SpecError) as caught:
        resolve_metric("topp1")
    assert str(caught.value) == (
        'quality.metric: there is no metric "topp1"\n'
        '  did you mean "top1"? installed are agreement, cosine, edit-distance, f1, mean-iou, mse, '
        "snr, top, top1, top5; or name a function as module:function."
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
        (info / "entry_points.txt").write_text(
            f"[budgetc.metrics]\nscore = {owner}.metrics:score\n"
        )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SpecError) as caught:
        resolve_metric("score")
    assert str(caught.value) == (
        'quality.metric: "score" is claimed by one and two\n'
        "  uninstall one of them, or name the function as module:function."
    )
