"""Operators that move elements: views where strides can say it, copies elsewhere, the values always right."""

import pytest
from budgetc.lower.selection import select
from budgetc_specs.errors import ModelError


def selected(graph):
    select(graph)
    return [op.kind for op in graph.operations]


def test_shapes_change_without_a_step(make_graph, check_float):
    text = """g (float[2,3,4] x) => (float[6,4] a, float[2,12] b, float[1,2,1,3,4] c, float[2,3,4] d, float[2,3,4] e,
                                     float[5,2,3,4] f, float[24] h, float[2,3,4] i, float[2,3,4] j)
        <int64[2] s = {-1,4}, int64[2] u = {0,2}, int64[4] ex = {5,1,1,1}, int64[1] m = {-1}>
    { a = Reshape(x, s)  b = Flatten(x)  c = Unsqueeze(x, u)  d = Squeeze(c, u)  e = Identity(x)
      f = Expand(x, ex)  h = Reshape(x, m)  i = Dropout(x)  j = Cast<to=1>(x) }"""
    assert set(selected(make_graph(text))) == {"view"}
    library = check_float(text, reference=True)
    assert set(library.kernels) == {"elementwise"}, "outputs are copied into the caller's memory"


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge"])
def test_padding_by_nothing(check_float, make_graph, mode):
    text = f"""g (float[2,3] x) => (float[2,3] y) <int64[4] zeros = {{0,0,0,0}}>
    {{ y = Pad<mode="{mode}">(x, zeros) }}"""
    assert selected(make_graph(text)) == ["view"]
    check_float(text, reference=True)


def test_a_scalar_has_nothing_to_pad(make_graph):
    """onnxruntime refuses it, and the C that would be generated for it does not compile."""
    text = """g (float x) => (float y) <int64[0] none = {}> { y = Pad<mode="reflect">(x, none) }"""
    assert selected(make_graph(text)) == ["view"]


@pytest.mark.parametrize("perm", ["", "<perm=[1,0,2]>", "<perm=[0,2,1]>"])
def test_transposes(check_float, make_graph, perm):
    shape = {"": "4,3,2", "<perm=[1,0,2]>": "3,2,4", "<perm=[0,2,1]>": "2,4,3"}[perm]
    text = f"g (float[2,3,4] x) => (float[{shape}] y) {{ y = Transpose{perm}(x) }}"
    assert selected(make_graph(text)) == ["view"]
    check_float(text, reference=True)


def test_slices(check_float, make_graph):
    text = """g (float[4,6] x) => (float[2,3] a, float[1,6] b, float[2,6] c, float[4,6] d)
        <int64[2] s = {1,0}, int64[2] e = {3,6}, int64[2] ax = {0,-1}, int64[2] st = {1,2}, int64[1] three = {3},
         int64[1] far = {9223372036854775807}, int64[1] back = {-2}, int64[1] zero = {0}, int64[1] low = {-9999}>
    { a = Slice(x, s, e, ax, st)  b = Slice(x, three, far)  c = Slice(x, back, far, zero)  d = Slice(x, low, far) }"""
    assert set(selected(make_graph(text))) == {"view"}
    check_float(text, reference=True)
    check_float("g (float[4,6] x) => (float[2,6] y) { y = Slice<starts=[1], ends=[3]>(x) }", 9)


def test_a_slice_backwards_goes_through_tvm(check_float, make_graph):
    text = """g (float[4,6] x) => (float[4,6] y)
        <int64[1] s = {-1}, int64[1] e = {-9999}, int64[1] ax = {1}, int64[1] st = {-1}>
    { y = Slice(x, s, e, ax, st) }"""
    assert selected(make_graph(text)) == ["foreign"]
    check_float(text)


def test_a_slice_from_a_computed_place_is_refused(make_graph, build_library, make_model):
    with pytest.raises(ModelError, match="depends on the data"):
        build_library(
            make_model(
                "g (float[4] x, int64[1] s, int64[1] e) => (float[n] y) { y = Slice(x, s, e) }"
            )
        )


