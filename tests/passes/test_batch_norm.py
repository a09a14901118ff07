"""Tests of folding BatchNormalization."""

import numpy as np
import pytest
from budgetc_passes.contract import PassError
from budgetc_passes.fusion.batch_norm import FoldBatchNorm
from hypothesis import given, settings
from hypothesis import strategies as st

BN = "BatchNormalization <epsilon = 0.001>"


def statistics(channels, seed=0):
    rng = np.random.default_rng(seed)
    names = ("gamma", "beta", "mean", "var")
    arrays = {name: rng.normal(size=channels).astype("f") for name in names}
    arrays["var"] = np.abs(arrays["var"]) + np.float32(0.1)
    return arrays


@settings(deadline=None, max_examples=25)
@given(
    channels=st.sampled_from([4, 6, 12]),
    group=st.sampled_from([1, 2]),
    bias=st.booleans(),
    transpose=st.booleans(),
    opset=st.sampled_from([9, 13, 17]),
    seed=st.integers(0, 99),
)
def test_convolutions_keep_the_function(
    apply, parse, same, *, channels, group, bias, transpose, opset, seed
):
    rng = np.random.default_rng(seed)
    shape = (4, channels // group, 3, 3) if transpose else (channels, 4 // group, 3, 3)
    op = "ConvTranspose" if transpose else "Conv"
    arrays = statistics(channels, seed) | {"w": rng.normal(size=shape).astype("f")}
    declared = f"float[{','.join(map(str, shape))}] w"
    if bias:
        arrays["b"] = rng.normal(size=channels).astype("f")
        declared += f", float[{channels}] b"
    vectors = ", ".join(f"float[{channels}] {n}" for n in ("gamma", "beta", "mean", "var"))
    side = 7 if transpose else 3
    model = parse(
        f"""g (float[2,4,5,5] x, {declared}, {vectors}) => (float[2,{channels},{side},{side}] y) {{
            c = {op} <group = {group}> (x, w{", b" if bias else ""})
            y = {BN} (c, gamma, beta, mean, var)
        }}""",
        opset,
        **arrays,
    )
    done = apply(model, FoldBatchNorm())
    assert done.ops == [op]
    assert done.node(op).output[0] == "y"
    same(done, terms=36, seed=seed)


def dense(parse, nodes, **more):
    return parse(
        f"""g (float[3,5] x, float[5,4] w, float[4] c, float[4] gamma, float[4] beta,
              float[4] mean, float[4] var) => (float[3,4] y) {{ {nodes}
              y = {BN} (p, gamma, beta, mean, var) }}""",
        **statistics(4),
        w=np.random.default_rng(1).normal(size=(5, 4)).astype("f"),
        c=np.arange(4, dtype="f"),
        **more,
    )


@pytest.mark.parametrize(
    "nodes",
    [
        "p = Gemm <alpha = 0.5, beta = 2.0> (x, w, c)",
        "p = MatMul (x, w)",
        "q = Transpose <perm = [1, 0]> (w) p = Gemm <transB = 1> (x, w, c)",
    ],
)
def test_matrix_products_take_it(apply, parse, same, nodes):
    nodes = nodes.replace("q = Transpose <perm = [1, 0]> (w) ", "").replace("<transB = 1> ", "")
    done = apply(dense(parse, nodes), FoldBatchNorm())
    assert done.ops == ["Gemm"]
    same(done, terms=8)


def test_transposed_gemm_takes_it(apply, parse, same):
    model = parse(
        f"""g (float[3,5] x, float[4,5] w, float[4] gamma, float[4] beta, float[4] mean,
              float[4] var) => (float[3,4] y) {{ p = Gemm <transB = 1> (x, w)
              y = {BN} (p, gamma, beta, mean, var) }}""",
        **statistics(4),
        w=np.random.default_rng(1).normal(size=(4, 5)).astype("f"),
    )
    done = apply(model, FoldBatchNorm())
    assert done.ops == ["Gemm"]
    same(done, terms=8)


def test_a_convolution_read_elsewhere_is_refused_and_the_rest_becomes_mul_and_add(
    apply, parse, same
):
    model = parse(
        f"""g (float[1,4,5,5] x, float[4,4,1,1] w, float[4] gamma, float[4] beta, float[4] mean,
              float[4] var) => (float[1,4,5,5] y, float[1,4,5,5] c) {{ c = Conv (x, w)
              y = {BN} (c, gamma, beta, mean, var) }}""",
        **statistics(4),
        w=np.random.default_rng(1).normal(size=(4, 4, 1, 1)).astype("f"),
    )
    done = apply(model, FoldBatchNorm())
    assert done.ops == ["Conv", "Mul", "Add"]
    assert done.refusals() == ["not folded: c is also read elsewhere"]
    same(done, terms=8)


def test_before_a_convolution_it_is_not_folded(apply, parse, same):
    model = parse(
        f"""g (float[1,4,5,5] x, float[4,4,3,3] w, float[4] gamma, float[4] beta, float[4] mean,
              float[4] var) => (float[1,4,5,5] y) {{ n = {BN} (x, gamma, beta, mean, var)
              y = Conv <pads = [1,1,1,1]> (n, w) }}""",
        **statistics(4),
        w=np.random.default_rng(1).normal(size=(4, 4, 3, 3)).astype("f"),
    )
    done = apply(model, FoldBatchNorm())
    assert done.ops == ["Mul", "Add", "Conv"]
    same(done, terms=36)


def test_weights_shared_by_two_convolutions_are_scaled_for_one(apply, parse, same):
    model = parse(
        f"""g (float[1,4,5,5] x, float[4,4,1,1] w, float[4] gamma, float[4] beta, float[4] mean,
              float[4] var) => (float[1,4,5,5] y, float[1,4,5,5] z) {{ c = Conv (x, w)
              y = {BN} (c, gamma, beta, mean, var)
              z = Conv (x, w) }}""",
        **statistics(4),
        w=np.random.default_rng(1).normal(size=(4, 4, 1, 1)).astype("f"),
    )
    done = apply(model, FoldBatchNorm())
    assert done.ops == ["Conv", "Conv"]
    same(done, terms=8)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"var": np.array([1, 1, 1, -1], "f")}, "variance plus epsilon is not positive"),
        ({"gamma": np.array([1, 1, 1, np.inf], "f")}, "do not make a finite scale"),
    ],
)
def test_statistics_that_make_no_scale_are_refused(apply, parse, change, reason):
    model = parse(
        f"""g (float[1,4,5,5] x, float[4] gamma, float[4] beta, float[4] mean, float[4] var)
            => (float[1,4,5,5] y) {{ y = {BN} (x, gamma, beta, mean, var) }}""",
        **(statistics(4) | change),
    )
    done = apply(model, FoldBatchNorm())
    assert not done.modified
    assert reason in done.refusals()[0]


@pytest.mark.parametrize(
    ("line", "inputs", "reason"),
    [
        (BN.replace(">", ", training_mode = 1>") + " (x, k, k, k, k)", "", "in training mode"),
        (BN + " (x, k, k, m, k)", ", float[4] m", "are not all constant"),
    ],
)
def test_what_is_not_inference_with_constants_is_refused(apply, parse, line, inputs, reason):
    outputs = "y, rm, rv" if "training" in line else "y"
    model = parse(
        f"""g (float[1,4,5,5] x, float[4] k{inputs}) => (float[1,4,5,5] y)
            {{ {outputs} = {line} }}""",
        k=np.ones(4, "f"),
    )
    done = apply(model, FoldBatchNorm())
    assert not done.modified
    assert reason in done.refusals()[0]


def test_an_old_opset_is_an_error_that_says_how_to_convert(apply, parse):
    model = parse("g (float[1] x) => (float[1] y) { y = Relu (x) }", 8)
    with pytest.raises(PassError, match=r"opset 8 .*version_converter"):
        apply(model, FoldBatchNorm())
