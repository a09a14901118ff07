"""Tests of channels that others stand in for: what is not needed goes, and the layers behind it make up for it."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from budgetc_passes.cleanup.clean import Clean
from budgetc_passes.contract import Evidence, PassError
from budgetc_passes.coupling import coupling_groups
from budgetc_passes.fusion.fuse import Fuse
from budgetc_passes.pruning.channels import PruneChannels
from budgetc_passes.pruning.replacement import (
    RIDGE,
    key,
    measure,
    readers,
    replace,
    replaceable,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import execute, parse_model

EXAMPLE = Path(__file__).parents[2] / "specs" / "examples" / "mnist"
WIDE, NEEDED = 12, 8

HEAD = (
    "g (float[1,3,6,6] x) => (float[{}] y) {{ a = Conv <pads = [1,1,1,1]> (x, w, b) r = Relu (a) "
)
READERS = {
    "convolution": ("1,4,6,6", "y = Conv <pads = [1,1,1,1]> (r, v) }", (4, WIDE, 3, 3)),
    "strided convolution": ("1,4,2,2", "y = Conv <strides = [2,2]> (r, v) }", (4, WIDE, 3, 3)),
    "transposed convolution": ("1,4,7,7", "y = ConvTranspose (r, v) }", (WIDE, 4, 2, 2)),
    "product": ("1,5", "f = Flatten (r) y = Gemm (f, v) }", (WIDE * 36, 5)),
    "turned product": ("1,5", "f = Flatten (r) y = Gemm <transB = 1> (f, v) }", (5, WIDE * 36)),
    "product without a bias": (
        "1,6,6,5",
        "t = Transpose <perm = [0,2,3,1]> (r) y = MatMul (t, v) }",
        (WIDE, 5),
    ),
    "depthwise between": (
        "1,4,6,6",
        "d = Conv <group = 12, pads = [1,1,1,1]> (r, k) y = Conv (d, v) }",
        (4, WIDE, 1, 1),
    ),
}


def network(kind: str) -> onnx.ModelProto:
    """A layer of which a third of the channels are multiples of others, and one behind it that reads them all."""
    random = np.random.default_rng(0)
    shape, rest, weights = READERS[kind]
    filters, bias = random.normal(size=(WIDE, 3, 3, 3)), random.normal(size=WIDE)
    kernels = random.normal(size=(WIDE, 1, 3, 3))
    for at in range(NEEDED, WIDE):
        twin = at - NEEDED
        filters[at], bias[at], kernels[at] = 2 * filters[twin], 2 * bias[twin], kernels[twin]
    constants = {"w": filters, "b": bias, "v": random.normal(size=weights)}
    if "k)" in rest:
        constants["k"] = kernels
    return parse_model(
        HEAD.format(shape) + rest, **{name: each.astype("f4") for name, each in constants.items()}
    )


def samples(count: int = 16, size: int = 6):
    random = np.random.default_rng(1)
    return [{"x": random.normal(size=(1, 3, size, size)).astype("f4")} for _ in range(count)]


@pytest.fixture
def calibrated(evidence) -> Evidence:
    return Evidence(evidence.capability, samples)


def pruned(model: onnx.ModelProto, evidence: Evidence, **options) -> onnx.ModelProto:
    result = PruneChannels(**{"align": 1, "method": "replace", **options}).run(
        ir.from_proto(model), evidence
    )
    return ir.to_proto(result.model)


def loss(model: onnx.ModelProto, other: onnx.ModelProto) -> float:
    """Energy of the difference over that of the model's own answers, on other samples."""
    random = np.random.default_rng(2)
    feeds = [{"x": random.normal(size=(1, 3, 6, 6)).astype("f4")} for _ in range(8)]
    right = np.concatenate([execute(model, feed)["y"] for feed in feeds])
    ours = np.concatenate([execute(other, feed)["y"] for feed in feeds])
    return float(((ours - right) ** 2).sum() / (right**2).sum())


@pytest.mark.parametrize("kind", READERS)
def test_what_others_can_replace_goes_and_the_function_stays(kind, calibrated):
    model = network(kind)
    done = pruned(model, calibrated, ratio=1 - NEEDED / WIDE)
    (w,) = [i for i in done.graph.initializer if i.name == "w"]
    assert w.dims[0] == NEEDED
    # The ridge takes a part of a thousand or so from what is predicted.
    assert loss(model, done) < (10 * RIDGE) ** 2
    assert loss(model, pruned(model, calibrated, ratio=1 - NEEDED / WIDE, method="norm")) > 0.01


