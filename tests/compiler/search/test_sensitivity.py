"""Sensitivity of real models: what is ranked as dear is dear, and nothing is measured twice."""

import json
from pathlib import Path

import numpy as np
import pytest
from budgetc.data import load_data
from budgetc.measure.metrics import resolve_metric
from budgetc.search import simulation
from budgetc.search.sensitivity import Effect, Sensitivity, measure_sensitivity
from budgetc.search.settings import Settings
from budgetc.search.simulation import Subject, simulate
from budgetc.search.space import Space
from scipy.stats import spearmanr

SAMPLES = 64


def quiet(_: str) -> None:
    pass


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("simulated")


@pytest.fixture(scope="module", params=["mnist5k_cnn", "mlperf_tiny_resnet8_cifar10"])
def measured(request, subject, avx2, store) -> tuple[Space, Subject, Sensitivity]:
    found = subject(request.param)
    labelled = found.calibration.with_name("evaluation.npz")
    data = labelled if labelled.exists() else found.calibration
    about = Subject.of(
        found.model,
        found.file,
        avx2,
        resolve_metric("top1" if labelled.exists() else "agreement"),
        calibration=load_data(found.calibration, found.model),
        validation=load_data(data, found.model),
        samples=SAMPLES,
    )
    return found.space, about, measure_sensitivity(found.space, about, quiet, cache=store)


def test_every_level_has_its_effect(measured) -> None:
    space, _, found = measured
    wanted = [(f.name, c.name, level) for f, c in space.choices() for level in c.levels[1:]]
    assert [(e.family, e.part, e.level) for e in found.effects] == wanted
    assert found.samples == SAMPLES
    assert all(e.bytes_saved > 0 and not e.refused for e in found.effects)
    assert found.of("prune", space.families[0].choices[0].name, 0.0) is None


def test_json_both_ways(measured) -> None:
    _, _, found = measured
    assert Sensitivity.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_it_is_not_measured_twice(measured, store, monkeypatch) -> None:
    space, about, found = measured

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a child was started")

    monkeypatch.setattr(simulation, "run_child", refuse)
    assert measure_sensitivity(space, about, quiet, cache=store) == found


def test_more_channels_cost_more_and_save_more(measured) -> None:
    """Of the last group that is pruned, whose channels nobody but the classifier reads."""
    space, _, found = measured
    part = space.family("prune").choices[-1]
    least, most = (found.of("prune", part.name, part.levels[at]) for at in (1, -1))
    assert least
    assert most
    assert most.error > least.error
    assert most.bytes_saved > least.bytes_saved


def test_codes_cost_less_than_channels(measured) -> None:
    """But for channels that the others can stand in for, which cost next to nothing."""
    _, _, found = measured
    codes = [e.error for e in found.effects if e.family == "quantize"]
    channels = [e.error for e in found.effects if e.family == "prune"]
    assert max(codes) < np.median(channels)


def test_the_ranking_is_by_the_price_of_a_byte(measured) -> None:
    _, _, found = measured
    prices = [e.error / e.bytes_saved for e in found.ranked("quantize")]
    assert prices == sorted(prices)
    assert len(prices) == len([e for e in found.effects if e.family == "quantize"])


@pytest.mark.slow
def test_sums_of_parts_rank_settings(measured, store) -> None:
    """Thirty random choices of layers: the order by the sum is nearly that by what is measured."""
    space, about, found = measured
    random = np.random.default_rng(0)
    names = [choice.name for choice in space.family("quantize").choices]
    drawn = [
        space.settings({"quantize": {n: "int8" for n in names if random.random() < 0.5}})
        for _ in range(30)
    ]
    drawn = [settings for settings in drawn if settings != Settings()]
    figures = simulate(about, [space.recipe(settings) for settings in drawn], quiet, store)
    predicted = [found.error(settings) for settings in drawn]
    assert spearmanr(predicted, [each.error for each in figures]).statistic > 0.7
    for settings, each in zip(drawn, figures, strict=True):
        saved = found.weight_bytes - each.weight_bytes
        assert found.bytes_saved(settings) == pytest.approx(saved, rel=0.01)


def test_what_saves_nothing_comes_last() -> None:
    def effect(part: str, error: float, saved: int, refused: str = "") -> Effect:
        return Effect("f", part, 1, error, None, None, None, saved, refused)

    effects = (
        effect("a", 1.0, 0),
        effect("b", 5.0, 10),
        effect("c", 1.0, 10),
        effect("d", 0.0, 0, "no"),
    )
    found = Sensitivity(effects, 1, 100)
    assert [e.part for e in found.ranked("f")] == ["c", "b", "a"]
    assert found.error(Settings.of({"f": {"a": 1, "c": 1}})) == 2.0
