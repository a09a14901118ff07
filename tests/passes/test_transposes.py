"""Tests of cancelling Transposes."""

import numpy as np
import pytest
from budgetc_passes.cleanup.clean import Clean
from budgetc_passes.cleanup.layout_cut import powers
from budgetc_passes.cleanup.transposes import CancelTransposes
from budgetc_passes.fusion.fuse import Fuse
from hypothesis import given, settings
from hypothesis import strategies as st

IN, OUT = "Transpose <perm = [0,3,1,2]>", "Transpose <perm = [0,2,3,1]>"
CONV = "Conv <pads = [1,1,1,1]>"


def channels_last(parse, lines, out="float[1,6,5,4]", opset=17, **constants):
    """A graph from x [1,6,5,4] to y; conv weights w [4,4,3,3] and v [1,1,1,4] are at hand."""
    rng = np.random.default_rng(0)
    arrays = {
        "w": rng.normal(size=(4, 4, 3, 3)).astype("f"),
        "v": rng.normal(size=(1, 1, 1, 4)).astype("f"),
        "k": rng.normal(size=4).astype("f"),
        "one": np.array([1], np.int64),
        "two": np.array([2], np.int64),
        "many": np.array([9], np.int64),
        "pads": np.array([0, 1, 2, 0, 0, 0, 1, 0], np.int64),
        "area": np.array([1, 2], np.int64),
        "rows": np.array([1, -1], np.int64),
        "d": rng.normal(size=(120, 3)).astype("f"),
        "e": rng.normal(size=(3, 120)).astype("f"),
    } | constants
    used = {name: a for name, a in arrays.items() if f" {name}" in lines.replace("(", " ")}
    kinds = {"f": "float", "i": "int64"}
    declared = "".join(f", {kinds[a.dtype.kind]}{list(a.shape)} {n}" for n, a in used.items())
    return parse(f"g (float[1,6,5,4] x{declared}) => ({out} y) {{ {lines} }}", opset, **used)


def between(middle):
    """Two convolutions with Transposes around each, and something channels-last in between."""
    return f"""a = {IN} (x) b = {CONV} (a, w) c = {OUT} (b) {middle}
               e1 = {IN} (m) f = {CONV} (e1, w) y = {OUT} (f)"""


@pytest.mark.parametrize(
    ("middle", "side"),
    [
        ("m = Relu (c)", "6,5"),
        ("r = Sigmoid (c) m = Mul (c, r)", "6,5"),
        ("m = Add (c, v)", "6,5"),
        ("m = Mul (k, c)", "6,5"),
        ("m = PRelu (c, k)", "6,5"),
        ("m = Pad (c, pads)", "7,8"),
        ("m = Slice (c, one, many, one)", "5,5"),
        ("m = Slice (c, one, many)", "0,0"),
        ("n = Neg (c) m = Concat <axis = 1> (c, n)", "12,5"),
        ("n = ReduceMean <axes = [1, 2]> (c) s = Sigmoid (n) m = Mul (c, s)", "6,5"),
        ("m = Softmax (c)", "6,5"),
        ("m = Softmax <axis = 3> (c)", "6,5"),
        ("m = ReduceSum (c, area)", "1,1"),
        ("p, q = Split <axis = 2, num_outputs = 2> (c) m = Concat <axis = 2> (q, p)", "6,5"),
    ],
)
def test_following_operators_take_the_layout_of_the_convolutions(apply, parse, same, middle, side):
    if side == "0,0":  # slices the batch by default: take the second axis instead
        middle, side = "z = Slice (c, one, many, two) m = Identity (z)", "6,4"
    opset = 18 if "num_outputs" in middle else 17
    model = channels_last(parse, between(middle), f"float[1,{side},4]", opset)
    done = apply(model, CancelTransposes())
    last = "Reshape" if side == "1,1" else "Transpose"
    assert [done.ops[0], done.ops[-1]] == ["Transpose", last]
    assert done.ops.count("Transpose") == (2 if last == "Transpose" else 1)
    same(done, terms=36 * 8, relative=1e-5)


