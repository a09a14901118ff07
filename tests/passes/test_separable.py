"""Tests of splitting convolutions into a depthwise and a pointwise one."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from budgetc_passes.architecture.separable import Separable
from budgetc_passes.cleanup.clean import Clean
from budgetc_passes.contract import Evidence, PassError
from budgetc_passes.fusion.fuse import Fuse
from budgetc_passes.offer import Part
from budgetc_passes.quantization.static import Quantize

from .conftest import compare, execute, parse_model, random_feeds

EXAMPLE = Path(__file__).parents[2] / "specs" / "examples" / "mnist"
CHANNELS, FILTERS = 9, 12


def network(attributes="group = 1", taps=(3, 3), out=(4, 4), rank=1, seed=0):
    """A convolution whose filters have this rank for each channel, and one behind it."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(FILTERS, CHANNELS, rank))
    parts = np.einsum(
        "ocr,crt->oct", mixed, random.normal(size=(CHANNELS, rank, int(np.prod(taps))))
    )
    size = ",".join(map(str, (6, 6)[: len(taps)]))
    after = ",".join(map(str, out))
    ones = ",".join("1" for _ in taps)
    return parse_model(
        f"""g (float[1,{CHANNELS},{size}] x) => (float[1,4,{after}] y)
            {{ [a] a = Conv <{attributes}> (x, w, b) r = Relu (a)
               [last] y = Conv <kernel_shape = [{ones}]> (r, v) }}""",
        w=parts.reshape(FILTERS, CHANNELS, *taps).astype("f4"),
        b=random.normal(size=FILTERS).astype("f4"),
        v=random.normal(size=(4, FILTERS, *[1] * len(taps))).astype("f4"),
    )


def samples(count=24):
    random = np.random.default_rng(1)
    return [{"x": random.normal(size=(1, CHANNELS, 6, 6)).astype("f4")} for _ in range(count)]


@pytest.fixture
def calibrated(evidence):
    return Evidence(evidence.capability, samples)


def split(model, evidence, **options):
    """Of one model; what was measured of another is not known to it."""
    fresh = Evidence(evidence.capability, evidence.calibration)
    return split_again(model, fresh, **options)


def split_again(model, evidence, **options):
    result = Separable(**options).run(ir.from_proto(model), evidence)
    after = ir.to_proto(result.model)
    onnx.checker.check_model(after, full_check=True)
    return after, result.notes


@pytest.mark.parametrize(
    ("attributes", "taps", "out"),
    [
        ("group = 1", (3, 3), (4, 4)),
        ("pads = [1,1,1,1], strides = [2,2]", (3, 3), (3, 3)),
        ("pads = [0,0,1,1], strides = [2,1]", (3, 3), (3, 5)),
        ("dilations = [2,2]", (3, 3), (2, 2)),
        ('auto_pad = "SAME_UPPER", strides = [2,2]', (3, 3), (3, 3)),
        ("pads = [2,0,2,0]", (5, 1), (6, 6)),
        ("pads = [1,1]", (3,), (6,)),
    ],
)
def test_filters_of_low_rank_are_split_without_a_loss(evidence, attributes, taps, out):
    model = network(attributes, taps, out)
    after, _ = split(model, evidence, method="svd")
    assert [node.op_type for node in after.graph.node] == ["Conv", "Conv", "Relu", "Conv"]
    feeds = random_feeds(model)
    compare(execute(after, feeds)["y"], execute(model, feeds)["y"], relative=1e-5)


def test_two_depthwise_filters_for_each_channel(evidence, calibrated):
    model = network(rank=2)
    feeds = random_feeds(model)
    wanted = execute(model, feeds)["y"]
    two, _ = split(model, evidence, method="svd", multiplier=2)
    compare(execute(two, feeds)["y"], wanted, relative=1e-5)
    fitted, notes = split(model, calibrated, multiplier=2)
    compare(execute(fitted, feeds)["y"], wanted, relative=1e-2)
    texts = {note.node: note.text for note in notes}
    assert texts["a"] == (
        "made a depthwise and a pointwise convolution, which miss 0.0% of its variance on the samples"
    )


def test_fitted_to_samples_it_misses_less(evidence, calibrated):
    """Channels that are nearly alike make up for each other, which weights alone do not tell."""
    random = np.random.default_rng(2)
    mixing = np.eye(CHANNELS) + 0.3 * random.normal(size=(CHANNELS, CHANNELS))

    def alike():
        return [{"x": np.einsum("dc,ncxy->ndxy", mixing, s["x"]).astype("f4")} for s in samples(64)]

    model = network(rank=9)
    known = Evidence(evidence.capability, alike)
    by_samples, _ = split(model, known)
    by_weights, _ = split(model, known, method="svd")
    shown = {"x": np.concatenate([each["x"] for each in alike()[40:]])[:1]}
    wanted = execute(model, shown)["y"]

    def error(other):
        return float(((execute(other, shown)["y"] - wanted) ** 2).sum())

    assert error(by_samples) < 0.9 * error(by_weights)


