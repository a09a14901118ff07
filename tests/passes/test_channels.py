"""Tests of pruning channels."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from budgetc_passes.cleanup.clean import Clean
from budgetc_passes.contract import PassError
from budgetc_passes.coupling import coupling_groups
from budgetc_passes.fusion.fuse import Fuse
from budgetc_passes.names import join_values
from budgetc_passes.offer import Part
from budgetc_passes.pruning.channels import PruneChannels
from budgetc_passes.relations import Use


def parameters(model):
    return sum(onnx.numpy_helper.to_array(item).size for item in model.graph.initializer)


def masked(proto, pruning, block):
    """The same model with what would be pruned set to zero instead."""
    model = ir.from_proto(proto)
    for group in coupling_groups(model):
        total = len(group.bundles)
        count = pruning.kept(total, block)
        if group.reason is not None or count >= total:
            continue
        for bundle in pruning.weakest(group, total - count):
            for (holder, axis), indices in bundle.items():
                made = {(filters.weight, filters.axis) for filters in group.filters}
                bias = isinstance(holder, Use) and holder.node in {f.layer for f in group.filters}
                value = holder.node.inputs[holder.at] if isinstance(holder, Use) else holder
                if (holder, axis) in made or bias:
                    array = value.const_value.numpy().copy()
                    array[(slice(None),) * axis + (list(indices),)] = 0
                    value.const_value = ir.tensor(array, name=value.name)
    return ir.to_proto(model)


def test_removing_zero_channels_keeps_the_function(apply, real, same, real_name):
    if real_name == "japanesevowels_gru":
        pytest.skip("its channels are those of its recurrent layer, which stays whole")
    fused = apply(real(real_name), Clean(), Fuse()).after
    # Equal biases may share an initializer by now; zeroing one use must not touch the others.
    pruning = PruneChannels(ratio=0.3)
    zeroed = masked(fused, pruning, 8)
    done = apply(zeroed, pruning)
    assert done.modified
    assert parameters(done.after) < 0.85 * parameters(zeroed)
    same(done, relative=1e-5)


def test_real_models_before_fusion(apply, real, same, real_name, ort):
    """BatchNormalization and all: the result is narrower and runs."""
    if real_name == "japanesevowels_gru":
        pytest.skip("its channels are those of its recurrent layer, which stays whole")
    model = real(real_name)
    done = apply(model, Clean(), PruneChannels(ratio=0.5))
    assert parameters(done.after) < 0.6 * parameters(model)
    feeds = {
        item.name: np.ones([d.dim_value for d in item.type.tensor_type.shape.dim], "f")
        for item in done.after.graph.input
    }
    assert all(np.isfinite(array).all() for array in ort(done.after, feeds).values())


def test_notes_name_every_group(apply, real):
    done = apply(real("mlperf_tiny_resnet8_cifar10"), Clean(), Fuse(), PruneChannels())
    notes = {note.node: (note.kind, note.text) for note in done.notes if "kept" in note.text}
    assert notes["conv2d"] == ("did", "kept 8 of 16 channels, with conv2d_2")
    assert notes["conv2d_7"] == ("did", "kept 48 of 64 channels, with conv2d_8")
    kind, text = notes["dense"]
    assert kind == "refused"
    assert text.startswith("kept all 10: dense_sm (Softmax)")


@pytest.mark.parametrize(
    ("options", "total", "wanted"),
    [
        ({"ratio": 0.3}, 64, 48),
        ({"ratio": 0.3}, 16, 8),
        ({"ratio": 0.3}, 12, 8),
        ({"ratio": 0.3, "align": 1}, 64, 45),
        ({"ratio": 0.3, "align": 4}, 64, 44),
        ({"ratio": 0.1}, 32, 32),
        ({"ratio": 0.99}, 64, 8),
        ({"ratio": 0.99}, 3, 1),
    ],
)
def test_how_many_are_kept(options, total, wanted):
    pruning = PruneChannels(**options)
    assert pruning.kept(total, pruning.align or 8) == wanted


@pytest.mark.parametrize(("norm", "gone"), [("l1", 0), ("l2", 1)])
def test_the_norm_decides(apply, parse, norm, gone):
    # Filter 0 is one spike, filter 1 is spread out: their norms rank the other way round.
    w = np.array([[3, 0, 0, 0], [1, 1, 1, 1], [9, 9, 9, 9]], "f").reshape(3, 4, 1, 1)
    model = parse(
        """g (float[1,4,2,2] x, float[3,4,1,1] w, float[2,3,1,1] v) => (float[1,2,2,2] y)
           { a = Conv (x, w) y = Conv (a, v) }""",
        w=w,
        v=np.ones((2, 3, 1, 1), "f"),
    )
    done = apply(model, PruneChannels(ratio=0.34, norm=norm))
    np.testing.assert_array_equal(done.constant("w"), np.delete(w, gone, axis=0))


def test_reshape_targets_and_depthwise_groups_follow(apply, parse, same):
    rng = np.random.default_rng(0)
    w = rng.normal(size=(4, 4, 1, 1)).astype("f")
    w[3] = 0
    model = parse(
        """g (float[2,4,2,2] x, float[4,4,1,1] w, float[4,1,1,1] u, int64[2] s, float[16,3] d)
           => (float[2,3] y) { a = Conv (x, w) b = Conv <group = 4> (a, u) r = Reshape (b, s)
           y = MatMul (r, d) }""",
        w=w,
        u=np.ones((4, 1, 1, 1), "f"),
        s=np.array([0, 16]),
        d=rng.normal(size=(16, 3)).astype("f"),
    )
    done = apply(model, PruneChannels(ratio=0.25))
    assert [
        item.i for n in done.after.graph.node for item in n.attribute if item.name == "group"
    ] == [3]
    assert done.constant(done.node("Reshape").input[1]).tolist() == [2, 12]
    same(done, terms=16)


def test_grouped_convolutions_lose_the_same_of_each_group(apply, parse, same):
    random = np.random.default_rng(0)
    w, v, u = (
        random.normal(size=s).astype("f4") for s in ((4, 3, 1, 1), (6, 2, 3, 3), (3, 6, 1, 1))
    )
    w[[1, 3]] = v[[2, 5]] = 0
    model = parse(
        """g (float[1,3,4,4] x, float[4,3,1,1] w, float[6,2,3,3] v, float[3,6,1,1] u) => (float[1,3,2,2] y)
           { a = Conv (x, w) b = Conv <group = 2> (a, v) y = Conv (b, u) }""",
        w=w,
        v=v,
        u=u,
    )
    done = apply(model, PruneChannels(ratio=0.4, align=1))
    assert done.constant("v").shape == (4, 1, 3, 3)
    same(done, terms=20)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0}, "between 0 and 1"),
        ({"ratio": -0.1, "groups": "a=0.5"}, "between 0 and 1"),
        ({"groups": "a=1.0"}, "'a' has the ratio 1.0; it is 0 or more, below 1"),
        ({"groups": "a=half"}, "groups: 'a=half' is not a name, = and a number"),
        ({"groups": "a"}, "groups: 'a' is not a name, = and a number"),
        ({"groups": "a=0.5;a=0.25"}, "groups: 'a' is named twice"),
        ({"ratio": 1.0}, "between 0 and 1"),
        ({"align": -1}, "number of channels"),
        ({"norm": "l3"}, '"l1" or "l2"'),
        ({"method": "guess"}, '"norm", "replace" or "fit"'),
    ],
)
def test_options_out_of_bounds(options, message):
    with pytest.raises(ValueError, match=message):
        PruneChannels(**options)


RESIDUAL = """g (float[1,4,6,6] x, float[16,4,1,1] w, float[16,16,1,1] v, float[32,16,1,1] u, float[8] b,
                 float[32,8] d) => (float[1,8] y)
    { [first] a = Conv (x, w) [second] c = Conv (a, v) [sum] s = Add (a, c) [third] e = Conv (s, u)
      [pool] p = GlobalAveragePool (e) [flat] f = Flatten (p) [head] y = Gemm (f, d, b) }"""


@pytest.fixture
def residual(parse):
    rng = np.random.default_rng(0)
    shapes = {"w": (16, 4, 1, 1), "v": (16, 16, 1, 1), "u": (32, 16, 1, 1), "b": (8,), "d": (32, 8)}
    return parse(RESIDUAL, **{name: rng.normal(size=s).astype("f") for name, s in shapes.items()})


def test_what_is_offered(residual, evidence):
    offer = PruneChannels.offer(ir.from_proto(residual), evidence.capability)
    assert offer.options == {"method": ("replace", "fit")}
    assert offer.uncalibrated == {"method": ("norm",)}
    first, third = offer.parts
    # 16 channels in blocks of 8 keep 16 or 8, 32 keep 32, 24, 16 or 8: a ratio for each.
    assert first == Part("first", (0.0, 0.5), ("first", "second", "third"), 64 + 256 + 512)
    assert third == Part("third", (0.0, 0.25, 0.5, 0.75), ("third", "head"), 512 + 256)


def test_large_models_are_not_fitted_by_the_search(real, evidence):
    model = ir.from_proto(real("mlperf_tiny_mobilenet_vww"))
    assert PruneChannels.offer(model, evidence.capability).options == {"method": ("replace",)}


def test_each_level_that_is_offered_keeps_another_number(apply, real, real_name, evidence):
    fused = apply(real(real_name), Clean(), Fuse()).after
    for part in PruneChannels.offer(ir.from_proto(fused), evidence.capability).parts:
        sizes = [parameters(fused)]
        for level in part.levels[1:]:
            pruning = PruneChannels(groups=join_values({part.name: level}), ratio=0.0)
            sizes.append(parameters(apply(fused, pruning).after))
        assert sizes == sorted(set(sizes), reverse=True)


@pytest.mark.parametrize(
    ("levels", "text"),
    [
        ({"a": 0.0, "b": 0.0}, None),
        ({"a": 0.5, "b": 0.5}, "prune{ratio=0.5}"),
        ({"a": 0.5, "b": 0.0, "c": 0.0}, 'prune{groups="a=0.5",ratio=0.0}'),
        ({"a": 0.5, "b": 0.5, "c": 0.0}, 'prune{groups="c=0.0",ratio=0.5}'),
        ({"a;b": 0.5, "c": 0.0}, 'prune{groups="a\\\\;b=0.5",ratio=0.0}'),
    ],
)
def test_levels_become_a_step(levels, text):
    step = PruneChannels.step(levels, {})
    assert (str(step) if step else None) == text


def test_shares_are_to_single_channels(apply, residual):
    step = PruneChannels.gradual({"first": 0.12345, "third": 0.4}, {"method": "norm"})
    assert str(step) == 'prune{align=1,groups="third=0.4",method=norm,ratio=0.123}'
    done = apply(residual, PruneChannels(**dict(step.options)))
    notes = {note.node: note.text for note in done.notes}
    assert notes["first"].startswith("kept 14 of 16 channels")
    assert notes["third"] == "kept 19 of 32 channels"
    assert PruneChannels.gradual({"first": 0.0, "third": 0.0}, {}) is None


def test_groups_with_a_ratio_of_their_own(apply, residual):
    done = apply(residual, PruneChannels(groups="third=0.75", ratio=0.0))
    assert [list(i.dims) for i in done.after.graph.initializer if i.name in "wu"] == [
        [16, 4, 1, 1],
        [8, 16, 1, 1],
    ]
    notes = {note.node: note.text for note in done.notes}
    assert notes["first"] == "kept all 16: its ratio is 0"
    assert notes["third"] == "kept 8 of 32 channels"
    assert apply(residual, PruneChannels(groups="first=0", ratio=0.75)).after == done.after


def test_a_group_that_is_not_there(apply, residual):
    with pytest.raises(
        PassError, match="groups names 'thrid', which the model lacks; did you mean 'third'"
    ):
        apply(residual, PruneChannels(groups="thrid=0.5"))


def test_a_layer_with_two_groups_numbers_them(parse):
    model = parse(
        """g (float[1,4,2,2] x, float[6,4,1,1] w, int64[2] n, float[2,2,1,1] u, float[2,4,1,1] v)
           => (float[1,2,2,2] y, float[1,2,2,2] z)
           { [conv] a = Conv (x, w) b, c = Split <axis = 1> (a, n) y = Conv (b, u) z = Conv (c, v) }""",
        w=np.ones((6, 4, 1, 1), "f"),
        n=np.array([2, 4]),
        u=np.ones((2, 2, 1, 1), "f"),
        v=np.ones((2, 4, 1, 1), "f"),
    )
    names = [group.name for group in coupling_groups(ir.from_proto(model))]
    assert len(set(names)) == len(names)
    assert "conv" in names
