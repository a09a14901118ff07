"""The pass that trains a model to answer as its teacher does."""

from dataclasses import replace

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from budgetc_passes.contract import PassError
from budgetc_passes.learning.distill import Distill
from budgetc_passes.pruning.channels import PruneChannels

pytest.importorskip("torch")

TEXT = """g (float[1,1,6,6] x, float[12,1,3,3] w, float[12] b, float[12,3] v, float[3] c)
    => (float[1,3] y) {
        h = Conv <pads = [1, 1, 1, 1]> (x, w, b)
        r = Relu (h)
        p = GlobalAveragePool (r)
        f = Flatten (p)
        y = Gemm (f, v, c)
    }"""
SHAPES = {"w": (12, 1, 3, 3), "b": (12,), "v": (12, 3), "c": (3,)}


@pytest.fixture
def model(parse):
    random = np.random.default_rng(0)
    weights = {name: random.normal(size=shape).astype("f4") for name, shape in SHAPES.items()}
    return parse(TEXT, **weights)


@pytest.fixture
def lessons(teach, model, ort):
    x = np.random.default_rng(1).normal(size=(160, 1, 1, 6, 6)).astype("f4")
    labels = np.array([ort(model, {"x": each})["y"].argmax() for each in x])
    return teach(model, x, labels)


@pytest.fixture
def pruned(apply, model):
    return apply(model, PruneChannels(ratio=0.5, align=1)).after


def error(ort, one, other, lessons):
    """The share of answers that differ, and the mean square."""
    found = []
    for sample in lessons.samples():
        a, b = ort(one, sample)["y"], ort(other, sample)["y"]
        found.append([a.argmax() != b.argmax(), np.square(a - b).mean()])
    return np.mean(found, axis=0)


def taught(model, evidence, lessons, **options):
    evidence = replace(evidence, lessons=lessons, results={})
    result = Distill(**{"epochs": 15, "batch": 16, "rate": 1e-2, **options}).run(
        ir.from_proto(model), evidence
    )
    return ir.to_proto(result.model), result


@pytest.mark.parametrize("labelled", [True, False])
def test_a_pruned_model_learns_from_what_it_was(pruned, model, evidence, lessons, ort, labelled):
    lessons = lessons if labelled else replace(lessons, labels=None)
    made, result = taught(pruned, evidence, lessons)
    assert result.modified
    wrong, far = error(ort, made, model, lessons)
    before_wrong, before_far = error(ort, pruned, model, lessons)
    assert far < 0.5 * before_far or labelled
    assert wrong < before_wrong
    (note,) = result.notes
    assert "144 inferences, 16 held back" in note.text


def test_only_initializers_differ(pruned, evidence, lessons):
    made, _ = taught(pruned, evidence, lessons, epochs=1)
    for each in (made, pruned):
        for item in each.graph.initializer:
            item.raw_data = b""
            del item.float_data[:]
    before = ir.to_proto(ir.from_proto(pruned))
    assert made.SerializeToString() == before.SerializeToString()


def test_a_new_normalisation_learns_each_of_its_statistics(parse, teach, evidence, ort):
    text = """g (float[1,3,8] x, float[3] one, float[3] zero, float[3] two) => (float[1,3,8] y)
        { y = BatchNormalization (x, SCALE, zero, zero, one) }"""
    new = {"one": np.ones(3, "f4"), "zero": np.zeros(3, "f4")}
    other = {**new, "two": np.array([3, -2, 0.5], "f4")}
    teacher = parse(text.replace("SCALE", "two"), **other)
    x = np.random.default_rng(1).normal(1, 2, (160, 1, 3, 8)).astype("f4")
    model = parse(text.replace("SCALE", "one").replace(", float[3] two", ""), **new)
    made, _ = taught(model, evidence, teach(teacher, x), epochs=30, rate=3e-2)
    (node,) = made.graph.node
    assert len(set(node.input)) == 5
    far, near = (
        np.mean(
            [np.square(ort(each, {"x": s})["y"] - ort(teacher, {"x": s})["y"]).mean() for s in x]
        )
        for each in (model, made)
    )
    assert near < 0.2 * far


def test_it_is_the_same_again(pruned, evidence, lessons):
    one, _ = taught(pruned, evidence, lessons, epochs=2)
    again, _ = taught(pruned, evidence, lessons, epochs=2)
    assert one.SerializeToString() == again.SerializeToString()


def test_a_further_shape_gets_the_weights_of_the_first(pruned, evidence, lessons):
    shared = replace(evidence, lessons=lessons, results={})
    first, second = (
        ir.to_proto(Distill(epochs=1).run(ir.from_proto(pruned), shared).model) for _ in range(2)
    )
    assert first.SerializeToString() == second.SerializeToString()
    assert list(shared.results) == ["learned"]


def test_zeros_stay_zeros(pruned, evidence, lessons):
    model = onnx.ModelProto()
    model.CopyFrom(pruned)
    (weight,) = (item for item in model.graph.initializer if item.name == "w")
    array = onnx.numpy_helper.to_array(weight).copy()
    array[:, :, 0] = 0
    weight.CopyFrom(onnx.numpy_helper.from_array(array, "w"))
    made, _ = taught(model, evidence, lessons, epochs=2)
    (after,) = (i for i in made.graph.initializer if i.name == "w")
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(after) == 0, array == 0)


def test_what_cannot_be_better_stays(model, evidence, lessons):
    made, result = taught(model, evidence, lessons, epochs=1)
    assert not result.modified
    assert "was not improved: left as it was" in result.notes[0].text
    assert made.SerializeToString() == ir.to_proto(ir.from_proto(model)).SerializeToString()


def test_it_says_what_the_samples_are(pruned, evidence, lessons):
    careful = replace(lessons, caution="learned from the calibration data")
    _, result = taught(pruned, evidence, careful, epochs=1)
    assert result.notes[0].text == "learned from the calibration data"


def test_labels_that_fit_nothing_are_named(pruned, evidence, lessons):
    other = replace(lessons, labels=lessons.labels + 5)
    _, result = taught(pruned, evidence, other, epochs=1)
    assert "labels are no classes of an output: not learned from" in result.notes[-1].text


def test_too_few_samples_are_refused(pruned, evidence, lessons):
    few = replace(lessons, samples=lambda: iter([{"x": np.zeros((1, 1, 6, 6), "f4")}] * 3))
    with pytest.raises(PassError, match="3 inferences are too few to learn from"):
        taught(pruned, evidence, few)


def test_a_quantised_model_is_left_alone(parse, evidence, lessons):
    text = """g (float[1,4] x, float s, uint8 z) => (float[1,4] y) {
        q = QuantizeLinear (x, s, z)  y = DequantizeLinear (q, s, z) }"""
    model = parse(text, s=np.float32(0.1), z=np.uint8(3))
    _, result = taught(model, evidence, lessons)
    assert not result.modified
    assert "`qat` trains" in result.notes[0].text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"epochs": 0}, "epochs is 0"),
        ({"rate": 0.0}, "rate is 0.0"),
        ({"temperature": 0.5}, "temperature is 0.5"),
        ({"hard": 2.0}, "hard is 2.0"),
        ({"loss": "best"}, 'loss is "best"'),
        ({"batch": 0}, "batch is 0"),
    ],
)
def test_options_have_bounds(options, words):
    with pytest.raises(ValueError, match=f"distill: {words}"):
        Distill(**options)
