"""Models by recipes: the same whether much is kept or nothing, and nothing is made twice where it is kept."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from budgetc.kitchen import Kitchen
from budgetc.model import Model, parse_model
from budgetc.optimise import optimise
from budgetc_specs.errors import SpecError
from budgetc_specs.recipe import parse_recipe

RECIPES = (
    "clean | fuse | clean | quantize",
    "clean | fuse",
    "clean | fuse | clean | quantize{calibration=mse}",
    "clean",
)


@pytest.fixture
def model() -> Model:
    text = """
        <ir_version: 8, opset_import: ["" : 17]>
        net (float[1,4,6,6] x) => (float[1,8,6,6] y) <float[8,4,1,1] w>
        { c = Conv(x, w)  y = Relu(c) }
    """
    proto = onnx.parser.parse_model(text)
    weight = np.random.default_rng(0).normal(size=(8, 4, 1, 1)).astype("f4")
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    return parse_model(proto.SerializeToString(), "net.onnx")


@pytest.fixture
def calibration(tmp_path: Path) -> str:
    np.savez(
        tmp_path / "data.npz", x=np.random.default_rng(1).normal(size=(8, 4, 6, 6)).astype("f4")
    )
    return str(tmp_path / "data.npz")


@pytest.mark.parametrize("kept", [0, 1, 8])
def test_a_recipe_makes_the_same_whatever_was_made_before(
    model: Model, calibration: str, avx2, kept: int
) -> None:
    kitchen = Kitchen([model], avx2, calibration, "net.onnx", kept=kept)
    for text in (*RECIPES, *RECIPES):
        alone = Kitchen([model], avx2, calibration, "net.onnx").cook(parse_recipe(text))
        assert kitchen.cook(parse_recipe(text)) == alone


def test_the_beginning_that_recipes_share_is_made_once(
    model: Model, calibration: str, avx2
) -> None:
    begun: list[str] = []
    for kept, again in ((8, ["quantize{calibration=mse}"]), (0, RECIPES[2].split(" | "))):
        kitchen = Kitchen([model], avx2, calibration, "net.onnx", kept=kept)
        kitchen.cook(parse_recipe(RECIPES[0]))
        begun.clear()
        kitchen.cook(parse_recipe(RECIPES[2]), lambda step: begun.append(str(step)))
        assert begun == again


def test_it_asks_for_calibration_data_where_a_pass_needs_them(model: Model, avx2) -> None:
    kitchen = Kitchen([model], avx2, None, "net.onnx")
    assert kitchen.cook(parse_recipe(RECIPES[1]))
    with pytest.raises(SpecError, match="the pass quantize needs calibration data"):
        kitchen.cook(parse_recipe(RECIPES[0]))


def test_data_that_no_pass_asks_for_are_not_read(model: Model, avx2) -> None:
    kitchen = Kitchen([model], avx2, "nowhere.npz", "net.onnx")
    assert kitchen.cook(parse_recipe(RECIPES[1]))


def test_a_child_that_optimises_leaves_what_the_kitchen_makes(
    model: Model, calibration: str, avx2, tmp_path: Path
) -> None:
    given, out = tmp_path / "model.onnx", tmp_path / "out.onnx"
    given.write_bytes(model.data)
    sheet = avx2.model_dump(mode="json")
    answer = optimise(str(given), "net.onnx", RECIPES[0], sheet, calibration, str(out))
    (made,), ledger = Kitchen([model], avx2, calibration, "net.onnx").cook(parse_recipe(RECIPES[0]))
    assert out.read_bytes() == made.data
    assert answer == {"ledger": ledger}
