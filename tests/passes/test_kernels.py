"""Tests of smaller kernels."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from budgetc_passes.architecture.kernels import ShrinkKernels
from budgetc_passes.contract import Evidence, PassError
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import compare, execute, parse_model, random_feeds


def network(weight, attributes, out, shape=(12, 12), channels=4):
    random = np.random.default_rng(0)
    ports = f"float[1,{channels},{','.join(map(str, shape))}] x) => (float[1,{out}] y"
    return parse_model(
        f"g ({ports}) {{ [a] y = Conv <{attributes}> (x, w, b) }}",
        w=weight.astype("f4"),
        b=random.normal(size=len(weight)).astype("f4"),
    )


def shrunk(model, evidence, **options):
    fresh = Evidence(evidence.capability, evidence.calibration)
    result = ShrinkKernels(**options).run(ir.from_proto(model), fresh)
    after = ir.to_proto(result.model)
    onnx.checker.check_model(after, full_check=True)
    return after, result.notes


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    long=st.integers(2, 7),
    short=st.integers(1, 6),
    stride=st.integers(1, 2),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 4]),
)
def test_taps_of_zero_around_the_middle_are_not_missed(
    evidence, seed, long, short, stride, dilation, groups
):
    random = np.random.default_rng(seed)
    short = min(short, long)
    before = (long - short + 1) // 2
    weight = np.zeros((4, 4 // groups, long, long))
    middle = (slice(before, before + short),) * 2
    weight[:, :, *middle] = random.normal(size=(4, 4 // groups, short, short))
    pad = (long - 1) * dilation
    attributes = f"group = {groups}, strides = {[stride] * 2}, dilations = {[dilation] * 2}, pads = {[pad] * 4}"
    model = network(weight, attributes, "4,p,q")
    after, notes = shrunk(model, evidence, kernel=short, method="crop")
    feeds = random_feeds(model)
    compare(execute(after, feeds)["y"], execute(model, feeds)["y"], relative=1e-6)
    (kernel,) = [i.dims for i in after.graph.initializer if i.name == "w"]
    assert list(kernel) == [4, 4 // groups, short, short]
    assert notes[0].kind == ("refused" if short == long else "did")


def test_padding_by_the_shape_becomes_padding_in_numbers(evidence):
    weight = np.zeros((2, 4, 5, 3))
    weight[:, :, 1:4] = 1
    model = network(weight, 'auto_pad = "SAME_UPPER", strides = [2,2]', "2,6,6")
    after, notes = shrunk(model, evidence, kernel=3, method="crop")
    feeds = random_feeds(model)
    compare(execute(after, feeds)["y"], execute(model, feeds)["y"], terms=50)
    assert notes[0].text == "made 3x3 of 5x3"


@pytest.mark.parametrize("groups", [1, 4])
def test_fitted_to_smooth_images_it_misses_less(evidence, groups):
    """What lies around a pixel is much like it, so that the middle can stand for the border."""
    random = np.random.default_rng(0)
    weight = random.normal(size=(4, 4 // groups, 5, 5))
    model = network(weight, f"group = {groups}, pads = [2,2,2,2]", "4,12,12")

    def smooth(count=48):
        drawn = np.random.default_rng(1).normal(size=(count, 4, 18, 18))
        windows = np.lib.stride_tricks.sliding_window_view(drawn, (7, 7), (2, 3))
        return [{"x": each[None].astype("f4")} for each in windows.mean(axis=(4, 5))]

    known = Evidence(evidence.capability, smooth)
    after, notes = shrunk(model, known)
    cropped, _ = shrunk(model, known, method="crop")
    wanted, got, crude = (
        np.concatenate([execute(each, s)["y"] for s in smooth()])
        for each in (model, after, cropped)
    )
    share = ((got - wanted) ** 2).sum() / (
        (wanted - wanted.mean(axis=(0, 2, 3), keepdims=True)) ** 2
    ).sum()
    assert ((got - wanted) ** 2).sum() < 0.6 * ((crude - wanted) ** 2).sum()
    said = float(notes[0].text.removeprefix("made 3x3 of 5x5; misses ").partition("%")[0]) / 100
    assert share == pytest.approx(said, rel=0.1)


@pytest.mark.parametrize(
    ("attributes", "out", "options", "reason"),
    [
        (
            "group = 1",
            "4,10,10",
            {"kernel": 1},
            "its padding of 0 and 0 is less than what would be cut off",
        ),
        ("pads = [1,1,1,1]", "4,12,12", {"kernel": 3}, "no axis of its kernel is longer than 3"),
        ("pads = [1,1,1,1]", "4,12,12", {"layers": "a=0"}, "its kernel is 0"),
    ],
)
def test_what_is_left(evidence, attributes, out, options, reason):
    model = network(np.ones((4, 4, 3, 3)), attributes, out)
    _, notes = shrunk(model, evidence, method="crop", **options)
    assert [note.text for note in notes] == [f"left as it is: {reason}"]


def test_a_layer_that_is_not_there(evidence):
    model = network(np.ones((4, 4, 3, 3)), "group = 1", "4,10,10")
    with pytest.raises(PassError, match="layers names 'b', which the model lacks"):
        shrunk(model, evidence, layers="b=1", method="crop")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel": -1}, "it is 1 or more"),
        ({"kernel": 0}, "or 0 where `layers` says"),
        ({"layers": "a"}, "not a name, = and a number"),
        ({"layers": "a=1.5"}, "the kernel 1.5; it is a whole number"),
        ({"method": "guess"}, '"fit" or "crop"'),
    ],
)
def test_options_out_of_bounds(options, message):
    with pytest.raises(ValueError, match=message):
        ShrinkKernels(**options)
