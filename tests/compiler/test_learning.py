"""Lessons for passes that train: from files, kept under all that they depend on, and taken up after a kill."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from budgetc.compile import _taken_up
from budgetc.data import Data, load_data
from budgetc.kitchen import Kitchen
from budgetc.learning import (
    FileCheckpoint,
    Learning,
    School,
    check_installed,
    check_learning,
    check_strategy,
    learning_of,
    load_teacher,
)
from budgetc.model import Model, parse_model
from budgetc.splits import load_splits
from budgetc.upkeep import verify_cache
from budgetc_specs.errors import EnvironmentError_, SpecError
from budgetc_specs.recipe import parse_recipe
from budgetc_specs.spec import Spec

pytest.importorskip("torch")

RECIPE = parse_recipe("prune{align=1,ratio=0.5} | distill{batch=16,epochs=4,rate=0.01}")


def write_model(path: Path, seed: int = 0) -> Path:
    text = """
        <ir_version: 8, opset_import: ["" : 17]>
        net (float[1,4,6,6] x) => (float[1,5] y) <float[8,4,3,3] w, float[8,5] v>
        { c = Conv(x, w)  r = Relu(c)  p = GlobalAveragePool(r)  f = Flatten(p)  y = MatMul(f, v) }
    """
    proto = onnx.parser.parse_model(text)
    random = np.random.default_rng(seed)
    for name, shape in (("w", (8, 4, 3, 3)), ("v", (8, 5))):
        array = random.normal(size=shape).astype("f4")
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    onnx.save(proto, path)
    return path


@pytest.fixture
def model(tmp_path: Path) -> Model:
    path = write_model(tmp_path / "net.onnx")
    return parse_model(path.read_bytes(), path)


@pytest.fixture
def learning(tmp_path: Path) -> Learning:
    x = np.random.default_rng(1).normal(size=(96, 4, 6, 6)).astype("f4")
    np.savez(tmp_path / "train.npz", x=x)
    return Learning(tmp_path / "train.npz", "", None, (), tmp_path, 0, 60.0)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BUDGETC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def cook(model, avx2, learning, says=lambda _: None):
    kitchen = Kitchen([model], avx2, None, "net.onnx", learning)
    (made,), ledger = kitchen.cook(RECIPE, says=says)
    return made, ledger


def test_a_second_run_trains_nothing_and_comes_to_the_same(
    model: Model, learning: Learning, avx2, cache: Path
) -> None:
    said: list[str] = []
    made, ledger = cook(model, avx2, learning, said.append)
    assert said[0].startswith("distill: epoch 1/4: loss ")
    assert ledger[1]["modified"]
    again, other = cook(model, avx2, learning, pytest.fail)
    assert again.data == made.data
    assert other == ledger
    assert [path.name for path in (cache / "checkpoints").iterdir()] == []
    assert verify_cache(cache) == ()


@pytest.mark.parametrize(
    "change", [{"seed": 1}, {"seconds": 61.0}, {"augmentations": ("noise{deviation=0.5}",)}]
)
def test_what_it_depends_on_is_in_the_key(model: Model, learning: Learning, avx2, change) -> None:
    made, _ = cook(model, avx2, learning)
    said: list[str] = []
    other, _ = cook(model, avx2, replace(learning, **change), said.append)
    assert said
    assert (other.data == made.data) == (change == {"seconds": 61.0})


def test_a_run_that_was_killed_goes_on(model: Model, learning: Learning, avx2) -> None:
    whole, ledger = cook(model, avx2, replace(learning, seconds=59.0))
    said: list[str] = []

    def kill(text: str) -> None:
        said.append(text)
        if len(said) == 3:
            raise KeyboardInterrupt

    # At the third report, with the checkpoint of the first two epochs, or of the first where they were quick.
    with pytest.raises(KeyboardInterrupt):
        cook(model, avx2, learning, kill)
    resumed, other = cook(model, avx2, learning, said.append)
    assert "distill: going on after epoch" in said[3]
    assert resumed.data == whole.data
    assert other == ledger


def test_weights_that_are_lost_are_learned_again(
    model: Model, learning: Learning, avx2, cache: Path
) -> None:
    made, _ = cook(model, avx2, learning)
    for path in (cache / "learned-models").rglob("*"):
        if path.is_file():
            path.write_bytes(b"damaged")
    assert len(verify_cache(cache)) == 1
    said: list[str] = []
    assert cook(model, avx2, learning, said.append)[0].data == made.data
    assert said


def test_another_teacher_is_learned_from(
    model: Model, learning: Learning, avx2, tmp_path: Path
) -> None:
    made, _ = cook(model, avx2, learning)
    other = replace(learning, teacher=write_model(tmp_path / "teacher.onnx", seed=5))
    assert cook(model, avx2, other)[0].data != made.data


def test_a_teacher_that_gives_something_else_is_refused(model: Model, tmp_path: Path) -> None:
    text = '<ir_version: 8, opset_import: ["" : 17]> t (float[1,4,6,6] x) => (float[1,4,6,6] z) { z = Relu(x) }'
    onnx.save(onnx.parser.parse_model(text), tmp_path / "teacher.onnx")
    with pytest.raises(SpecError, match=r"learning\.teacher: its outputs are z float32"):
        load_teacher(tmp_path / "teacher.onnx", model)


def test_without_samples_it_asks_for_some(model: Model, avx2) -> None:
    with pytest.raises(SpecError, match="the pass distill needs samples to learn from"):
        cook(model, avx2, None)


def test_it_travels_as_json(learning: Learning) -> None:
    assert Learning.from_json(json.loads(json.dumps(learning.to_json()))) == learning


def test_a_checkpoint_that_is_not_whole_is_none(tmp_path: Path) -> None:
    checkpoint = FileCheckpoint(tmp_path / "kept")
    assert checkpoint.load() is None
    checkpoint.save(b"all of it")
    assert checkpoint.load() == b"all of it"
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:-1])
    assert checkpoint.load() is None
    checkpoint.clear()
    assert not checkpoint.path.exists()


def test_the_calibration_data_are_taken_with_a_caution(model: Model, tmp_path: Path) -> None:
    x = np.zeros((8, 4, 6, 6), "f4")
    for name in ("calib", "train"):
        np.savez(tmp_path / f"{name}.npz", x=x + (name == "train"))
    spec = Spec(model=tmp_path / "net.onnx", data={"calibration": tmp_path / "calib.npz"})
    from budgetc.measure.metrics import resolve_metric

    metric = resolve_metric("agreement")
    splits = load_splits(spec, model, metric)
    found = learning_of(spec, splits.training, splits.calibration)
    assert found is not None
    assert found.samples.name == "calib.npz"
    assert "8 samples, since there is no data.train" in found.caution
    data = {"calibration": tmp_path / "calib.npz", "train": tmp_path / "train.npz"}
    both = spec.model_copy(update={"data": Spec(model="m.onnx", data=data).data})
    splits = load_splits(both, model, metric)
    found = learning_of(both, splits.training, splits.calibration)
    assert found is not None
    assert (found.samples.name, found.caution) == ("train.npz", "")


@pytest.mark.parametrize(
    ("metric", "evaluated", "classes"),
    [
        ("top1", True, True),
        ("top{k=2}", True, True),
        ("cosine", True, False),
        ("top1", False, False),
    ],
)
def test_the_metric_says_whether_answers_are_classes(
    learning: Learning, tmp_path: Path, metric: str, evaluated: bool, classes: bool
) -> None:
    data = {"train": learning.samples} | ({"evaluation": tmp_path / "e.npz"} if evaluated else {})
    spec = Spec(model=tmp_path / "net.onnx", data=data, quality={"metric": metric})
    found = learning_of(spec, Data(learning.samples, "", 96, 96, 0, None, ()), None)
    assert found is not None
    assert found.classes == classes


def test_the_evaluation_data_are_never_learned_from(model: Model, tmp_path: Path) -> None:
    from budgetc.measure.metrics import resolve_metric

    np.savez(tmp_path / "eval.npz", x=np.zeros((8, 4, 6, 6), "f4"))
    data = {"train": tmp_path / "eval.npz", "evaluation": tmp_path / "eval.npz"}
    with pytest.raises(SpecError, match="nothing may learn from"):
        load_splits(Spec(model="net.onnx", data=data), model, resolve_metric("agreement"))


def test_a_recipe_that_trains_is_checked_beforehand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = Spec(model=tmp_path / "net.onnx", passes="clean | distill")
    with pytest.raises(SpecError, match="passes: distill needs samples to learn from"):
        check_learning(spec)
    wrong = spec.model_copy(
        update={"learning": Spec(model="m.onnx", learning={"augment": "shfit"}).learning}
    )
    with pytest.raises(SpecError, match='did you mean "shift"'):
        check_learning(wrong)
    monkeypatch.setattr("budgetc.learning.EXTRA", "a-distribution-that-is-not-there")
    with pytest.raises(EnvironmentError_) as caught:
        check_learning(spec)
    assert 'pip install "budgetc[learn]"' in str(caught.value)
    with pytest.raises(EnvironmentError_, match="the pass distill trains"):
        check_installed("pass distill")


def test_a_school_keeps_nothing_of_what_it_was_not_told(model: Model, learning: Learning) -> None:
    school = School(learning, model, "net.onnx")
    (step,) = parse_recipe("distill").steps
    assert school.recall(school.key([model], step, {})) is None


@pytest.mark.parametrize(("recipe", "lines"), [("clean | distill", 2), ("clean", 0)])
def test_who_interrupts_a_recipe_hears_what_is_kept(recipe: str, lines: int) -> None:
    with pytest.raises(KeyboardInterrupt) as caught, _taken_up(parse_recipe(recipe)):
        raise KeyboardInterrupt
    assert len(getattr(caught.value, "__notes__", ())) == lines


def test_what_a_model_was_before_may_teach_it(model: Model, learning: Learning, avx2) -> None:
    """After a training that changed it, and no pass since, there is nothing left to learn from what it was."""
    lead = "distill{batch=16,epochs=3,rate=0.01}"
    recipe = parse_recipe(f"{lead} | clean | distill{{batch=16,epochs=1,teacher=before}}")
    other = replace(learning, teacher=write_model(learning.folder / "other.onnx", 7))
    kitchen = Kitchen([model], avx2, None, "net.onnx", other)
    made, ledger = kitchen.cook(recipe)
    assert ledger[0]["modified"]
    assert "fit 1.0000 was not improved" in ledger[2]["notes"][-1]["text"]
    assert made[0].data == kitchen.cook(parse_recipe(f"{lead} | clean"))[0][0].data
    assert len(kitchen.taught(recipe)) == 2
    given, ledger = kitchen.cook(parse_recipe(str(recipe).replace(",teacher=before", "")))
    assert ledger[2]["modified"]
    assert given[0].data != made[0].data


def test_without_a_training_before_the_teacher_is_the_one_of_the_spec(
    model: Model, learning: Learning, avx2
) -> None:
    kitchen = Kitchen([model], avx2, None, "net.onnx", learning)
    text = "prune{align=1,ratio=0.5} | distill{batch=16,epochs=1,rate=0.01}"
    plain, _ = kitchen.cook(parse_recipe(text))
    before, _ = kitchen.cook(parse_recipe(text.replace("rate", "teacher=before,rate")))
    assert before[0].data == plain[0].data


def test_a_larger_model_needs_someone_who_knows_more(model: Model, tmp_path: Path) -> None:
    x = np.zeros((8, 4, 6, 6), "f4")
    np.savez(tmp_path / "train.npz", x=x)
    np.savez(tmp_path / "told.npz", x=x, label=np.zeros(8, np.int64))
    write_model(tmp_path / "net.onnx")

    def check(train: str, **learning: Path) -> None:
        spec = Spec(
            model=tmp_path / "net.onnx",
            data={"train": tmp_path / train},
            strategy="grow-improve-shrink",
            learning=learning,
        )
        check_strategy(spec, load_data(tmp_path / train, model))

    check("told.npz")
    check("train.npz", teacher=tmp_path / "net.onnx")
    with pytest.raises(SpecError, match="needs labels, or a teacher"):
        check("train.npz")