@pytest.mark.parametrize("kind", READERS)
def test_beyond_that_it_loses_less_than_the_norm(kind, calibrated):
    model = network(kind)
    ours, theirs = (
        pruned(model, calibrated, ratio=0.5, method=method) for method in ("replace", "norm")
    )
    assert [list(i.dims) for i in ours.graph.initializer] == [
        list(i.dims) for i in theirs.graph.initializer
    ]
    assert loss(model, ours) < 0.7 * loss(model, theirs)


def test_a_grouped_convolution_is_refitted_group_by_group(calibrated):
    """The last channel of either group is twice the first: what reads both does without it."""
    random = np.random.default_rng(0)
    filters = random.normal(size=(6, 3, 1, 1))
    filters[2], filters[5] = 2 * filters[0], 2 * filters[3]
    constants = {
        "w": filters,
        "v": random.normal(size=(6, 3, 3, 3)),
        "u": random.normal(size=(4, 6, 1, 1)),
    }
    model = parse_model(
        """g (float[1,3,6,6] x) => (float[1,4,4,4] y)
           { [a] a = Conv (x, w) r = Relu (a) b = Conv <group = 2> (r, v) y = Conv (b, u) }""",
        **{name: each.astype("f4") for name, each in constants.items()},
    )
    done = pruned(model, calibrated, ratio=0.0, groups="a=0.3")
    assert [list(i.dims) for i in done.graph.initializer][:2] == [[4, 3, 1, 1], [6, 2, 3, 3]]
    assert loss(model, done) < (10 * RIDGE) ** 2


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, WIDE - 1))
def test_each_that_goes_is_the_one_of_least_loss(seed, count):
    """By the definition of the loss, computed anew for each channel that could go."""
    random = np.random.default_rng(seed)
    model = ir.from_proto(network("convolution"))
    group = next(g for g in coupling_groups(model) if g.reason is None)
    among = readers(group, model)
    half = random.normal(size=(WIDE, WIDE + 3))
    square = half @ half.T
    gone = replaceable(group, among, [square], count)
    assert len(set(gone)) == count
    weights = among[0].weights(group).reshape(WIDE, -1)

    def lost(out: list[int]) -> float:
        kept = [at for at in range(WIDE) if at not in out]
        across = square[np.ix_(out, kept)]
        left = across @ np.linalg.solve(square[np.ix_(kept, kept)], across.T)
        residual = square[np.ix_(out, out)] - left
        return float(np.trace(weights[out].T @ residual @ weights[out]))

    for number in range(count):
        before = gone[:number]
        each = {c: lost([*before, c]) for c in range(WIDE) if c not in before}
        assert each[gone[number]] == pytest.approx(min(each.values()), rel=1e-6)


def test_the_refitted_weights_are_those_of_least_squares(calibrated):
    """No other weights for the channels that stay come nearer to what the layer computed of all of them."""
    proto = network("product without a bias")
    model = ir.from_proto(proto)
    group = next(g for g in coupling_groups(model) if g.reason is None)
    (reader,) = readers(group, model)
    moments = measure(model, [group], samples())[key(group, reader)]
    gone = [0, 5, 11]
    kept = [at for at in range(WIDE) if at not in gone]
    before = reader.weights(group)[:, 0]
    replace(group, [reader], [moments], gone)
    after = reader.weights(group)[:, 0]
    wanted = np.linalg.solve(moments[np.ix_(kept, kept)], moments[kept] @ before)
    np.testing.assert_allclose(after[kept], wanted, rtol=1e-4, atol=1e-5)


def test_moments_are_those_of_the_samples():
    proto = network("strided convolution")
    model = ir.from_proto(proto)
    group = next(g for g in coupling_groups(model) if g.reason is None)
    (reader,) = readers(group, model)
    found = measure(model, [group], samples(4))[key(group, reader)]
    shown = onnx.ModelProto.FromString(proto.SerializeToString())
    shown.graph.output.append(onnx.helper.make_tensor_value_info("r", 1, [1, WIDE, 6, 6]))
    rows = np.concatenate(
        [execute(shown, each)["r"][0].reshape(WIDE, -1).T for each in samples(4)]
    ).astype("f8")
    wanted = rows.T @ rows / len(rows)
    wanted += RIDGE * np.trace(wanted) / WIDE * np.eye(WIDE)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


