"""Tests of coupling groups."""

import numpy as np
import onnx_ir as ir
import pytest
from budgetc_passes.coupling import coupling_groups


@pytest.fixture
def groups(parse):
    """Groups of a graph from x [1,4,6,6] to y, whose weights are declared as NAME[shape]."""

    def find(lines, out, **shapes):
        declared = "".join(f", float{list(shape)} {name}" for name, shape in shapes.items())
        arrays = {name: np.ones(shape, "f") for name, shape in shapes.items()}
        model = parse(f"g (float[1,4,6,6] x{declared}) => ({out} y) {{ {lines} }}", **arrays)
        return coupling_groups(ir.from_proto(model))

    return find


def widths(found):
    return {group.name: (len(group.bundles), group.reason) for group in found}


def extents(group):
    """How many positions of each tensor go with the first bundle."""
    return {
        holder.name if isinstance(holder, ir.Value) else holder.node.inputs[holder.at].name: indices
        for (holder, _), indices in group.bundles[1].items()
    }


TAIL = "p = GlobalAveragePool (last) f = Flatten (p) y = Gemm (f, d)"


def test_residual(groups):
    found = groups(
        f"a = Conv (x, w) b = Conv (a, v) s = Add (a, b) last = Relu (s) {TAIL}",
        "float[1,3]",
        w=(8, 4, 1, 1),
        v=(8, 8, 1, 1),
        d=(8, 3),
    )
    assert widths(found) == {
        "Conv(a)": (8, None),
        "Gemm(y)": (3, "y is an output of the model"),
    }
    # The second convolution loses filters and, as it reads the same channels, their inputs.
    axes = [axis for (holder, axis) in found[0].bundles[0] if getattr(holder, "name", "") == "v"]
    assert sorted(axes) == [0, 1]


def test_depthwise_with_two_filters_a_channel(groups):
    found = groups(
        f"a = Conv (x, w) last = Conv <group = 8> (a, v) {TAIL}",
        "float[1,3]",
        w=(8, 4, 1, 1),
        v=(16, 1, 3, 3),
        d=(16, 3),
    )
    assert widths(found)["Conv(a)"] == (8, None)
    assert extents(found[0])["v"] == (2, 3)
    assert extents(found[0])["d"] == (2, 3)


def test_groups_of_a_grouped_convolution_stay_equally_wide(groups):
    found = groups(
        f"a = Conv (x, w) last = Conv <group = 2> (a, v) {TAIL}",
        "float[1,3]",
        w=(8, 4, 1, 1),
        v=(6, 4, 3, 3),
        d=(6, 3),
    )
    assert widths(found)["Conv(a)"] == (4, None)
    assert widths(found)["Conv(last)"] == (3, None)
    # The second channel of either group goes with that of the other; weights know one group's alone.
    assert extents(found[0])["a"] == (1, 5)
    assert extents(found[0])["v"] == (1,)
    assert extents(found[1])["v"] == (1, 4)
    assert extents(found[1])["d"] == (1, 4)


def test_concat_ties_with_an_offset(groups):
    found = groups(
        f"a = Conv (x, w) b = Conv (x, v) last = Concat <axis = 1> (a, b) {TAIL}",
        "float[1,3]",
        w=(5, 4, 1, 1),
        v=(3, 4, 1, 1),
        d=(8, 3),
    )
    assert widths(found) == {
        "Conv(a)": (5, None),
        "Conv(b)": (3, None),
        "Gemm(y)": (3, "y is an output of the model"),
    }
    assert extents(found[1])["d"] == (6,)


@pytest.mark.parametrize(
    ("flatten", "rows"),
    [
        ("f = Flatten (a)", tuple(range(36, 72))),
        ("t = Transpose <perm = [0,2,3,1]> (a) f = Flatten (t)", tuple(range(1, 180, 5))),
    ],
)
def test_flatten_ties_a_channel_to_its_columns(groups, flatten, rows):
    lines = f"a = Conv (x, w) {flatten} y = Gemm (f, d)"
    found = groups(lines, "float[1,3]", w=(5, 4, 1, 1), d=(180, 3))
    assert widths(found)["Conv(a)"] == (5, None)
    assert extents(found[0])["d"] == rows


def test_normalisation_and_slopes_follow(groups):
    lines = f"a = Conv (x, w) n = BatchNormalization (a, k, k, k, k) last = PRelu (n, s) {TAIL}"
    found = groups(lines, "float[1,3]", w=(8, 4, 1, 1), k=(8,), s=(8, 1, 1), d=(8, 3))
    assert widths(found)["Conv(a)"] == (8, None)
    assert extents(found[0]).keys() == {"a", "w", "n", "k", "s", "last", "p", "f", "d"}


def test_equal_vectors_that_are_shared_do_not_couple_layers(groups):
    lines = f"a = Conv (x, w, k) last = Conv (a, v, k) {TAIL}"
    found = groups(lines, "float[1,3]", w=(8, 4, 1, 1), v=(8, 8, 1, 1), k=(8,), d=(8, 3))
    assert {"Conv(a)", "Conv(last)"} <= widths(found).keys()


def test_shared_filters_do_couple_layers(groups):
    lines = f"a = Conv (x, w) b = Conv (x, w) last = Add (a, b) {TAIL}"
    found = groups(lines, "float[1,3]", w=(8, 4, 1, 1), d=(8, 3))
    assert widths(found)["Conv(a)"] == (8, None)


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ("y = Conv (x, w)", "y is an output of the model"),
        ("a = Conv (x, w) y = Add (a, x)", "output of the model"),
        ("a = Conv (x, w) y = DepthToSpace <blocksize = 2> (a)", "DepthToSpace(y) (DepthToSpace)"),
        ("a = Conv (x, w) y = Softmax <axis = 1> (a)", "Softmax"),
        ("a = Conv (x, w) y = ReduceMean <axes = [1]> (a)", "ReduceMean"),
    ],
)
def test_reasons_why_channels_stay(groups, lines, reason):
    (found,) = groups(lines, "float[1,p,q,r]", w=(4, 4, 1, 1))
    assert reason in found.reason


def test_an_input_that_is_added_keeps_the_channels(groups):
    lines = f"a = Conv (x, w) last = Add (a, x) {TAIL}"
    found = groups(lines, "float[1,3]", w=(4, 4, 1, 1), d=(4, 3))
    assert widths(found)["Conv(a)"][1] == "x is an input of the model"


def test_a_gate_from_squeezed_channels_is_coupled(groups):
    lines = f"""a = Conv (x, w) q = GlobalAveragePool (a) e = Conv (q, u) r = Relu (e)
                g1 = Conv (r, v) h = Sigmoid (g1) last = Mul (a, h) {TAIL}"""
    found = groups(lines, "float[1,3]", w=(8, 4, 1, 1), u=(2, 8, 1, 1), v=(8, 2, 1, 1), d=(8, 3))
    assert widths(found)["Conv(a)"] == (8, None)
    assert widths(found)["Conv(e)"] == (2, None)
