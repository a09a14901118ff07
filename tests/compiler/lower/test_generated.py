"""The long tail: C that is generated for one node, run in the library, and against onnxruntime."""

import numpy as np
import pytest
from budgetc.lower.generated import generate, one_file
from budgetc_specs.errors import ModelError


def test_operators_that_only_generated_code_takes(check_float):
    library = check_float(
        """g (float[3,5] x, float[2,4] d, float[1,2,4,4] p) =>
            (float[3,5] a, float[3,5] b, float[2,2] c, int64[2,2] e, float[1,2,2,2] f)
        <int64 axis = {1}, int64[2,1] i = {2, 0}, int64[1] k = {2}>
        { a = CumSum(x, axis)
          u = Gather(x, j)  b = ScatterND(x, i, u)
          c, e = TopK(d, k)
          f, n = MaxPool<kernel_shape=[2,2], strides=[2,2]>(p) }""",
        j=np.array([0, 1]),
        terms=5,
    )
    assert library.kernels.count("foreign") >= 3
    assert library.generated


def test_nodes_of_one_operator_share_what_they_have_in_common(build_library, make_model):
    library = build_library(
        make_model(
            """g (float[3,5] x, float[2,7] z) => (float[3,5] a, float[2,7] b)
            <int64 axis = {1}> { a = CumSum(x, axis)  b = CumSum(z, axis) }"""
        )
    )
    x, z = np.ones((3, 5), np.float32), np.ones((2, 7), np.float32)
    made = library.run({"x": x, "z": z})
    np.testing.assert_array_equal(made["a"], x.cumsum(1))
    np.testing.assert_array_equal(made["b"], z.cumsum(1))
    assert library.generated.count("#include <stdint.h>") == 1


def test_small_constants_are_literals_and_large_ones_weights(make_graph):
    graph = make_graph(
        "g (float[64,64] x) => (float[64,64] y) <int64 axis = {0}>"
        "{ a = CumSum(w, axis)  y = PRelu(x, a) }",
        w=np.ones((64, 64), np.float32),
    )
    made = generate(graph.operations[0], graph, "f")
    assert made.inputs == ("w",)
    assert "axis" in made.text


def test_what_needs_the_heap_is_refused_by_name(make_graph):
    graph = make_graph(
        'g (uint8[64] x) => (uint8[4,4,3] y) { y = ImageDecoder<pixel_format="RGB">(x) }', 20
    )
    with pytest.raises(ModelError, match=r"ImageDecoder node .* bytes to work in"):
        generate(graph.operations[0], graph, "f")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rounding_to_bfloat16(build_library, make_model, dtype):
    name = {"float32": "float", "float64": "double"}[dtype]
    library = build_library(
        make_model(f"g ({name}[4096] x) => (bfloat16[4096] y) {{ y = Cast<to=16>(x) }}")
    )
    bits = np.random.default_rng(0).integers(0, 2**32, 4096, np.uint32)
    bits[:6] = [0x7F7FFFFF, 0x7F800000, 0x7FC00001, 0x3F808000, 0x3F818000, 0x80000001]
    with np.errstate(invalid="ignore"):
        x = bits.view(np.float32).astype(dtype)
        wanted = x.astype("bfloat16").astype(np.float32)
    made = library.run({"x": x})["y"]
    np.testing.assert_array_equal(made.astype(np.float32), wanted)


def test_a_double_is_rounded_to_bfloat16_once(build_library, make_model):
    library = build_library(make_model("g (double[2] x) => (bfloat16[2] y) { y = Cast<to=16>(x) }"))
    above = 1.0 + 2.0**-8 + 2.0**-40  # a hair above the middle, which an f32 does not see
    made = library.run({"x": np.array([above, -above])})["y"]
    np.testing.assert_array_equal(made.astype(np.float64), [1.0 + 2.0**-7, -1.0 - 2.0**-7])


def test_one_file_keeps_each_part_once():
    first = "#include <a.h>\n\nstatic int f(void) {\n\n    return 1;\n}\n\nvoid g(void) {\n}\n"
    second = "#include <a.h>\n\nstatic int f(void) {\n\n    return 1;\n}\n\nvoid h(void) {\n}\n"
    joined = one_file([first, second])
    assert joined.count("int f") == 1
    assert joined.count("(void)") == 3
    assert one_file([]) == ""
