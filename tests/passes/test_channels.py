"""Tests of pruning channels."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from budgetc_passes.cleanup.clean import Clean
from budgetc_passes.coupling import coupling_groups
from budgetc_passes.fusion.fuse import Fuse
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
    assert notes["conv2d, conv2d_2"] == ("did", "kept 8 of 16 channels")
    assert notes["conv2d_7, conv2d_8"] == ("did", "kept 48 of 64 channels")
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": 0}, "between 0 and 1"),
        ({"ratio": 1.0}, "between 0 and 1"),
        ({"align": -1}, "number of channels"),
        ({"norm": "l3"}, '"l1" or "l2"'),
    ],
)
def test_options_out_of_bounds(options, message):
    with pytest.raises(ValueError, match=message):
        PruneChannels(**options)
