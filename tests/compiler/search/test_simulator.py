"""The inside of a simulation: shared work, and figures that are right."""

from pathlib import Path

import numpy as np
import pytest
from budgetc import kitchen
from budgetc.baseline import make_session
from budgetc.model import parse_model
from budgetc.optimise import optimise
from budgetc.search import simulator
from budgetc.search.judge import Judge, noise_to_signal, surprise
from budgetc.search.simulator import simulate_recipes
from budgetc_passes.quantization import static
from budgetc_specs.errors import SpecError
from hypothesis import given
from hypothesis import strategies as st

from .conftest import Subject

INT8 = "clean | fuse | clean | quantize"


@pytest.fixture
def mnist(subject) -> Subject:
    return subject("mnist5k_cnn")


def simulated(
    mnist: Subject, avx2, recipes: list[str], monkeypatch, *, samples: int = 64, **changed: object
) -> list[dict]:
    found = []
    monkeypatch.setattr(simulator, "report_progress", found.append)
    arguments = {
        "calibration": str(mnist.calibration),
        "validation": str(mnist.calibration.with_name("evaluation.npz")),
        "metric": "top1",
        "folder": None,
        **changed,
    }
    sheet = avx2.model_dump(mode="json")
    simulate_recipes(str(mnist.file), "test", sheet, recipes, samples=samples, seed=0, **arguments)
    return [message["found"] for message in found if "found" in message]


def test_the_figures_are_those_of_the_model_that_the_recipe_makes(
    mnist: Subject, avx2, monkeypatch, tmp_path: Path
) -> None:
    (found,) = simulated(mnist, avx2, [INT8], monkeypatch, samples=10**6)
    out = tmp_path / "out.onnx"
    sheet = avx2.model_dump(mode="json")
    optimise(str(mnist.file), "test", INT8, sheet, str(mnist.calibration), str(out))
    with np.load(mnist.calibration.with_name("evaluation.npz")) as data:
        images, labels = data["input"], data["label"]
    answers = []
    for model in (mnist.model.data, out.read_bytes()):
        session = make_session(model, exact_integers=True)
        answers.append(
            np.concatenate([next(iter(session.run({"input": x[None]}).values())) for x in images])
        )
    right = [(a.argmax(axis=1) == labels).mean() for a in answers]
    assert found["samples"] == len(labels)
    assert found["drop"] == pytest.approx(right[0] - right[1], abs=1e-12)
    assert found["low"] <= found["drop"] <= found["high"]
    real, coded = (a.astype(np.float64) for a in answers)
    error = (((coded - real) ** 2).sum(axis=1) / (real**2).sum(axis=1)).mean()
    assert found["error"] == pytest.approx(error, rel=1e-9)
    assert found["weight_bytes"] == parse_model(out.read_bytes(), "test").weight_bytes


def test_what_recipes_share_is_done_once(mnist: Subject, avx2, monkeypatch) -> None:
    passes, streams = [], []
    run_pass, collect = kitchen.run_pass, static.collect

    def counted(model, step, *rest):
        passes.append(str(step))
        return run_pass(model, step, *rest)

    monkeypatch.setattr(kitchen, "run_pass", counted)
    monkeypatch.setattr(static, "collect", lambda *a: streams.append(1) or collect(*a))
    simulated(
        mnist, avx2, [INT8, f"{INT8}{{skip=/0/Conv}}", f"{INT8}{{skip=/19/Gemm}}"], monkeypatch
    )
    assert [text.partition("{")[0] for text in passes] == [
        "clean", "fuse", "clean", "quantize", "quantize", "quantize"
    ]  # fmt: skip
    assert len(streams) == 1


def test_a_recipe_that_is_refused_is_no_end(mnist: Subject, avx2, monkeypatch) -> None:
    bad, good = simulated(mnist, avx2, [f"{INT8}{{skip=nowhere}}", INT8], monkeypatch)
    assert "skip names 'nowhere'" in bad["refused"]
    assert good["error"] > 0


