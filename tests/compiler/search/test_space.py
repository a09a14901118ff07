"""The space of a real model: what it offers, and that every point of it is a recipe that runs."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest
from budgetc.kitchen import Kitchen
from budgetc.model import parse_model
from budgetc.optimise import optimise
from budgetc.search.settings import Settings
from budgetc.search.space import Space, find_space
from budgetc_specs.errors import SpecError
from budgetc_specs.recipe import parse_recipe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .conftest import MODELS, Subject

Load = Callable[[str], Subject]


@pytest.fixture(scope="session")
def mnist(subject: Load) -> Subject:
    return subject("mnist5k_cnn")


@st.composite
def points(draw: st.DrawFn, space: Space) -> Settings:
    """Any settings of a space."""
    levels = {
        family.name: {c.name: draw(st.sampled_from(c.levels)) for c in family.choices}
        for family in space.families
    }
    options = {
        family.name: {name: draw(st.sampled_from(values)) for name, values in family.options}
        for family in space.families
    }
    return space.settings(levels, options)


def run(subject: Subject, recipe: str, avx2, folder: Path) -> onnx.ModelProto:
    """The model that a recipe makes of it; the loader's checks hold for it."""
    out = folder / "out.onnx"
    sheet = avx2.model_dump(mode="json")
    optimise(str(subject.file), "test", recipe, sheet, str(subject.calibration), str(out))
    made = parse_model(out.read_bytes(), "test")
    assert made.inputs == subject.model.inputs
    assert made.outputs == subject.model.outputs
    proto = onnx.load_model_from_string(made.data)
    onnx.checker.check_model(proto, full_check=True)
    return proto


def test_every_family_offers_something(mnist: Subject) -> None:
    assert [family.name for family in mnist.space.families] == ["prune", "separable", "quantize"]
    prune, separable, quantize = mnist.space.families
    assert [c.name for c in prune.choices] == [
        "/0/Conv",
        "/3/Conv",
        "/7/Conv",
        "/10/Conv",
        "/14/Conv",
    ]
    assert [c.name for c in separable.choices] == ["/3/Conv", "/7/Conv", "/10/Conv", "/14/Conv"]
    assert [c.name for c in quantize.choices][-1] == "/19/Gemm"
    first = quantize.choice("/3/Conv")
    assert first.nodes == ("/3/Conv", "/5/Relu")
    assert first.parameters == 16 * 16 * 9 + 16
    assert first.float_bytes == 4 * first.parameters
    assert first.macs == 28 * 28 * 16 * 16 * 9


def test_json_both_ways(mnist: Subject) -> None:
    assert Space.from_json(json.loads(json.dumps(mnist.space.to_json()))) == mnist.space


def test_as_it_is(mnist: Subject) -> None:
    assert str(mnist.space.recipe(Settings())) == "clean | fuse | clean"
    neutral = {f.name: {c.name: c.levels[0] for c in f.choices} for f in mnist.space.families}
    assert mnist.space.settings(neutral, {"quantize": {"calibration": "minmax"}}) == Settings()


def test_one_level_for_all(mnist: Subject, avx2, tmp_path: Path) -> None:
    space = mnist.space
    half = str(space.recipe(space.uniform("prune", 0.5)))
    assert half == "clean | fuse | clean | prune{method=replace,ratio=0.5} | clean"
    codes = str(space.recipe(space.uniform("quantize", "int8", calibration="mse")))
    assert codes == "clean | fuse | clean | quantize{calibration=mse,output=float}"
    for ratio in (0.125, 0.375, 0.75):
        step = f"prune{{method=replace,ratio={ratio}}}"
        plain = run(mnist, f"clean | fuse | clean | {step} | clean", avx2, tmp_path)
        ours = run(mnist, str(space.recipe(space.uniform("prune", ratio))), avx2, tmp_path)
        assert ours == plain


def test_without_calibration_there_are_no_codes(mnist: Subject, avx2) -> None:
    space = find_space(mnist.file, mnist.model.path, avx2, calibrated=False)
    assert [family.name for family in space.families] == ["prune"]
    half = str(space.recipe(space.uniform("prune", 0.5)))
    assert half == "clean | fuse | clean | prune{method=norm,ratio=0.5} | clean"


