"""Tests of folding Pad into window operators."""

import numpy as np
import onnx_ir as ir
import pytest
from budgetc_passes.fusion.pad import FoldPad, explicit_pads, never_negative
from hypothesis import given, settings
from hypothesis import strategies as st

PADS = np.array([0, 0, 1, 0, 0, 0, 2, 1], np.int64)


def padded(parse, line, side, *, before="p = Pad (x, pads)", opset=17, channels=2, **arrays):
    more = "".join(f", float[{','.join(map(str, a.shape))}] {n}" for n, a in arrays.items())
    return parse(
        f"""g (float[1,2,6,6] x, int64[8] pads{more}) => (float[1,{channels},{side}] y)
            {{ {before} {line} }}""",
        opset,
        pads=PADS,
        **arrays,
    )


@settings(deadline=None, max_examples=20)
@given(
    pads=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    own=st.sampled_from(["pads = [0,1,1,0]", 'auto_pad = "SAME_UPPER"', 'auto_pad = "SAME_LOWER"',
                         'auto_pad = "VALID"']),
    stride=st.integers(1, 2),
)  # fmt: skip
def test_convolution(apply, parse, same, *, pads, own, stride):
    top, left, bottom, right = pads
    model = parse(
        f"""g (float[1,2,6,6] x, int64[8] pads, float[2,2,3,3] w) => (float[1,2,h,v] y)
            {{ p = Pad (x, pads) y = Conv <{own}, strides = [{stride},{stride}]> (p, w) }}""",
        pads=np.array([0, 0, top, left, 0, 0, bottom, right], np.int64),
        w=np.random.default_rng(0).normal(size=(2, 2, 3, 3)).astype("f"),
    )
    done = apply(model, FoldPad())
    assert done.ops == ["Conv"]
    same(done, terms=18)


def test_average_pool_counts_the_padding(apply, parse, same):
    done = apply(padded(parse, "y = AveragePool <kernel_shape = [3,3]> (p)", "7,5"), FoldPad())
    assert done.ops == ["AveragePool"]
    same(done, terms=9)


def test_max_pool_of_what_is_never_negative(apply, parse, same):
    before = "r = Relu (x) p = Pad (r, pads)"
    model = padded(parse, "y = MaxPool <kernel_shape = [3,3]> (p)", "7,5", before=before)
    done = apply(model, FoldPad())
    assert done.ops == ["Relu", "MaxPool"]
    same(done)


def test_max_pool_of_the_lowest_number(apply, parse, same):
    model = padded(
        parse,
        "y = MaxPool <kernel_shape = [3,3]> (p)",
        "7,5",
        before="p = Pad (x, pads, low)",
        low=np.array(-np.inf, "f"),
    )
    done = apply(model, FoldPad())
    assert done.ops == ["MaxPool"]
    same(done)


def test_pads_as_attributes_of_old_opsets(apply, parse, same):
    model = parse(
        """g (float[1,2,6,6] x, float[2,2,3,3] w) => (float[1,2,7,7] y)
           { p = Pad <pads = [0,0,1,2,0,0,2,1]> (x) y = Conv (p, w) }""",
        9,
        w=np.ones((2, 2, 3, 3), "f"),
    )
    done = apply(model, FoldPad())
    assert done.ops == ["Conv"]
    same(done, terms=18)


@pytest.mark.parametrize(
    ("before", "line", "side", "reason"),
    [
        ('p = Pad <mode = "reflect"> (x, pads)', "y = AveragePool <kernel_shape = [3,3]> (p)",
         "7,5", "reflect mode"),
        ("p = Pad (x, pads)", "y = MaxPool <kernel_shape = [3,3]> (p)", "7,5", "below the fill"),
        ("p = Pad (x, pads)", "y = AveragePool <kernel_shape = [2,2]> (p)", "8,6", "padding only"),
        ("p = Pad (x, pads)", "y = AveragePool <kernel_shape = [4,4], pads = [1,1,1,1]> (p)", "8,6",
         "leaves its own padding out"),
        ("p = Pad (x, pads)", "y = AveragePool <kernel_shape = [3,3], ceil_mode = 1> (p)", "7,5",
         "rounds its output size up"),
        ("p = Pad (x, pads)", "a = AveragePool <kernel_shape = [3,3]> (p) s = ReduceSum (p) "
         "y = Add (a, s)", "7,5", "also read elsewhere"),
    ],
)  # fmt: skip
def test_refusals(apply, parse, *, before, line, side, reason):
    done = apply(padded(parse, line, side, before=before), FoldPad())
    assert not done.modified
    assert reason in done.refusals()[0]


@pytest.mark.parametrize(
    ("pads", "reason"),
    [([0, 1, 0, 0, 0, 0, 0, 0], "batch or the channels"), ([0, 0, -1, 0, 0, 0, 1, 0], "crops")],
)
def test_padded_channels_and_crops_are_refused(apply, parse, pads, reason):
    channels = 2 + pads[1]
    model = parse(
        f"""g (float[1,2,6,6] x, int64[8] pads, float[1,{channels},1,1] w) => (float[1,1,6,6] y)
            {{ p = Pad (x, pads) y = Conv (p, w) }}""",
        pads=np.array(pads, np.int64),
        w=np.ones((1, channels, 1, 1), "f"),
    )
    assert reason in apply(model, FoldPad()).refusals()[0]


def test_explicit_pads_and_signs(parse):
    model = ir.from_proto(
        parse(
            """g (float[1,2,5,5] x) => (float[1,2,3,3] y, float[1,2,3,3] z) {
               a = Abs (x) y = MaxPool <kernel_shape = [2,2], strides = [2,2],
               auto_pad = "SAME_LOWER"> (a) z = Neg (y) }"""
        )
    )
    _, pool, negative = model.graph
    assert explicit_pads(pool) == ([1, 1], [0, 0])
    assert never_negative(pool.outputs[0])
    assert not never_negative(negative.outputs[0])
