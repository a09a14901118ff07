"""Operators without a kernel of ours: TVM's code is right, safe, and a refusal says what helps."""

from itertools import count

import numpy as np
import pytest
from budgetc.lower.foreign import ForeignCompiler
from budgetc_specs.errors import ModelError


def test_what_networks_use(check_float, weights):
    library = check_float(
        """g (float[1,2,3,3] x, float[2,4,8] t, float[1,2,4,4] i, float[1,4,5,5] u) =>
            (float[1,2,6,6] a, float[1,2,5,4] b, float[2,4,8] c, float[1,2,4,4] d, float[1,3,10,10] e, float[1,4,5,5] f)
        <float[4] s = {1,1,2,2}, int64[4] z = {1,2,5,4}>
        { a = Resize<mode="nearest">(x, , s)
          b = Resize<mode="linear", coordinate_transformation_mode="align_corners">(x, , , z)
          c = LayerNormalization(t, g, h)  d = InstanceNormalization(i, k, l)
          e = ConvTranspose<strides=[2,2], pads=[1,1,1,1], output_padding=[1,1]>(u, w, n)
          f = LRN<size=3>(u) }""",
        terms=64,
        g=weights(8),
        h=weights(8, seed=1),
        k=weights(2),
        l=weights(2, seed=1),
        w=weights(4, 3, 3, 3),
        n=weights(3),
    )
    assert "foreign" in library.kernels


def test_an_operator_that_only_old_opsets_have(check_float):
    check_float(
        'g (float[1,2,3,3] x) => (float[1,2,6,6] y) <float[4] s = {1,1,2,2}> { y = Upsample<mode="nearest">(x, s) }',
        9,
    )


def test_an_input_that_opset_11_leaves_out_by_holding_nothing(check_float):
    check_float(
        """g (float[1,2,3,3] x) => (float[1,2,5,4] y) <float[0] r = {}, float[0] s = {}, int64[4] z = {1,2,5,4}>
        { y = Resize<mode="linear", coordinate_transformation_mode="pytorch_half_pixel">(x, r, s, z) }""",
        11,
    )


def test_integers_and_truth_values(check_float):
    check_float(
        """g (int64[3,4] x, int64[4] z, bool[3,4] m, float[3,4] f, uint8[3] u) =>
            (int64[3,4] a, float[3,4] b, bool[3,4] c, int64[3,4] d, bool[3,4] e, int32[3,4] h, bool[3,4] i,
             bool[3,4] j, float[3] k)
        { a = Add(x, z)  b = Cast<to=1>(x)  c = Not(m)  d = Where(m, x, z)  e = Equal(x, z)  h = Cast<to=6>(f)
          l = Less(x, z)  i = And(l, m)  j = Or(e, m)  k = Cast<to=1>(u) }"""
    )


def test_half_precision_inside(build_library, make_model):
    library = build_library(
        make_model(
            "g (float[3,4] x) => (float[3,4] y)"
            "{ h = Cast<to=10>(x)  a = Mul(h, h)  y = Cast<to=1>(a) }"
        )
    )
    x = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)
    half = x.astype(np.float16)
    np.testing.assert_array_equal(library.run({"x": x})["y"], (half * half).astype(np.float32))


def test_results_that_are_inputs_or_parts_of_a_tuple(check_float):
    check_float(
        "g (float[4,6] x, int64 n) => (float[2,6] a, float[2,6] b) { s = Sin(x)  a, b = Split(s) }",
        13,
    )
    check_float("g (int64[3] x) => (int64[3] y, int64[3] z) { y = Max(x)  z = Min(y) }", 13)


def test_a_kernel_of_several_calls_has_scratch_memory(check_float):
    library = check_float("g (float[2,3,8] x) => (float[2,3,8] y) { a = Relu(x)  y = Hardmax(a) }")
    assert library.kernels.count("foreign") >= 1


def test_gathering(check_float, weights):
    check_float(
        """g (float[3,4] x, int64[2] j, int64[3,4] k) => (float[3,2] a, float[2,6] b, float[6] c, float[3,4] d)
        <int64[2] i = {2,-1}, int64 one = {1}, int64 two = {2}>
        { a = Gather<axis=1>(x, i)  b = Gather(w, j)  c = Gather(w, one)  m = Mod(k, two)
          d = GatherElements<axis=1>(x, m) }""",
        w=weights(5, 6),
    )


def test_what_tvm_misreads_is_right_all_the_same(check_float):
    check_float(
        "g (int64[3] i) => (float[3,4] y) <int64 d = {4}, float[2] v = {0,1}> { y = OneHot(i, d, v) }"
    )
    check_float(
        """g (float[1,1,8,8] x) => (float[1,1,4,4] y) <float[4] s = {1,1,0.5,0.5}>
        { y = Resize<mode="linear", antialias=1>(x, , s) }""",
        18,
        terms=16,
    )
    check_float(
        "g (float[2,8] x) => (float[2,3] v, int64[2,3] i) <int64[1] k = {3}> { v, i = TopK(x, k) }"
    )


@pytest.mark.parametrize("index", [-(2**62), -6, -5, -1, 0, 4, 5, 2**62])
def test_an_index_out_of_bounds_reads_no_foreign_memory(build_library, make_model, weights, index):
    table = weights(5, 6)
    library = build_library(
        make_model("g (int64[1] i) => (float[1,6] y) { y = Gather(w, i) }", w=table)
    )
    found = library.run({"i": np.array([index])})["y"]
    nearest = min(max(index, -5), 4)
    np.testing.assert_array_equal(found[0], table[nearest])


@pytest.mark.parametrize(
    ("text", "opset", "words"),
    [
        (
            "g (float[3] x) => (float[3] y) { n = RandomNormalLike(x)  y = Add(x, n) }",
            17,
            ['RandomNormalLike node "n"', "random numbers"],
        ),
        (
            'g (uint8[64] x) => (uint8[4,4,3] y) { y = ImageDecoder<pixel_format="RGB">(x) }',
            20,
            ['ImageDecoder node "y"', "bytes to work in"],
        ),
    ],
    ids=["random", "heap"],
)
def test_what_cannot_be_compiled_is_refused_by_name(make_model, build_library, text, opset, words):
    with pytest.raises(ModelError) as error:
        build_library(make_model(text, opset))
    assert all(word in error.value.message for word in words), error.value.message
    assert "\n" not in error.value.message
    assert error.value.repair


def test_two_nodes_share_no_names(make_graph, host):
    graph = make_graph("g (float[3] x) => (float[3] y, float[3] z) { y = Tan(x)  z = Atan(x) }")
    compiler = ForeignCompiler(graph, host, count(1))
    names = [call.name for op in graph.operations for call in compiler.compile(op)]
    assert len(set(names)) == len(names) >= 2


def test_one_value_as_several_inputs(check_float):
    library = check_float(
        """g (float[2,3,3] x) => (float[2,3,3] y, float[2,3,3] z)
        { y = Einsum<equation="bij,bjk->bik">(x, x)  z = Mod<fmod=1>(x, x) }""",
        terms=3,
    )
    assert library.kernels == ["foreign"] * 2
