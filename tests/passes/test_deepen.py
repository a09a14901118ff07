"""Tests of deepening: more layers, and the same answers."""

import numpy as np
import onnx_ir as ir
import pytest
from budgetc_passes.cleanup.clean import Clean
from budgetc_passes.contract import PassError
from budgetc_passes.fusion.fuse import Fuse
from budgetc_passes.growth.deepen import Deepen
from budgetc_passes.growth.widen import Widen
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import compare, execute, parse_model, random_feeds


@pytest.mark.parametrize("fused", [False, True])
def test_real_models_compute_what_they_did(apply, real, same, real_name, *, fused):
    ready = apply(real(real_name), Clean(), *([Fuse()] if fused else [])).after
    done = apply(ready, Deepen())
    if real_name in ("japanesevowels_gru", "mtcnn_rnet"):
        assert not done.modified  # neither has a Relu or Clip
        return
    assert len(done.after.graph.node) > len(ready.graph.node)
    same(done)


def test_wider_and_deeper(apply, real, same):
    done = apply(real("animalmnist_dscnn"), Clean(), Widen(ratio=1.0), Deepen(), Deepen())
    same(done, relative=1e-5)


LAYERS = {
    "Conv": ("float[1,3,6,6]", "Conv (x, w)", (4, 3, 1, 1), "1,4,6,6", 4),
    "Conv of a series": ("float[1,3,6]", "Conv (x, w)", (4, 3, 2), "1,4,5", 3),
    "ConvTranspose": ("float[1,3,6,6]", "ConvTranspose (x, w)", (3, 4, 2, 2), "1,4,7,7", 4),
    "Gemm": ("float[2,3]", "Gemm (x, w)", (3, 5), "2,5", 2),
    "MatMul": ("float[2,4,3]", "MatMul (x, w)", (3, 5), "2,4,5", 3),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("activation", ["Relu (a)", "Clip (a, low, high)"])
def test_every_kind_of_layer(apply, parse, same, kind, activation):
    port, layer, weight, out, rank = LAYERS[kind]
    model = parse(
        f"g ({port} x) => (float[{out}] y) {{ [layer] a = {layer} y = {activation} }}",
        w=np.random.default_rng(0).normal(size=weight).astype("f4"),
        low=np.float32(-0.5),
        high=np.float32(1.5),
    )
    done = apply(model, Deepen(kernel=5))
    same(done)
    kernels = [i for i in done.after.graph.initializer if i.name == "layer.deeper.weight"]
    wanted = {2: (5, 5), 3: (4, 4, 5), 4: (4, 4, 5, 5)}
    assert list(kernels[0].dims) == list((5, 5) if kind == "MatMul" else wanted[rank])
    (note,) = done.notes
    assert note.node == "layer"
    assert note.text.endswith(
        "put behind Relu(y)" if "Relu" in activation else "put behind Clip(y)"
    )


def test_a_depthwise_layer_gets_a_depthwise_one(apply, real, same):
    ready = apply(real("animalmnist_dscnn"), Clean(), Fuse()).after
    done = apply(ready, Deepen(layers="/3/Conv"))
    same(done)
    assert done.constant("/3/Conv.deeper.weight").shape == (16, 1, 3, 3)


def test_clip_of_an_old_operator_set(apply, parse, same):
    model = parse(
        "g (float[2,3] x) => (float[2,5] y) { a = MatMul (x, w) y = Clip <min = 0.0, max = 1.0> (a) }",
        opset=10,
        w=np.ones((3, 5), "f"),
    )
    done = apply(model, Deepen())
    same(done)
    assert done.ops == ["MatMul", "Clip", "Gemm", "Clip"]


def test_a_sum_is_deepened_once(apply, parse, same):
    model = parse(
        """g (float[1,3,6,6] x, float[4,3,1,1] w) => (float[1,4,6,6] y)
           { [a] a = Conv (x, w) r = Relu (a) [b] b = Conv (r, v) [c] c = Conv (x, w) s = Add (b, c)
             y = Relu (s) }""",
        w=np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype("f4"),
        v=np.random.default_rng(1).normal(size=(4, 4, 1, 1)).astype("f4"),
    )
    done = apply(model, Deepen())
    same(done)
    assert [(note.node, note.kind) for note in done.notes] == [
        ("a", "did"),
        ("b", "did"),
        ("c", "refused"),
    ]
    assert done.notes[-1].text == ("a new layer is there already, behind the sum that it goes into")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[a] y = MatMul (x, w)", "y is an output, or has several readers"),
        ("[a] a = MatMul (x, w) y = Sigmoid (a)", "Sigmoid(y) (Sigmoid) comes behind it"),
        ("[a] a = MatMul (x, x) y = Relu (a)", "its weights are not constant floats"),
        ("[a] a = MatMul (x, w) b = Relu (a) c = Neg (a) y = Add (b, c)", "has several readers"),
    ],
)
def test_where_nothing_is_put(apply, parse, text, reason):
    model = parse(f"g (float[3,3] x) => (float[3,3] y) {{ {text} }}", w=np.ones((3, 3), "f"))
    done = apply(model, Deepen())
    assert not done.modified
    assert reason in done.refusals()[0]


def test_layers_by_name(apply, real):
    ready = apply(real("mnist5k_cnn"), Clean(), Fuse()).after
    done = apply(ready, Deepen(layers="/3/Conv;/10/Conv"))
    assert [note.node for note in done.notes] == ["/3/Conv", "/10/Conv"]
    assert done.ops.count("Conv") == 7
    with pytest.raises(
        PassError, match="layers names '/3/Con', which the model lacks; did you mean"
    ):
        apply(ready, Deepen(layers="/3/Con"))


@pytest.mark.parametrize("kernel", [0, 2, -1])
def test_an_even_kernel_has_no_centre(kernel):
    with pytest.raises(ValueError, match=f"kernel is {kernel}; it is an odd number"):
        Deepen(kernel=kernel)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    channels=st.integers(1, 9),
    kernel=st.sampled_from([1, 3, 5]),
    repeated=st.integers(1, 3),
    low=st.floats(-3, 3, width=32),
)
def test_any_number_of_layers_computes_what_one_does(
    evidence, seed, channels, kernel, repeated, low
):
    random = np.random.default_rng(seed)
    model = parse_model(
        """g (float[1,2,5,4] x) => (float[1,3] y)
           { [c] c = Conv (x, w, b) r = Clip (c, low) f = Flatten (r) y = Gemm (f, v) }""",
        w=random.normal(size=(channels, 2, 2, 2)).astype("f4"),
        b=random.normal(size=channels).astype("f4"),
        low=np.float32(low),
        v=random.normal(size=(channels * 12, 3)).astype("f4"),
    )
    grown = ir.from_proto(model)
    for _ in range(repeated):
        grown = Deepen(layers="c", kernel=kernel).run(grown, evidence).model
    after = ir.to_proto(grown)
    assert len(after.graph.node) == len(model.graph.node) + 2 * repeated
    feeds = random_feeds(model, seed)
    compare(execute(after, feeds)["y"], execute(model, feeds)["y"])