def test_made_up_inputs_have_no_metric(mnist: Subject, avx2, monkeypatch) -> None:
    recipe = "clean | fuse | clean | prune{ratio=0.5}"
    (found,) = simulated(mnist, avx2, [recipe], monkeypatch, validation=None, metric=None)
    assert found["error"] > 0
    assert "drop" not in found


def test_a_model_that_was_judged_before_is_not_run_again(mnist: Subject, tmp_path: Path) -> None:
    def judge(samples: int = 16) -> Judge:
        data = str(mnist.calibration.with_name("evaluation.npz"))
        return Judge(mnist.model, data, "top1", None, samples, 0, tmp_path)

    first = judge().figures(mnist.model)
    assert first["drop"] == 0.0
    again = judge()
    again._answers = None  # running anything would raise
    assert again.figures(mnist.model) == first
    assert judge(17).figures(mnist.model)["samples"] == 17


def test_surprise_at_labels_is_told_to_those_who_ask_for_it(mnist: Subject, tmp_path: Path) -> None:
    data = str(mnist.calibration.with_name("evaluation.npz"))
    plain, surprised = (
        Judge(mnist.model, data, "top1", None, 16, 0, tmp_path, surprised=asked).figures(
            mnist.model
        )
        for asked in (False, True)
    )
    assert 0 < surprised["loss"] < np.log(10)
    assert surprised == {**plain, "loss": surprised["loss"]}


def test_codes_need_calibration(mnist: Subject, avx2, monkeypatch) -> None:
    with pytest.raises(SpecError, match="quantize needs calibration data"):
        simulated(mnist, avx2, [INT8], monkeypatch, calibration=None)


@pytest.mark.parametrize(
    ("ours", "right", "ratio"),
    [
        ([[1.0, 1.0]], [[1.0, 1.0]], 0.0),
        ([[2.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [0.0, 1.0]], 0.5),
        ([[0.0], [1.0]], [[0.0], [0.0]], 0.5),
    ],
)
def test_noise_to_signal(ours: list, right: list, ratio: float) -> None:
    assert noise_to_signal({"y": np.array(ours)}, {"y": np.array(right)}) == ratio


LABELS = np.array([0, 2, 1, 2])


def test_who_knows_nothing_is_surprised_by_the_number_of_classes() -> None:
    assert surprise({"y": np.zeros((4, 1, 3))}, LABELS) == pytest.approx(np.log(3))
    sure = np.eye(3)[LABELS]
    assert surprise({"y": sure}, LABELS) == pytest.approx(0, abs=1e-5)


@given(st.floats(1e-3, 1e3), st.integers(0, 2**32 - 1))
def test_how_sure_a_model_is_of_itself_says_nothing(factor: float, seed: int) -> None:
    scores = np.random.default_rng(seed).normal(size=(40, 5))
    labels = np.random.default_rng(seed + 1).integers(5, size=40)
    plain = surprise({"y": scores}, labels)
    assert plain is not None
    assert surprise({"y": scores * factor}, labels) == pytest.approx(plain)
    logs = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    assert plain <= -logs[np.arange(40), labels].mean() * 1.01


@pytest.mark.parametrize(
    ("numbers", "labels"),
    [
        ({"y": np.zeros((4, 3))}, None),
        ({"y": np.zeros((4, 3))}, np.array([0.5, 1.0, 0.0, 2.0])),
        ({"y": np.zeros((4, 3))}, np.array([0, 1, 2, 3])),
        ({"y": np.zeros((4, 1))}, np.array([0, 0, 0, 0])),
        ({"y": np.zeros((4, 2, 3))}, LABELS),
        ({"y": np.zeros((4, 3)), "z": np.zeros((4, 3))}, LABELS),
    ],
)
def test_labels_that_are_no_classes_surprise_nobody(numbers: dict, labels: np.ndarray) -> None:
    assert surprise(numbers, labels) is None