def test_layers_make_up_for_those_before(apply, real, evidence):
    """The digits network with a sixth of its weights, without any training."""
    with np.load(EXAMPLE / "calibration.npz") as data:
        images = data["input"]
    with np.load(EXAMPLE / "evaluation.npz") as data:
        shown, labels = data["input"][:300], data["label"][:300]
    known = Evidence(evidence.capability, lambda: ({"input": each[None]} for each in images))
    fused = apply(real("mnist5k_cnn"), Clean(), Fuse()).after

    def right(model):
        found = [execute(model, {"input": each[None]}) for each in shown]
        answers = np.array([next(iter(each.values())).argmax() for each in found])
        return float((answers == labels).mean())

    after, notes = split(fused, known)
    weights = [sum(int(np.prod(i.dims)) for i in m.graph.initializer) for m in (after, fused)]
    assert weights[0] < weights[1] / 6
    assert right(after) > right(fused) - 0.05
    assert notes[0].text == (
        "left as it is: of 1 channels too little would be left; it can be named"
    )
    assert right(split(fused, known, method="svd")[0]) < 0.9


def test_several_shapes_have_one_set_of_weights(calibrated):
    small = network()
    large = onnx.ModelProto.FromString(small.SerializeToString())
    for port in (*large.graph.input, *large.graph.output):
        for at in (2, 3):
            port.type.tensor_type.shape.dim[at].dim_value += 4
    del large.graph.value_info[:]
    large = onnx.shape_inference.infer_shapes(large, strict_mode=True)
    first, second = (split_again(each, calibrated)[0] for each in (small, large))
    assert list(first.graph.initializer) == list(second.graph.initializer)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"layers": "a=0"}, "its multiplier is 0"),
        (
            {"layers": "a=9"},
            "it has 972 weights, and split by multiplier 9 it would have 1701, with scales for 81 channels more",
        ),
        ({}, None),
    ],
)
def test_what_is_left(evidence, options, reason):
    after, notes = split(network(), evidence, method="svd", **options)
    texts = {note.node: note.text for note in notes}
    assert (
        texts["last"]
        == "left as it is: it has 48 weights, and split by multiplier 1 it would have 60, "
        "with scales for 12 channels more"
    )
    if reason:
        assert texts["a"] == f"left as it is: {reason}"
        assert len(after.graph.node) == 3


def test_depthwise_layers_and_computed_weights_are_left(apply, parse):
    model = parse(
        """g (float[1,9,6,6] x, float[9,9,3,3] k) => (float[1,9,4,4] y, float[1,9,4,4] z)
           { [a] y = Conv <group = 9> (x, w) [b] z = Conv (x, k) }""",
        w=np.ones((9, 1, 3, 3), "f"),
    )
    done = apply(model, Separable(method="svd"))
    assert done.refusals() == [
        "left as it is: its channels are in 9 groups already",
        "left as it is: its weights are not constant floats",
    ]


def test_a_layer_that_is_not_there(apply):
    with pytest.raises(PassError, match="layers names 'b', which the model lacks"):
        apply(network(), Separable(layers="b=1", method="svd"))


def test_what_is_offered(evidence):
    offer = Separable.offer(ir.from_proto(network()), evidence.capability)
    assert offer.parts == (Part("a", (0, 2, 1), ("a",), 972 + 12),)
    assert offer.options == {"method": ("fit",)}


@pytest.mark.parametrize(
    ("levels", "text"),
    [
        ({"a": 0, "b": 0}, None),
        ({"a": 1, "b": 0, "c;d": 2}, 'separable{layers="a=1;c\\\\;d=2",method=fit,multiplier=0}'),
    ],
)
def test_levels_become_a_step(levels, text):
    step = Separable.step(levels, {"method": "fit"})
    assert (str(step) if step else None) == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"multiplier": -1}, "it is 1 or more"),
        ({"multiplier": 0}, "or 0 where `layers` says"),
        ({"layers": "a"}, "not a name, = and a number"),
        ({"layers": "a=1.5"}, "the multiplier 1.5; it is a whole number"),
        ({"method": "guess"}, '"fit" or "svd"'),
    ],
)
def test_options_out_of_bounds(options, message):
    with pytest.raises(ValueError, match=message):
        Separable(**options)


@pytest.mark.parametrize("filters", [2, 3, 4])
def test_in_codes_it_is_smaller_too_or_left(apply, evidence, filters):
    """A channel in between brings a scale along, which few filters do not make up for."""
    random = np.random.default_rng(0)
    model = parse_model(
        "g (float[1,9,6,6] x) => (float[1,n,4,4] y) { [a] y = Conv (x, w) }",
        w=random.normal(size=(filters, CHANNELS, 3, 3)).astype("f4"),
    )
    known = Evidence(evidence.capability, samples)
    sizes = []
    for passes in ((), (Separable(method="svd", layers="a=1"),)):
        current = ir.from_proto(model)
        for each in (*passes, Quantize()):
            current = each.run(current, known).model
        sizes.append(sum(value.const_value.nbytes for value in current.graph.initializers.values()))
    assert sizes[1] <= sizes[0]
    assert (sizes[1] < sizes[0]) == (filters > 2)
