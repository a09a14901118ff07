"""Tests of folding constant additions and multiplications."""

import numpy as np
import pytest
from budgetc_passes.fusion.bias import FoldBias
from hypothesis import given, settings
from hypothesis import strategies as st

KINDS = {"Add": "(c, k)", "Add first": "(k, c)", "Sub": "(c, k)", "Sub first": "(k, c)",
         "Mul": "(c, k)", "Mul first": "(k, c)", "Div": "(c, k)"}  # fmt: skip


def conv(parse, line, shape, *, bias=True, seed=0):
    rng = np.random.default_rng(seed)
    declared = ", float[4] b" if bias else ""
    arrays = {"b": rng.normal(size=4).astype("f")} if bias else {}
    sizes = ",".join(map(str, shape))
    return parse(
        f"""g (float[1,3,5,5] x, float[4,3,3,3] w, float[{sizes}] k{declared})
            => (float[1,4,3,3] y) {{ c = Conv (x, w{", b" if bias else ""}) {line} }}""",
        w=rng.normal(size=(4, 3, 3, 3)).astype("f"),
        k=(rng.uniform(0.5, 2, size=shape) * rng.choice([-1, 1], size=shape)).astype("f"),
        **arrays,
    )


@settings(deadline=None, max_examples=30)
@given(
    kind=st.sampled_from(list(KINDS)),
    shape=st.sampled_from([(4, 1, 1), (1, 4, 1, 1), (1,), (1, 1, 1, 1)]),
    bias=st.booleans(),
    seed=st.integers(0, 99),
)
def test_convolutions_take_one_number_a_channel(apply, parse, same, *, kind, shape, bias, seed):
    line = f"y = {kind.split()[0]} {KINDS[kind]}"
    done = apply(conv(parse, line, shape, bias=bias, seed=seed), FoldBias())
    assert done.ops == ["Conv"]
    assert len(done.node("Conv").input) == 3 or (not bias and kind.split()[0] in ("Mul", "Div"))
    same(done, terms=40, seed=seed)


@pytest.mark.parametrize(
    ("line", "shape", "reason"),
    [
        ("y = Add (c, k)", (1, 1, 3, 1), "is not one number per output channel"),
        ("y = Div (k, c)", (4, 1, 1), "divides by the layer's output"),
        ("r = Relu (c) s = Add (c, k) y = Add (r, s)", (4, 1, 1), "c is also read elsewhere"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(apply, parse, line, shape, reason):
    done = apply(conv(parse, line, shape), FoldBias())
    assert not done.modified
    assert reason in done.refusals()[0]


def test_a_chain_is_folded_in_one_run(apply, parse, same):
    line = "s = Mul (c, k) t = Add (s, k) y = Sub (t, k)"
    done = apply(conv(parse, line, (4, 1, 1)), FoldBias())
    assert done.ops == ["Conv"]
    same(done, terms=40)


def product(parse, line, rows="3", shape=(4,), seed=0):
    rng = np.random.default_rng(seed)
    sizes = ",".join(map(str, shape))
    return parse(
        f"""g (float[{rows},5] x, float[5,4] w, float[{sizes}] k) => (float[{rows},4] y)
            {{ c = MatMul (x, w) {line} }}""",
        w=rng.normal(size=(5, 4)).astype("f"),
        k=rng.normal(size=shape).astype("f"),
    )


@pytest.mark.parametrize("shape", [(4,), (1, 4), ()])
def test_matmul_and_add_become_gemm(apply, parse, same, shape):
    done = apply(product(parse, "y = Add (k, c)", shape=shape), FoldBias())
    assert done.ops == ["Gemm"]
    assert done.constant(done.node("Gemm").input[2]).shape == (4,)
    same(done, terms=6)


def test_matmul_of_more_axes_takes_a_factor_but_no_bias(apply, parse, same):
    done = apply(product(parse, "s = Mul (c, k) y = Add (s, k)", rows="2,3"), FoldBias())
    assert done.ops == ["MatMul", "Add"]
    assert "not a matrix" in done.refusals()[0]
    same(done, terms=6)


def test_a_constant_that_widens_the_output_is_refused(apply, parse):
    model = parse(
        """g (float[1,3,5,5] x, float[1,3,1,1] w, float[4,1,1] k) => (float[1,4,5,5] y)
           { c = Conv (x, w) y = Add (c, k) }""",
        w=np.ones((1, 3, 1, 1), "f"),
        k=np.ones((4, 1, 1), "f"),
    )
    assert "to another shape" in apply(model, FoldBias()).refusals()[0]