def test_a_quantized_model_offers_no_codes(mnist: Subject, avx2, tmp_path: Path) -> None:
    once = run(mnist, "clean | fuse | clean | quantize", avx2, tmp_path)
    file = tmp_path / "quantized.onnx"
    file.write_bytes(once.SerializeToString())
    space = find_space(file, file, avx2, calibrated=True)
    assert "quantize" not in [family.name for family in space.families]


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_every_point_is_a_recipe_that_runs(
    data: st.DataObject, mnist: Subject, avx2, tmp_path: Path
) -> None:
    chosen = data.draw(points(mnist.space))
    assert Settings.from_json(json.loads(json.dumps(chosen.to_json()))) == chosen
    recipe = mnist.space.recipe(chosen)
    assert parse_recipe(str(recipe)) == recipe
    made = run(mnist, str(recipe), avx2, tmp_path)
    coded = any(node.op_type == "QuantizeLinear" for node in made.graph.node)
    assert coded == any(family == "quantize" for family, _ in chosen.levels)


@pytest.mark.parametrize("name", MODELS)
def test_the_furthest_point_of_every_real_model_runs(
    name: str, subject: Load, avx2, tmp_path: Path
) -> None:
    found = subject(name)
    furthest = {f.name: {c.name: c.levels[-1] for c in f.choices} for f in found.space.families}
    recipe = found.space.recipe(found.space.settings(furthest))
    before = found.model.weight_bytes
    made = parse_model(run(found, str(recipe), avx2, tmp_path).SerializeToString(), "test")
    assert made.weight_bytes < before / 3  # codes alone are a quarter, beside their scales


@pytest.mark.parametrize(
    ("levels", "options", "message"),
    [
        ({"prun": {"/0/Conv": 0.5}}, {}, 'did you mean "prune"'),
        ({"prune": {"/0/Con": 0.5}}, {}, 'no part "/0/Con" in this model'),
        ({"prune": {"/0/Conv": 0.3}}, {}, '/0/Conv cannot be "0.3"'),
        ({}, {"quantize": {"calibrate": "mse"}}, 'did you mean "calibration"'),
        ({}, {"quantize": {"calibration": "kl"}}, 'calibration cannot be "kl"'),
    ],
)
def test_settings_of_another_space(mnist: Subject, levels, options, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        mnist.space.settings(levels, options)
    with pytest.raises(SpecError, match=message):
        mnist.space.recipe(Settings.of(levels, options))


DEEP = (
    "mlperf_tiny_dscnn_kws",
    "mlperf_tiny_mobilenet_vww",
    "mlperf_tiny_resnet8_cifar10",
    "mnist5k_cnn",
)
"""Those whose levels take half a minute and more to set."""


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=(pytest.mark.large,) if n in DEEP else ()) for n in MODELS]
)
def test_every_level_of_every_real_model_can_be_set(name: str, subject: Load, avx2) -> None:
    """Each alone and with each option: the model passes the checker, and its interface stays."""
    found = subject(name)
    kitchen = Kitchen([found.model], avx2, str(found.calibration), "test")
    float_bytes = kitchen.cook(found.space.recipe(Settings()))[0][0].weight_bytes
    for family, choice in found.space.choices():
        points = [
            {},
            *({option: value} for option, values in family.options for value in values[1:]),
        ]
        for level in choice.levels[1:]:
            for options in points:
                levels = {family.name: {choice.name: level}}
                chosen = found.space.settings(levels, {family.name: options})
                made = kitchen.cook(found.space.recipe(chosen))[0][0]
                assert (made.inputs, made.outputs) == (found.model.inputs, found.model.outputs)
                assert made.weight_bytes < float_bytes or choice.parameters == 0


@pytest.mark.parametrize("name", MODELS)
def test_layers_keep_their_names_through_the_preamble(
    name: str, subject: Load, avx2, tmp_path: Path
) -> None:
    """They stand in recipes, so that they must not hang on what else is in the graph."""
    found = subject(name)
    proto = onnx.load_model_from_string(found.model.data)
    given = {node.name for node in proto.graph.node}
    made = {output for node in proto.graph.node for output in node.output}
    for node in proto.graph.node:
        node.name = ""
    file = tmp_path / "unnamed.onnx"
    file.write_bytes(proto.SerializeToString())
    space = find_space(file, file, avx2, calibrated=True)
    for (_, named), (_, unnamed) in zip(found.space.choices(), space.choices(), strict=True):
        assert named.name in given
        assert unnamed.name in made
        assert (unnamed.levels, unnamed.macs) == (named.levels, named.macs)
