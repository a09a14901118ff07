"""Tests of constant folding."""

import numpy as np
import pytest
from budgetc_passes.cleanup.constants import FoldConstants
from hypothesis import given, settings
from hypothesis import strategies as st


def test_arithmetic_on_shapes_becomes_a_constant(apply, parse, same):
    model = parse(
        """g (float[2,3,4] x) => (float[2,12] y) {
           s = Shape (x) i = Constant <value_ints = [0]> () n = Gather (s, i)
           m = Constant <value_ints = [-1]> () t = Concat <axis = 0> (n, m) y = Reshape (x, t) }"""
    )
    done = apply(model, FoldConstants())
    assert done.ops == ["Reshape"]
    assert done.constant(done.node("Reshape").input[1]).tolist() == [2, -1]
    same(done)


def test_unknown_shapes_are_inferred_from_what_was_folded(apply, parse, same):
    model = parse(
        """g (float[2,3,4] x, int64[2] k, int64[2] l) => (float[6,4] y)
           { t = Mul (k, l) r = Reshape (x, t) y = Relu (r) }""",
        k=np.array([2, 4]),
        l=np.array([3, 1]),
    )
    del model.graph.value_info[:]
    done = apply(model, FoldConstants())
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in done.after.graph.value_info
    }
    assert shapes["r"] == [6, 4]
    same(done)


@pytest.mark.parametrize(
    ("attribute", "array"),
    [
        ("value_float = 1.5", np.array(1.5, "f")),
        ("value_floats = [1.5, 2.0]", np.array([1.5, 2.0], "f")),
        ("value = float[2] {1.5, 2.0}", np.array([1.5, 2.0], "f")),
    ],
)
def test_constant_nodes_are_lifted(apply, parse, same, attribute, array):
    model = parse(
        f"g (float[2] x) => (float[2] y) {{ k = Constant <{attribute}> () y = Mul (x, k) }}"
    )
    done = apply(model, FoldConstants())
    assert done.ops == ["Mul"]
    np.testing.assert_array_equal(done.constant("k"), array)
    same(done)


def test_a_weight_is_transposed_now(apply, parse, same):
    model = parse(
        """g (float[3,20] x, float[40,20] w) => (float[3,40] y)
           { t = Transpose <perm = [1, 0]> (w) y = MatMul (x, t) }""",
        w=np.random.default_rng(0).normal(size=(40, 20)).astype("f"),
    )
    done = apply(model, FoldConstants())
    assert done.ops == ["MatMul"]
    assert [item.dims for item in done.after.graph.initializer] == [[20, 40]]
    same(done, terms=20)


def test_a_weight_that_is_also_read_as_it_is_would_double(apply, parse):
    model = parse(
        """g (float[3,20] x, float[20,20] w) => (float[3,20] y) { a = MatMul (x, w)
           t = Transpose <perm = [1, 0]> (w) y = MatMul (a, t) }""",
        w=np.ones((20, 20), "f"),
    )
    done = apply(model, FoldConstants())
    assert not done.modified
    assert "its 1600 bytes would make the model grow by 1600" in done.refusals()[0]


def test_what_blows_up_stays_and_what_leads_to_it_is_folded(apply, parse, same):
    model = parse(
        """g (float[100,100] x, int64[2] a, int64[2] b) => (float[100,100] y) {
           s = Add (a, b) z = ConstantOfShape <value = float[1] {2.0}> (s) y = Add (x, z) }""",
        a=np.array([60, 70]),
        b=np.array([40, 30]),
    )
    done = apply(model, FoldConstants())
    assert done.ops == ["ConstantOfShape", "Add"]
    assert "grow" in done.refusals()[0]
    same(done)
    assert apply(model, FoldConstants(slack=40_000)).ops == ["Add"]


def test_what_blows_up_and_shrinks_again_is_folded(apply, parse, same):
    model = parse(
        """g (float[2] x, int64[1] s) => (float[2] y) {
           z = ConstantOfShape <value = float[1] {2.0}> (s)
           k = ReduceSum <keepdims = 0> (z) y = Add (x, k) }""",
        s=np.array([1000]),
    )
    done = apply(model, FoldConstants())
    assert done.ops == ["Add"]
    same(done)


def test_quantised_weights_stay_quantised(apply, parse):
    model = parse(
        """g (float[1,4] x, int8[4,4] w, float s, int8 z, int32[4] c) => (float[1,4] y) {
           d = DequantizeLinear (w, s, z) b = DequantizeLinear (c, s) y = Gemm (x, d, b) }""",
        w=np.ones((4, 4), np.int8),
        s=np.array(0.5, "f"),
        z=np.array(0, np.int8),
        c=np.ones(4, np.int32),
    )
    assert not apply(model, FoldConstants()).modified


def test_random_numbers_and_outputs_stay(apply, parse):
    model = parse(
        """g (float[2] x, float[2] k) => (float[2] y, float[2] z)
           { r = RandomNormal <shape = [2]> () y = Add (x, r) z = Neg (k) }""",
        k=np.ones(2, "f"),
    )
    done = apply(model, FoldConstants())
    assert not done.modified
    assert "output" in done.refusals()[0]


def test_a_negative_slack_is_an_error():
    with pytest.raises(ValueError, match="0 or more"):
        FoldConstants(slack=-1)


@settings(deadline=None, max_examples=25)
@given(
    ops=st.lists(st.sampled_from(["Add", "Mul", "Sub", "Max"]), min_size=2, max_size=8),
    seed=st.integers(0, 99),
)
def test_any_graph_keeps_its_function_and_size(apply, parse, same, ops, seed):
    rng = np.random.default_rng(seed)
    names, lines = ["x", "k", "l"], []
    for at, op in enumerate(ops):
        a, b = rng.choice(names, 2)
        lines.append(f"v{at} = {op} ({a}, {b})")
        names.append(f"v{at}")
    model = parse(
        f"""g (float[50] x, float[50] k, float[50] l) => (float[50] y)
            {{ {" ".join(lines)} y = Add (x, v{len(ops) - 1}) }}""",
        k=rng.normal(size=50).astype("f"),
        l=rng.normal(size=50).astype("f"),
    )
    done = apply(model, FoldConstants(slack=0))
    same(done, terms=50, seed=seed)
    size = sum(np.prod(item.dims) for item in done.after.graph.initializer)
    assert size <= 100
