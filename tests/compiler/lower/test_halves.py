"""Layers that multiply bfloat16 numbers: which do, what they read, and that they give what the graph says."""

import re

import ml_dtypes
import numpy as np
import pytest
from budgetc.baseline import make_session
from budgetc.lower.lower import prepare
from budgetc.verification.rounding import bound

CASTS = "h = Cast<to=16>(x) r = Cast<to=1>(h)"


def rounded(array):
    """As a Cast to bfloat16 and back has it."""
    return array.astype(ml_dtypes.bfloat16).astype(np.float32)


def test_rounding_is_to_nearest_even():
    given = np.array([1 + 2**-8, 1 + 3 * 2**-8, -1 - 2**-8 - 2**-20], np.float32)
    np.testing.assert_array_equal(rounded(given), [1, 1 + 2**-6, -1 - 2**-7])


def operations(model, *, halves=True):
    graph = prepare(model.SerializeToString(), halves=halves)
    return graph, [
        (op.kind, *(graph.values[n].dtype for n in (*op.inputs, op.output)))
        for op in graph.operations
    ]


def test_a_layer_of_short_weights_reads_16_bits(make_model, weights):
    text = (
        f"g (float[1,7,6,6] x, float[9,7,3,3] v) => (float[1,9,4,4] y) {{ {CASTS} y = Conv(r, v) }}"
    )
    model = make_model(text, v=rounded(weights(9, 7, 3, 3)))
    graph, found = operations(model)
    assert found == [("map", "float32", "bfloat16"), ("convolution", "bfloat16", "float32")]
    assert graph.operations[1].attributes["weight"].dtype.name == "bfloat16"


def test_a_layer_of_long_weights_computes_in_float(make_model, weights):
    text = (
        f"g (float[1,7,6,6] x, float[9,7,3,3] v) => (float[1,9,4,4] y) {{ {CASTS} y = Conv(r, v) }}"
    )
    _, found = operations(make_model(text, v=weights(9, 7, 3, 3)))
    assert found[-1] == ("convolution", "float32", "float32")


def test_a_depthwise_layer_computes_in_float(make_model, weights):
    text = f"""g (float[1,8,6,6] x, float[8,1,3,3] v) => (float[1,8,4,4] y)
        {{ {CASTS} y = Conv<group=8>(r, v) }}"""
    _, found = operations(make_model(text, v=rounded(weights(8, 1, 3, 3))))
    assert found[-1] == ("convolution", "float32", "float32")


def test_the_kernel_before_rounds_as_it_stores(make_model, weights):
    text = """g (float[1,8,6,6] x, float[9,8,1,1] v, float[288,5] u) => (float[1,5] y) {
        a = Conv(x, v) b = Relu(a) c = Slice(b, s, e, i) f = Flatten(c)
        h = Cast<to=16>(f) r = Cast<to=1>(h) y = MatMul(r, u)
    }"""
    ends = {n: np.array([k], np.int64) for n, k in (("s", 0), ("e", 8), ("i", 1))}
    given = {"v": weights(9, 8, 1, 1), "u": rounded(weights(288, 5))}
    model = make_model(text, **given, **ends)
    _, found = operations(model)
    kinds = [each[0] for each in found]
    assert found[0] == ("convolution", "float32", "bfloat16")
    assert found[-1] == ("product", "bfloat16", "float32")
    assert "map" not in kinds


def test_a_sum_reads_what_is_stored_for_the_layer(make_model, weights):
    text = f"""g (float[1,8,6,6] x, float[8,8,1,1] v) => (float[1,8,6,6] y)
        {{ {CASTS} a = Conv(r, v) y = Add(a, r) }}"""
    _, found = operations(make_model(text, v=rounded(weights(8, 8, 1, 1))))
    assert found[-1] == ("convolution", "bfloat16", "bfloat16", "float32")


def test_what_is_rounded_for_a_port_keeps_numbers_below_the_normal_ones(make_model):
    text = "g (float[4,6] x) => (bfloat16[6,4] y) { t = Transpose(x) y = Cast<to=16>(t) }"
    _, found = operations(make_model(text))
    assert [each[0] for each in found] == ["view", "foreign"]


def test_without_such_kernels_casts_are_left_to_generated_code(make_model, weights):
    text = (
        f"g (float[1,8,6,6] x, float[9,8,1,1] v) => (float[1,9,6,6] y) {{ {CASTS} y = Conv(r, v) }}"
    )
    _, found = operations(make_model(text, v=rounded(weights(9, 8, 1, 1))), halves=False)
    assert [each[0] for each in found] == ["foreign", "foreign", "convolution"]


LAYERS = {
    "odd channels": ("1,7,6,6", {"v": (9, 7, 3, 3), "b": (9,)}, "1,9,6,6",
                     "c = Conv<pads=[1,1,1,1]>(r, v, b) y = Relu(c)"),
    "pointwise": ("1,24,5,7", {"v": (40, 24, 1, 1)}, "1,40,5,7", "y = Conv(r, v)"),
    "first layer": ("1,3,9,9", {"v": (8, 3, 3, 3)}, "1,8,4,4", "y = Conv<strides=[2,2]>(r, v)"),
    "groups": ("1,12,5,5", {"v": (16, 3, 3, 3)}, "1,16,3,3", "y = Conv<group=4>(r, v)"),
    "one dimension": ("1,6,20", {"v": (8, 6, 5)}, "1,8,16", "y = Conv(r, v)"),
    "dense": ("3,37", {"v": (10, 37), "b": (10,)}, "3,10", "y = Gemm<transB=1>(r, v, b)"),
    "rows": ("2,5,18", {"v": (18, 33)}, "2,5,33", "y = MatMul(r, v)"),
    "transposed": ("1,6,5,5", {"v": (6, 4, 4, 4)}, "1,4,10,10",
                   "y = ConvTranspose<strides=[2,2], pads=[1,1,1,1]>(r, v)"),
}  # fmt: skip


def test_layers_give_what_onnxruntime_makes_of_the_graph(
    make_model, weights, inputs_of, build_library, host
):
    """All in one library, which is what they cost."""
    if host.bfloat16_dot is None:
        pytest.skip("this CPU has no dot product of bfloat16 numbers")
    ports, outputs, body, given, terms = [], [], [], {}, {}
    for at, (x, shapes, made, line) in enumerate(LAYERS.values()):
        ports.append(f"float[{x}] x{at}")
        outputs.append(f"float[{made}] y{at}")
        text = f"{CASTS} {line}"
        for name in "xhrcvby":
            text = re.sub(rf"\b{name}\b", f"{name}{at}", text)
        body.append(text)
        for name, shape in shapes.items():
            ports.append(f"float[{','.join(map(str, shape))}] {name}{at}")
            array = weights(*shape, seed=3)
            given[f"{name}{at}"] = rounded(array) if name == "v" else array
        terms[f"y{at}"] = int(np.prod(shapes["v"][1:]))
    text = f"g ({', '.join(ports)}) => ({', '.join(outputs)}) {{ {' '.join(body)} }}"
    proto = make_model(text, **given)
    library = build_library(proto)
    layers = [each for each in library.lowered.layers if each.macs]
    assert len(layers) == len(LAYERS)
    assert {each.bits for each in layers} == {16}
    feed = inputs_of(library.model)
    wanted, found = make_session(proto.SerializeToString()).run(feed), library.run(feed)
    for name, value in wanted.items():
        assert np.abs(found[name] - value).max() <= bound(terms[name]) * np.abs(value).max(), name
