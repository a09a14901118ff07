"""Tests of what single operators tie together."""

import numpy as np
import onnx_ir as ir
import pytest
from budgetc_passes.relations import relations_of


def ties(parse, line, out, *, reached=(), opset=17, **constants):
    """Pairs "x1-y2" for axis 1 of x tied to axis 2 of y, without identity-only noise."""
    kinds = {"f": "float", "i": "int64"}
    declared = "".join(f", {kinds[a.dtype.kind]}{list(a.shape)} {n}" for n, a in constants.items())
    model = ir.from_proto(
        parse(
            f"g (float[2,4,6,5] x{declared}) => ({out} y) {{ y = {line} }}",
            opset,
            **constants,
        )
    )
    (node,) = model.graph
    known = {(node.inputs[0], axis) for axis in reached}
    found = set()
    for relation in relations_of(node, known):
        names = []
        for (holder, axis), _ in relation.members:
            value = holder if isinstance(holder, ir.Value) else holder.node.inputs[holder.at]
            names.append(f"{value.name}{axis}")
        found.add("-".join(sorted(names)))
    return found


@pytest.mark.parametrize(
    ("line", "out", "wanted"),
    [
        ("Relu (x)", "float[2,4,6,5]", {"x0-y0", "x1-y1", "x2-y2", "x3-y3"}),
        (
            "Transpose <perm = [0,2,3,1]> (x)",
            "float[2,6,5,4]",
            {"x0-y0", "x2-y1", "x3-y2", "x1-y3"},
        ),
        ("MaxPool <kernel_shape = [2,2]> (x)", "float[2,4,5,4]", {"x1-y1"}),
        ("ReduceMean <axes = [2, 3], keepdims = 0> (x)", "float[2,4]", {"x0-y0", "x1-y1"}),
        ("ReduceMean <axes = [-1]> (x)", "float[2,4,6,1]", {"x0-y0", "x1-y1", "x2-y2"}),
        ("ReduceMax (x)", "float[1,1,1,1]", set()),
        ("DepthToSpace <blocksize = 2> (x)", "float[2,1,12,10]", set()),
        ("Flatten (x)", "float[2,120]", {"x0-y0"}),
    ],
)
def test_axes(parse, line, out, wanted):
    assert ties(parse, line, out) == wanted


def test_flatten_follows_the_axis_that_was_reached(parse):
    assert ties(parse, "Flatten (x)", "float[2,120]", reached=[1]) == {"x0-y0", "x1-y1"}
    assert ties(parse, "Flatten (x)", "float[2,120]", reached=[1, 2]) == {"x0-y0"}


@pytest.mark.parametrize(
    ("line", "out", "constants", "wanted"),
    [
        ("Pad (x, p)", "float[2,4,8,5]", {"p": np.array([0, 0, 1, 0, 0, 0, 1, 0])},
         {"x0-y0", "x1-y1", "x3-y3"}),
        ("Slice (x, p, q, r)", "float[2,4,3,5]",
         {"p": np.array([1]), "q": np.array([4]), "r": np.array([2])}, {"x0-y0", "x1-y1", "x3-y3"}),
        ("Reshape (x, p)", "float[2,4,30]", {"p": np.array([2, 4, -1])}, {"x0-y0", "x1-y1"}),
        ("Reshape (x, p)", "float[2,2,2,30]", {"p": np.array([2, 2, 2, -1])}, {"x0-y0"}),
        ("Mul (x, k)", "float[2,4,6,5]", {"k": np.ones((4, 1, 1), "f")},
         {"x0-y0", "k0-x1-y1", "x2-y2", "x3-y3"}),
        ("Conv (x, w, b)", "float[2,3,6,5]",
         {"w": np.ones((3, 4, 1, 1), "f"), "b": np.ones(3, "f")}, {"b0-w0-y1", "w1-x1"}),
        ("ConvTranspose (x, w)", "float[2,3,6,5]", {"w": np.ones((4, 3, 1, 1), "f")},
         {"w1-y1", "w0-x1"}),
        ("MatMul (x, w)", "float[2,4,6,3]", {"w": np.ones((5, 3), "f")},
         {"x0-y0", "x1-y1", "x2-y2", "w1-y3", "w0-x3"}),
        ("InstanceNormalization (x, k, k)", "float[2,4,6,5]", {"k": np.ones(4, "f")},
         {"k0-k0-x1-y1"}),
        ("Resize (x, , p)", "float[2,4,12,10]", {"p": np.array([1, 1, 2, 2], "f")}, {"x1-y1"}),
        ("Resize (x, , , p)", "float[2,4,12,10]", {"p": np.array([2, 4, 12, 10])}, set()),
    ],
)  # fmt: skip
def test_axes_with_constants(parse, *, line, out, constants, wanted):
    assert ties(parse, line, out, **constants) == wanted


def test_a_convolution_in_groups_that_do_not_divide_its_channels_ties_nothing(parse):
    """The ONNX checker takes it; whoever runs it does not."""
    weight = np.ones((3, 2, 1, 1), "f")
    assert ties(parse, "Conv <group = 2> (x, w)", "float[2,3,6,5]", w=weight) == set()