def test_layers_before_the_first_that_lost_a_channel_are_not_fitted(calibrated):
    random = np.random.default_rng(0)
    sizes = {"u": (3, 3, 1, 1), "w": (8, 3, 3, 3), "k": (8, 1, 3, 3), "v": (4, 8, 1, 1)}
    model = parse_model(
        """g (float[1,3,6,6] x) => (float[1,4,4,4] y)
           { [first] a = Conv (x, u) [cut] b = Conv <pads = [1,1,1,1]> (a, w) r = Relu (b)
             [deep] c = Conv <group = 8> (r, k) [last] y = Conv (c, v) }""",
        **{name: random.normal(size=size).astype("f4") for name, size in sizes.items()},
    )
    options = {"ratio": 0.0, "groups": "cut=0.25", "align": 1}
    result = PruneChannels(method="fit", **options).run(ir.from_proto(model), calibrated)
    fitted = [note.node for note in result.notes if note.text == "fitted to what it computed"]
    assert fitted == ["cut", "deep", "last"]
    after = ir.to_proto(result.model)
    (first,) = [i for i in after.graph.initializer if i.name == "u"]
    assert first == next(i for i in model.graph.initializer if i.name == "u")
    assert loss(model, after) < loss(model, pruned(model, calibrated, method="replace", **options))


def test_weights_that_two_layers_read_stay_as_they_are(calibrated):
    """A layer that cannot be refitted has no say: filters are weighed as without samples."""
    random = np.random.default_rng(0)
    model = parse_model(
        """g (float[1,3,6,6] x) => (float[1,8,6,6] y, float[1,8,6,6] z)
           { a = Conv (x, w) r = Relu (a) c = Conv (x, u) s = Relu (c) y = Conv (r, v) z = Conv (s, v) }""",
        w=random.normal(size=(8, 3, 1, 1)).astype("f4"),
        u=random.normal(size=(8, 3, 1, 1)).astype("f4"),
        v=random.normal(size=(8, 8, 1, 1)).astype("f4"),
    )
    assert pruned(model, calibrated, ratio=0.5) == pruned(
        model, calibrated, ratio=0.5, method="norm"
    )


def test_samples_are_asked_for_once_for_all_ratios_and_shapes(evidence):
    asked = []

    def ask():
        asked.append(1)
        return samples()

    known = Evidence(evidence.capability, ask)
    small = network("convolution")
    first = pruned(small, known, ratio=0.5)
    pruned(small, known, ratio=0.25)
    large = onnx.ModelProto.FromString(small.SerializeToString())
    for port in (*large.graph.input, *large.graph.output):
        for at in (2, 3):
            port.type.tensor_type.shape.dim[at].dim_value = 10
    del large.graph.value_info[:]
    large = onnx.shape_inference.infer_shapes(large, strict_mode=True)
    second = pruned(large, known, ratio=0.5)
    assert len(asked) == 1
    assert list(first.graph.initializer) == list(second.graph.initializer)


@pytest.mark.parametrize(
    ("given", "message"),
    [([], "no calibration samples"), ([{"z": np.zeros(1)}], "lacks the input 'x'")],
)
def test_samples_that_do_not_fit_are_named(evidence, given, message):
    with pytest.raises(PassError, match=message):
        pruned(network("convolution"), Evidence(evidence.capability, lambda: given), ratio=0.5)


def test_channels_that_are_always_zero_go_first(evidence):
    """And if all are, whatever goes is missed by nobody."""
    zeros = Evidence(evidence.capability, lambda: [{"x": np.zeros((1, 3, 6, 6), "f4")}])
    model = network("convolution")
    (bias,) = [i for i in model.graph.initializer if i.name == "b"]
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(WIDE, -1, "f4"), "b"))
    before = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    after = {
        i.name: onnx.numpy_helper.to_array(i)
        for i in pruned(model, zeros, ratio=0.5).graph.initializer
    }
    kept = [at for at in range(WIDE) if (after["w"] == before["w"][at]).all(axis=(1, 2, 3)).any()]
    assert len(kept) == WIDE // 2
    np.testing.assert_array_equal(after["v"], before["v"][:, kept])


def test_digits_survive_it(apply, real, evidence):
    """A quarter of all channels of a small network: without refitting, nothing is left of it."""
    with np.load(EXAMPLE / "calibration.npz") as data:
        images = data["input"]
    with np.load(EXAMPLE / "evaluation.npz") as data:
        shown, labels = data["input"][:300], data["label"][:300]
    known = Evidence(evidence.capability, lambda: ({"input": each[None]} for each in images))
    fused = apply(real("mnist5k_cnn"), Clean(), Fuse()).after

    def right(model: onnx.ModelProto) -> float:
        found = [execute(model, {"input": each[None]}) for each in shown]
        answers = np.array([next(iter(each.values())).argmax() for each in found])
        return float((answers == labels).mean())

    assert right(pruned(fused, known, ratio=0.25)) > right(fused) - 0.03
    half, fitted = (pruned(fused, known, ratio=0.5, method=m) for m in ("replace", "fit"))
    assert [list(i.dims) for i in fitted.graph.initializer] == [
        list(i.dims) for i in half.graph.initializer
    ]
    assert right(half) < right(fused) - 0.15
    assert right(fitted) > right(fused) - 0.05
    assert right(pruned(fused, known, ratio=0.25, method="norm")) < 0.5