def test_a_residual_from_the_input_shares_its_transpose(apply, parse, same):
    lines = f"a = {IN} (x) b = {CONV} (a, w) c = {OUT} (b) m = Add (c, x) n = {IN} (m) f = {CONV} (n, w) y = {OUT} (f)"
    done = apply(channels_last(parse, lines), CancelTransposes())
    assert done.ops == ["Transpose", "Conv", "Add", "Conv", "Transpose"]
    same(done, relative=1e-5)


def test_a_reader_that_wants_the_old_layout_gets_it_by_the_cheapest_way(apply, parse, same):
    # Only the mean of each channel is wanted channels-last, so the mean is what is moved.
    lines = f"""a = {IN} (x) b = {CONV} (a, w) c = {OUT} (b)
                y = ReduceMean <axes = [1, 2], keepdims = 1> (c)"""
    done = apply(channels_last(parse, lines, "float[1,1,1,4]"), CancelTransposes())
    assert done.ops == ["Transpose", "Conv", "ReduceMean", "Reshape"]
    same(done, relative=1e-5)


def test_reduced_axes_leave_nothing_to_move(apply, parse, same):
    lines = f"""a = {IN} (x) b = {CONV} (a, w) c = {OUT} (b)
                y = ReduceMean <axes = [1, 2], keepdims = 0> (c)"""
    done = apply(channels_last(parse, lines, "float[1,4]"), CancelTransposes())
    assert done.ops == ["Transpose", "Conv", "ReduceMean"]
    same(done, relative=1e-5)


@pytest.mark.parametrize("flatten", ["Flatten (c)", "Reshape (c, rows)"])
@pytest.mark.parametrize("product", ["MatMul (g1, d)", "Gemm (g1, d)", "Gemm <transB = 1> (g1, e)"])
def test_rows_of_a_matrix_follow_a_flattened_tensor(apply, parse, same, flatten, product):
    lines = f"a = {IN} (x) b = {CONV} (a, w) c = {OUT} (b) g1 = {flatten} y = {product}"
    done = apply(channels_last(parse, lines, "float[1,3]"), CancelTransposes())
    assert done.ops.count("Transpose") == 1
    same(done, terms=1000, relative=1e-5)


def test_a_flattened_output_keeps_its_order(apply, parse, same):
    lines = f"a = {IN} (x) b = {CONV} (a, w) c = {OUT} (b) y = Flatten (c)"
    done = apply(channels_last(parse, lines, "float[1,120]"), CancelTransposes())
    assert not done.modified


def test_a_reshape_that_cannot_follow_does_not_hold_up_the_rest(apply, parse, same):
    lines = f"""a = {IN} (x) b = {CONV} (a, w) c = {OUT} (b) r = Relu (c) d1 = {IN} (r)
                f = {CONV} (d1, w) g1 = {OUT} (f) s = Add (g1, r) y = Reshape (s, rows)"""
    done = apply(channels_last(parse, lines, "float[1,120]"), CancelTransposes())
    assert done.ops == ["Transpose", "Conv", "Relu", "Conv", "Add", "Transpose", "Reshape"]
    same(done, relative=1e-5)


@pytest.mark.parametrize(
    ("lines", "ops"),
    [
        (f"a = {IN} (x) b = {OUT} (a) y = Relu (b)", ["Relu"]),
        (f"a = {IN} (x) b = Transpose <perm = [0,1,3,2]> (a) y = Relu (b)", ["Transpose", "Relu"]),
        (f"a = {IN} (x) b = {OUT} (a) c = {IN} (a) y = Concat <axis = 3> (b, x)", ["Concat"]),
    ],
)
def test_adjacent_transposes(apply, parse, same, lines, ops):
    out = "float[1,4,5,6]" if "0,1,3,2" in lines else "float[1,6,5,4]"
    out = "float[1,6,5,8]" if "Concat" in lines else out
    done = apply(channels_last(parse, lines, out), CancelTransposes())
    assert done.ops == ops
    same(done)


