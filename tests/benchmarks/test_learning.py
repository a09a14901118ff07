"""The ladder's points have recipes that there are, means over seeds, and a chart with both strategies."""

import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import pytest
from budgetc.model import parse_model
from budgetc.registry import make_passes
from budgetc_specs.recipe import parse_recipe

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.learning import (
    CODES,
    STRATEGIES,
    TRAINING,
    Rung,
    main,
    picture,
    randomised,
    rungs,
    table,
)

SHAPES = {"w": (50, 1, 3, 3), "g": (50,), "b": (50,), "m": (50,), "v": (50,)}
NET = """
    <ir_version: 8, opset_import: ["" : 17]>
    net (float[1,1,4,4] x) => (float[1,50,2,2] y)
    <float[50,1,3,3] w, float[50] g, float[50] b, float[50] m, float[50] v>
    { c = Conv(x, w)  n = BatchNormalization(c, g, b, m, v)  y = Relu(n) }
"""


def row(rung: Rung, top1: float) -> dict[str, object]:
    fields = {name: getattr(rung, name) for name in Rung.__dataclass_fields__}
    size = round(40000 * rung.width**2 / (4 if rung.coded else 1))
    return {
        **fields,
        "recipe": rung.recipe,
        "weight_bytes": size,
        "top1": top1,
    }


@pytest.mark.parametrize("name", TRAINING)
def test_every_point_has_a_recipe_of_passes_that_there_are(name: str) -> None:
    points = rungs(name, 0)
    assert len(points) == len(set(points)) == (2 + 4 + 4) * 2
    for point in points:
        make_passes(parse_recipe(point.recipe))
    for stops in STRATEGIES.values():
        assert all(Rung(name, *stop) in points for _, stop in stops)


def test_points_that_share_a_training_share_the_beginning_of_their_recipe() -> None:
    for one, other in zip(*[iter(rungs("mnist5k_cnn", 0))] * 2, strict=True):
        assert other.recipe == f"{one.recipe} | {CODES}"


def test_what_has_learned_nothing_has_the_same_shape() -> None:
    random = np.random.default_rng(0)
    proto = onnx.parser.parse_model(NET)
    for name, shape in SHAPES.items():
        array = np.abs(random.normal(size=shape)).astype("f4")
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    model = parse_model(proto.SerializeToString(), "net.onnx")
    made = randomised(model, 0)
    arrays = {
        t.name: onnx.numpy_helper.to_array(t)
        for t in onnx.load_model_from_string(made.data).graph.initializer
    }
    assert {name: each.shape for name, each in arrays.items()} == SHAPES
    assert arrays["w"].std() == pytest.approx(np.sqrt(2 / 9), rel=0.2)
    for name, value in {"g": 1.0, "b": 0.0, "m": 0.0, "v": 1.0}.items():
        assert (arrays[name] == value).all()
    assert randomised(model, 0) == made
    assert randomised(model, 1) != made


def test_a_line_has_float_and_int8_with_the_spread_of_seeds() -> None:
    rows = [
        row(Rung("mnist5k_cnn", 0.5, True, True, coded, seed), top1)
        for coded, seed, top1 in [(False, 0, 0.97), (False, 1, 0.98), (True, 0, 0.96)]
    ]
    assert table(rows).splitlines()[2:] == [
        "| mnist5k_cnn x 0.5 | yes | yes | 10.0 kB | 0.975 ± 0.007 | 2.5 kB | 0.960 |"
    ]


def test_the_chart_has_all_points_and_both_strategies() -> None:
    rows = [row(rung, 0.9 + at / 1000) for at, rung in enumerate(rungs("mnist5k_cnn", 0))]
    drawn = ElementTree.fromstring(picture("mnist5k_cnn", rows))
    names = [element.tag.rpartition("}")[2] for element in drawn.iter()]
    assert names.count("title") == len(rows)
    assert names.count("polyline") == len(STRATEGIES)


def test_a_strategy_whose_points_are_not_all_there_is_not_drawn() -> None:
    rows = [row(Rung("mnist5k_cnn", 1.0, False, False, False), 0.98)]
    assert "polyline" not in picture("mnist5k_cnn", rows)


def test_training_data_are_asked_for(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        main(["mnist5k_cnn", "--out", str(tmp_path)])
    assert "name their folder by --models" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["resnet", "--out", str(tmp_path)])
    assert "no such model here: resnet" in capsys.readouterr().err
