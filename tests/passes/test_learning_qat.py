"""The pass that trains through codes."""

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from budgetc_passes.learning.qat import QuantisationAwareTraining
from budgetc_passes.quantization.static import Quantize

pytest.importorskip("torch")

TEXT = """g (float[1,4,6,6] x, float[16,4,3,3] w, float[16] b, float[16,5] v, float[5] c)
    => (float[1,5] y) {
        h = Conv <pads = [1, 1, 1, 1]> (x, w, b)
        r = Relu (h)
        p = GlobalAveragePool (r)
        f = Flatten (p)
        y = Gemm (f, v, c)
    }"""
SHAPES = {"w": (16, 4, 3, 3), "b": (16,), "v": (16, 5), "c": (5,)}


@pytest.fixture
def model(parse):
    """Filters of very different size, so that one step for all of them is a coarse one."""
    random = np.random.default_rng(0)
    weights = {name: random.normal(size=shape).astype("f4") for name, shape in SHAPES.items()}
    weights["w"] *= (10.0 ** random.uniform(-1.5, 0.5, 16)).astype("f4").reshape(-1, 1, 1, 1)
    weights["v"] /= np.abs(weights["w"]).mean((1, 2, 3))[:, None]
    return parse(TEXT, **weights)


@pytest.fixture
def lessons(teach, model):
    x = np.random.default_rng(1).normal(size=(200, 1, 4, 6, 6)).astype("f4")
    return teach(model, x)


@pytest.fixture
def coded(model, evidence, lessons):
    calibrated = replace(evidence, calibration=lessons.samples, results={})
    result = Quantize(per="tensor").run(ir.from_proto(model), calibrated)
    return ir.to_proto(result.model)


def taught(model, evidence, lessons, **options):
    evidence = replace(evidence, lessons=lessons, results={})
    options = {"epochs": 10, "batch": 16, "rate": 5e-3, **options}
    result = QuantisationAwareTraining(**options).run(ir.from_proto(model), evidence)
    return ir.to_proto(result.model), result


def far(ort, one, other, lessons):
    found = [ort(one, s)["y"] - ort(other, s)["y"] for s in lessons.samples()]
    return float(np.square(found).mean())


@pytest.mark.parametrize("scales", ["fixed", "learned"])
def test_what_rounding_took_comes_back(coded, model, evidence, lessons, ort, scales):
    """Held against the float model in onnxruntime, as it computes the graph that is handed over."""
    made, result = taught(coded, evidence, lessons, scales=scales)
    assert result.modified
    onnx.checker.check_model(made, full_check=True)
    assert far(ort, made, model, lessons) < 0.7 * far(ort, coded, model, lessons)


def test_codes_keep_type_and_width(coded, evidence, lessons):
    made, _ = taught(coded, evidence, lessons, epochs=2)
    before, after = (
        {i.name: onnx.numpy_helper.to_array(i) for i in each.graph.initializer}
        for each in (coded, made)
    )
    assert list(before) == list(after)
    changed = []
    for name, array in before.items():
        assert (after[name].dtype, after[name].shape) == (array.dtype, array.shape)
        if not np.array_equal(array, after[name]):
            changed.append(name)
        if array.dtype == np.int8:
            assert np.abs(after[name].astype(int)).max() <= np.abs(array.astype(int)).max()
    assert changed
    assert all(before[name].dtype in (np.int8, np.int32) for name in changed)


def test_a_float_model_is_left_alone(model, evidence, lessons):
    _, result = taught(model, evidence, lessons)
    assert not result.modified
    assert "`quantize` comes first" in result.notes[0].text


def test_options_have_bounds():
    with pytest.raises(ValueError, match='qat: scales is "free"'):
        QuantisationAwareTraining(scales="free")
    with pytest.raises(ValueError, match="qat: epochs is 0"):
        QuantisationAwareTraining(epochs=0)