def test_a_transpose_of_unit_axes_is_a_reshape(apply, parse, same):
    model = parse(f"g (float[1,6,5,1] x) => (float[1,1,6,5] y) {{ r = Relu (x) y = {IN} (r) }}")
    done = apply(model, CancelTransposes())
    assert done.ops == ["Relu", "Reshape"]
    same(done)


def test_outputs_keep_their_names_when_layouts_move(apply, parse, same):
    model = parse(
        f"""g (float[1,6,5,4] x, float[4,4,3,3] w) => (float[1,6,5,4] y, float[1,6,5,4] z,
              float[1,4,6,5] n) {{ a = {IN} (x) b = {CONV} (a, w) c = {OUT} (b) y = Relu (c)
              z = Neg (y) d = {IN} (z) n = Relu (d) }}""",
        w=np.random.default_rng(0).normal(size=(4, 4, 3, 3)).astype("f"),
    )
    done = apply(model, CancelTransposes())
    assert [item.name for item in done.after.graph.output] == ["y", "z", "n"]
    same(done, relative=1e-5)


def test_a_tensor_read_in_a_branch_is_refused(apply, parse, same):
    model = parse(
        f"""g (float[1,6,5,4] x, bool c) => (float[1,6,5,4] y) {{ a = {IN} (x) b = Relu (a)
              d = {OUT} (b)
              y = If (c) <then_branch = t () => (float[1,6,5,4] p) {{ p = Neg (d) }},
                          else_branch = e () => (float[1,6,5,4] q) {{ q = Abs (d) }}> }}"""
    )
    done = apply(model, CancelTransposes())
    assert "branch" in done.refusals()[0]
    same(done)


def test_powers_of_a_permutation():
    assert powers((0, 3, 1, 2)) == ((0, 1, 2, 3), (0, 3, 1, 2), (0, 2, 3, 1))
    assert powers((1, 0)) == ((0, 1), (1, 0))


STEPS = {
    "relu": "Relu ({0})",
    "add": "Add ({0}, {1})",
    "gate": "Mul ({0}, {1})",
    "in": "Transpose <perm = [0,3,1,2]> ({0})",
    "out": "Transpose <perm = [0,2,3,1]> ({0})",
    "max": "MaxPool <kernel_shape = [1,1]> ({0})",
    "mean": "ReduceMean <axes = [1], keepdims = 1> ({0})",
}


@settings(deadline=None, max_examples=60)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(list(STEPS)), st.integers(0, 9), st.integers(0, 9)),
        min_size=2,
        max_size=12,
    )
)
def test_any_graph_keeps_its_function_and_moves_no_more(apply, parse, same, steps):
    # A cube, so that every layout broadcasts against every other.
    lines, names = [], ["x"]
    for at, (step, a, b) in enumerate(steps):
        lines.append(f"v{at} = {STEPS[step].format(names[a % len(names)], names[b % len(names)])}")
        names.append(f"v{at}")
    model = parse(
        f"g (float[1,3,3,3] x) => (float[1,p,q,r] v{len(steps) - 1}, float[1,s,t,u] v0) "
        f"{{ {' '.join(lines)} }}"
    )
    done = apply(model, CancelTransposes())
    same(done, terms=27, relative=1e-5)
    before = [node.op_type for node in model.graph.node].count("Transpose")
    if before == 0:
        assert not done.modified
    assert not apply(done.after, CancelTransposes()).modified


@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("mlperf_tiny_resnet8_cifar10", 1),
        ("mlperf_tiny_mobilenet_vww", 1),
        ("mlperf_tiny_dscnn_kws", 0),  # one channel: the Transpose of the input is a Reshape
        ("mtcnn_rnet", 1),
    ],
)
def test_channels_last_exports_keep_transposes_at_the_input_only(apply, real, same, name, left):
    done = apply(real(name), Clean(), Fuse())
    assert done.ops.count("Transpose") == left
    assert done.ops.index("Transpose" if left else "Reshape") == 0
    same(done, relative=1e-5)
