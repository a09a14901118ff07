"""Products of activations and normalised rows in whole libraries: attention in every usual form."""

import pytest


def kinds(library):
    return {name.rsplit("_", 1)[0] for name in library.kernels}


def test_attention_is_all_kernels_of_ours(check_float, weights):
    library = check_float(
        """g (float[1,9,16] x) => (float[1,9,16] y)
        <int64[4] split = {1,9,2,8}, int64[3] join = {1,9,16}, float s = {0.35}>
        { q = MatMul(x, wq)  k = MatMul(x, wk)  v = MatMul(x, wv)
          q4 = Reshape(q, split)  k4 = Reshape(k, split)  v4 = Reshape(v, split)
          qt = Transpose<perm=[0,2,1,3]>(q4)  kt = Transpose<perm=[0,2,3,1]>(k4)
          vt = Transpose<perm=[0,2,1,3]>(v4)
          a = MatMul(qt, kt)  b = Mul(a, s)  p = Softmax(b)  o = MatMul(p, vt)
          ot = Transpose<perm=[0,2,1,3]>(o)  oj = Reshape(ot, join)  y = Add(oj, x) }""",
        terms=64,
        wq=weights(16, 16),
        wk=weights(16, 16, seed=1),
        wv=weights(16, 16, seed=2),
    )
    assert kinds(library) == {"convolution", "elementwise", "attention"}
    moves = [call for call in library.lowered.calls if call.label.startswith("copy")]
    assert [call.label for call in moves] == ["copy kt"], "the result lies as the reshape wants it"


@pytest.mark.parametrize(
    ("left", "right", "out"),
    [
        ("5,7", "7,3", "5,3"),
        ("2,5,7", "7,3", "2,5,3"),
        ("5,7", "2,7,3", "2,5,3"),
        ("2,1,5,7", "1,3,7,17", "2,3,5,17"),
        ("2,3,1,7", "2,3,7,1", "2,3,1,1"),
    ],
)
def test_batches_broadcast(check_float, left, right, out):
    library = check_float(
        f"g (float[{left}] a, float[{right}] b) => (float[{out}] y) {{ c = MatMul(a, b)  y = Relu(c) }}",
        terms=7,
    )
    assert kinds(library) == {"matmul"}


def test_a_constant_may_stand_on_the_left(check_float, weights):
    text = "g (float[2,5,3] x) => (float[2,4,3] y) { y = MatMul(w, x) }"
    assert kinds(check_float(text, terms=5, w=weights(4, 5))) == {"matmul"}


@pytest.mark.parametrize("shape", ["2,3,9", "2,3,5,7", "2,3,2,3,4"])
def test_the_channels_of_an_instance_are_rows(check_float, weights, shape):
    library = check_float(
        f"""g (float[{shape}] x) => (float[{shape}] y)
        {{ n = InstanceNormalization<epsilon=0.01>(x, s, b) y = Relu(n) }}""",
        terms=35,
        s=weights(3),
        b=weights(3, seed=2),
    )
    assert "normalisation" in library.kernels
    assert "foreign" not in library.kernels


def test_an_image_behind_a_convolution_is_normalised_by_channels(check_float, weights):
    library = check_float(
        """g (float[2,3,9,9] x) => (float[2,4,9,9] y)
        { c = Conv<pads=[1,1,1,1]>(x, w) y = InstanceNormalization(c, s, b) }""",
        terms=120,
        w=weights(4, 3, 3, 3),
        s=weights(4),
        b=weights(4, seed=2),
    )
    assert "normalisation" in library.kernels


def test_an_instance_with_computed_scales_is_left_to_generated_code(check_float):
    library = check_float(
        """g (float[2,3,5] x, float[3] s, float[3] b) => (float[2,3,5] y)
        { y = InstanceNormalization(x, s, b) }""",
        terms=9,
    )
    assert library.kernels == ["foreign"]


def test_layer_normalisation_with_and_without_shift(check_float, weights):
    for nodes in ("LayerNormalization(x, s, b)", "LayerNormalization<axis=2, epsilon=0.01>(x, s)"):
        library = check_float(
            f"g (float[2,5,19] x) => (float[2,5,19] y) {{ n = {nodes}  y = Tanh(n) }}",
            terms=19,
            s=weights(19),
            b=weights(19, seed=1),
        )
        assert kinds(library) == {"normalisation"}


def test_other_axes_go_through_tvm(check_float, weights):
    library = check_float(
        "g (float[2,5,6] x) => (float[2,5,6] y) { y = LayerNormalization<axis=1>(x, s) }",
        terms=30,
        s=weights(5, 6),
    )
    assert kinds(library) != {"normalisation"}


def test_a_transposed_row_is_copied_before_it_is_normalised(check_float, weights):
    check_float(
        """g (float[2,6,5] x) => (float[2,5,6] y)
        { t = Transpose<perm=[0,2,1]>(x)  r = Relu(t)  y = LayerNormalization(r, s) }""",
        terms=6,
        s=weights(6),
    )
