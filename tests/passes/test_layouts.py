"""Tests of how single operators follow permutations: Transpose-first equals Transpose-last."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from budgetc_passes.cleanup.layouts import follower, moves_no_data
from budgetc_passes.graph import add_node, graph_of

Q = (0, 3, 1, 2)
ARRAYS = {
    "axes": np.array([1, -2], np.int64),
    "pads": np.array([1, 2, 0, 1], np.int64),
    "scale": np.array([0.5, 1, 2, 3], "f"),
    "zeros": np.zeros(4, np.int8),
    "single": np.array(0.5, "f"),
    "none": np.array(0, np.uint8),
    "target": np.array([0, -1], np.int64),
    "starts": np.array([1, 0], np.int64),
    "ends": np.array([3, 2], np.int64),
    "k": np.array([1, 2, 3, 4], "f"),
}


def following(parse, line, out, opset=17, shape="2,3,5,4"):
    """The model of the line, and the same with its first operator in the layout Q; else None."""
    used = {name: a for name, a in ARRAYS.items() if name in line.replace("_axes", "")}
    kinds = {"float32": "float", "int64": "int64", "int8": "int8", "uint8": "uint8"}
    declared = "".join(
        f", {kinds[str(a.dtype)]}{list(a.shape) if a.ndim else ''} {n}" for n, a in used.items()
    )
    text = f"g (float[{shape}] x{declared}) => ({out} y) {{ {line} }}"
    before = parse(text, opset, **used)
    model = ir.from_proto(before)
    node = model.graph[0]
    found = follower(node, 4, opset)
    if found is None or not found.accepts(Q):
        return before, None
    x = node.inputs[0]
    moved = add_node(
        node,
        "Transpose",
        [x],
        shape=[x.shape[axis] for axis in Q],
        dtype=x.dtype,
        stem="moved",
        attributes={"perm": Q},
    )
    found.adapt(node, Q)
    node.replace_input_with(0, moved)
    if found.moves_output:
        y = node.outputs[0]
        back = tuple(Q.index(axis) for axis in range(4))
        uses = list(y.uses())
        y.shape = ir.Shape([y.shape[axis] for axis in Q])
        anchor = uses[0].node if uses else None
        assert anchor is not None
        restored = add_node(
            anchor, "Transpose", [y], shape=None, dtype=y.dtype, stem="b", attributes={"perm": back}
        )
        for use in uses:
            use.node.replace_input_with(use.idx, restored)
    assert graph_of(node) is model.graph
    return before, ir.to_proto(model)


@pytest.mark.parametrize(
    ("line", "out", "opset"),
    [
        ("a = Squeeze <axes = [1, -2]> (x) y = Neg (a)", "float[2,4]", 11),
        ("a = Squeeze (x) y = Neg (a)", "float[2,4]", 17),
        ("a = Pad <pads = [0,1,0,2,0,0,1,0]> (x) y = Neg (a)", "float[p,q,r,s]", 9),
        ("a = Pad (x, pads, , axes) y = Neg (a)", "float[p,q,r,s]", 18),
        ("a = Slice <starts = [1], ends = [3], axes = [2]> (x) y = Neg (a)", "float[p,q,r,s]", 9),
        ("a = Slice <starts = [1, 0], ends = [2, 2]> (x) y = Neg (a)", "float[p,q,r,s]", 9),
        ("a = Slice (x, starts, ends) y = Neg (a)", "float[p,q,r,s]", 17),
        ("a = ReduceMax (x, axes) y = Neg (a)", "float[p,q,r,s]", 18),
        ("a = ReduceSum <noop_with_empty_axes = 1, keepdims = 0> (x) y = Neg (a)",
         "float[p,q,r,s]", 13),
        ("a = QuantizeLinear <axis = 3> (x, scale, zeros) y = Cast <to = 1> (a)",
         "float[p,q,r,s]", 13),
        ("a = QuantizeLinear (x, single, none) y = Cast <to = 1> (a)", "float[p,q,r,s]", 10),
        ("a = LogSoftmax (x) y = Neg (a)", "float[p,q,r,s]", 13),
        ("a = PRelu (x, k) y = Neg (a)", "float[p,q,r,s]", 9),
    ],
)  # fmt: skip
def test_operators_follow(parse, ort, *, line, out, opset):
    shape = "2,1,1,4" if "Squeeze" in line else "2,3,5,4"
    before, after = following(parse, line, out, opset, shape)
    onnx.checker.check_model(after)
    feeds = {"x": np.random.default_rng(0).normal(size=[int(d) for d in shape.split(",")])}
    feeds["x"] = feeds["x"].astype("f")
    np.testing.assert_allclose(ort(after, feeds)["y"], ort(before, feeds)["y"], rtol=1e-6)


@pytest.mark.parametrize(
    ("line", "out", "opset"),
    [
        ("a = Softmax (x) y = Neg (a)", "float[p,q,r,s]", 11),  # flattens before opset 13
        ("a = MaxPool <kernel_shape = [2,2]> (x) y = Neg (a)", "float[p,q,r,s]", 17),
        ("a = Flatten (x) y = Neg (a)", "float[2,60]", 17),
        ("a = ReduceMean <axes = [1], keepdims = 0> (x) y = Neg (a)", "float[2,5,4]", 17),
    ],
)
def test_operators_that_mix_axes_do_not(parse, line, out, opset):
    assert following(parse, line, out, opset)[1] is None


def test_batch_normalization_follows_where_its_channels_stay(parse):
    text = """g (float[2,3,5,4] x, float[3] k) => (float[2,3,5,4] y)
              { y = BatchNormalization (x, k, k, k, k) }"""
    node = ir.from_proto(parse(text, k=np.ones(3, "f"))).graph[0]
    found = follower(node, 4, 17)
    assert not found.accepts(Q)
    assert found.accepts((0, 1, 3, 2))


def test_moves_no_data():
    assert moves_no_data((1, 6, 5, 1), Q)
    assert moves_no_data((4, 1, 1, 3), Q)
    assert not moves_no_data((1, 6, 5, 2), Q)