def test_splits(check_float, make_graph):
    text = """g (float[4,6] x) => (float[4,2] a, float[4,2] b, float[4,2] c, float[1,6] d, float[3,6] e)
        <int64[2] s = {1,3}> { a, b, c = Split<axis=-1>(x)  d, e = Split(x, s) }"""
    assert set(selected(make_graph(text, 13))) == {"view"}
    check_float(text, 13)
    check_float("g (float[5] x) => (float[3] a, float[2] b) { a, b = Split<num_outputs=2>(x) }", 18)


def test_concatenations(check_float, make_graph):
    text = """g (float[2,3] x, float[2,4] z) => (float[2,7] a, float[4,3] b, float[2,10] c, float[2,3] d)
        <float[2,3] k = {1,2,3,4,5,6}, float[2,0] none = {}>
    { a = Concat<axis=-1>(x, z)  b = Concat<axis=0>(x, x)  c = Concat<axis=1>(x, k, z)  d = Concat<axis=1>(none, x) }"""
    assert set(selected(make_graph(text))) == {"copy-into"}
    check_float(text)


def test_pads(check_float, make_graph):
    text = """g (float[2,3] x) => (float[5,4] a, float[3,4] b)
        <int64[4] p = {1,0,2,1}, int64[4] q = {1,1,0,0}, float v = {2.5}> { a = Pad(x, p, v)  b = Pad(x, q) }"""
    assert set(selected(make_graph(text))) == {"copy-into"}
    check_float(text, reference=True)
    check_float("g (float[2,3] x) => (float[4,3] y) { y = Pad<pads=[1,0,1,0], value=3.0>(x) }", 9)


def test_other_pads_go_through_tvm(check_float, make_graph):
    text = """g (float[3,3] x) => (float[4,3] a, float[4,3] b, float[3,2] c)
        <int64[4] p = {1,0,0,0}, int64[4] n = {0,-1,0,0}>
    { a = Pad<mode="reflect">(x, p)  b = Pad<mode="edge">(x, p)  c = Pad(x, n) }"""
    assert set(selected(make_graph(text))) == {"foreign"}
    check_float(text)


def test_dropout_keeps_everything_and_says_so(check_float):
    check_float("g (float[3] x) => (float[3] y, bool[3] k) { y, k = Dropout(x) }")


def test_dropout_in_training_is_refused(make_graph):
    graph = make_graph(
        "g (float[3] x) => (float[3] y) <float r = {0.5}, bool t = {1}> { y = Dropout(x, r, t) }"
    )
    with pytest.raises(ModelError, match=r'Dropout node "y" draws random numbers'):
        select(graph)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "int32", "int64", "double"])
def test_every_type_can_be_moved(check_float, dtype):
    check_float(
        f"""g ({dtype}[3,4] x) => ({dtype}[4,3] a, {dtype}[3,8] b, {dtype}[4,4] c, {dtype}[2,2] d)
        <int64[4] p = {{1,0,0,0}}, int64[2] s = {{1,0}}, int64[2] e = {{3,4}},
         int64[2] ax = {{0,1}}, int64[2] st = {{1,2}}>
        {{ a = Transpose(x)  b = Concat<axis=1>(x, x)  c = Pad(x, p)  d = Slice(x, s, e, ax, st) }}"""
    )


def test_values_without_dimensions(check_float):
    check_float(
        """g (float x, float z) => (float a, float b, float[1] c, float[1,1] d, float e)
        <float k = {2}, int64[1] one = {1}, int64[2] two = {0,1}>
        { a = Add(x, z)  t = Mul(x, k)  b = Exp(t)  c = Reshape(x, one)  d = Unsqueeze(x, two)  e = Squeeze(c) }""",
        reference=True,
    )


def test_outputs_that_are_inputs_or_each_other(check_float):
    library = check_float(
        "g (float[4] x) => (float[4] y, float[4] z, float[4] i, float[4] j)"
        "{ y = Relu(x)  z = Exp(y)  i = Identity(x)  j = Identity(y) }"
    )
    assert library.lowered.arena_bytes == 0
    check_float("g (float[4] x) => (float[4] x) { y = Relu(x) }")
