"""Tests of leaving out residual blocks."""

import numpy as np
import onnx_ir as ir
import pytest
from budgetc_passes.architecture.blocks import DropBlocks, residual_blocks
from budgetc_passes.contract import Evidence, PassError

from .conftest import compare, execute, parse_model

CHANNELS = 5

RESIDUAL = f"""g (float[1,{CHANNELS},6,6] x) => (float[1,{CHANNELS},6,6] y)
    {{ [a1] a1 = Conv <pads = [1,1,1,1]> (x, w1) ar = Relu (a1) [a2] a2 = Conv (ar, w2)
      [first] s = Add (x, a2)
      [b1] b1 = Conv (s, w3) br = Relu (b1) [b2] b2 = Conv (br, w4) [p] p = Conv (s, w5)
      [second] y = Add (b2, p) }}"""


def residual(strength, seed=0):
    """Two blocks, the second with a projection; the branch of the first is of this strength."""
    random = np.random.default_rng(seed)
    sizes = {"w1": 3, "w2": 1, "w3": 1, "w4": 1, "w5": 1}
    weights = {
        name: random.normal(size=(CHANNELS, CHANNELS, k, k)).astype("f4") / CHANNELS
        for name, k in sizes.items()
    }
    weights["w2"] *= strength
    return parse_model(RESIDUAL, **weights)


def samples(count=16):
    random = np.random.default_rng(1)
    return [{"x": random.normal(size=(1, CHANNELS, 6, 6)).astype("f4")} for _ in range(count)]


@pytest.fixture
def calibrated(evidence):
    """As for a model that no pass has measured before."""
    return Evidence(evidence.capability, samples)


def dropped(model, evidence, **options):
    result = DropBlocks(**options).run(ir.from_proto(model), evidence)
    return ir.to_proto(result.model), result.notes


def test_blocks_of_a_real_network(real):
    """The first has an empty shortcut, the others a convolution of one tap for each pixel."""
    model = ir.from_proto(real("mlperf_tiny_resnet8_cifar10"))
    found = residual_blocks(model)
    assert [block.end.name for block in found] == ["add", "add_1", "add_2"]
    assert [block.shortcut.producer().op_type for block in found] == ["Relu", "Conv", "Conv"]
    assert {block.axis for block in found} == {1}


def test_networks_without_blocks_stay_as_they_are(apply, real, evidence):
    for name in ("animalmnist_dscnn", "mtcnn_rnet", "japanesevowels_gru"):
        done = apply(real(name), DropBlocks())
        assert not done.modified
        assert done.refusals() == ["there is no residual block: left as it was"]


def test_the_block_that_adds_least_goes(calibrated):
    after, notes = dropped(residual(0.001), calibrated)
    assert [node.op_type for node in after.graph.node] == [
        "Mul", "Add", "Conv", "Relu", "Conv", "Conv", "Add",
    ]  # fmt: skip
    assert [note.node for note in notes] == ["first", "second"]
    assert notes[0].text == "left out: without it 0.0% of the variance behind it are missed"
    assert notes[1].kind == "refused"
    assert notes[1].text.startswith("kept: without it ")
    one = samples()[0]
    compare(execute(after, one)["y"], execute(residual(0.001), one)["y"], relative=0.01)


def test_a_projection_stays_where_its_branch_goes(calibrated):
    after, notes = dropped(residual(1.0), calibrated, blocks="second")
    assert [node.name for node in after.graph.node if node.op_type == "Conv"] == ["a1", "a2", "p"]
    assert [note.kind for note in notes] == ["refused", "did"]
    assert after.graph.output[0].name == "y"


def test_both(calibrated):
    after, _ = dropped(residual(1.0), calibrated, count=7)
    assert [node.op_type for node in after.graph.node] == ["Mul", "Add", "Conv", "Mul", "Add"]


def test_scale_and_shift_are_those_of_least_squares(calibrated):
    model = residual(2.0)
    after, notes = dropped(model, calibrated, blocks="first")
    held = {i.name: np.asarray(ir.from_proto(i).numpy()) for i in after.graph.initializer}
    shown = ir.from_proto(model)
    shown.graph.outputs.append(next(n for n in shown.graph if n.name == "first").outputs[0])
    proto = ir.to_proto(shown)
    s = np.concatenate([each["x"][0].reshape(CHANNELS, -1) for each in samples()], axis=1)
    y = np.concatenate([execute(proto, e)["s"][0].reshape(CHANNELS, -1) for e in samples()], axis=1)
    missed = 0.0
    for channel in range(CHANNELS):
        wanted = np.polyfit(s[channel], y[channel], 1)
        got = [held[f"first.{what}"].reshape(-1)[channel] for what in ("scales", "shifts")]
        np.testing.assert_allclose(got, wanted, atol=0.01)
        missed += ((y[channel] - np.polyval(wanted, s[channel])) ** 2).mean()
    share = missed / y.var(axis=1).sum()
    assert notes[0].text == f"left out: without it {share:.1%} of the variance behind it are missed"


def test_channels_that_never_change_go_by_unscaled(evidence):
    still = Evidence(evidence.capability, lambda: [{"x": np.zeros((1, CHANNELS, 6, 6), "f4")}])
    after, _ = dropped(residual(1.0), still, blocks="first")
    held = {i.name: np.asarray(ir.from_proto(i).numpy()) for i in after.graph.initializer}
    assert (held["first.scales"] == 1).all()
    assert (held["first.shifts"] == 0).all()


@pytest.mark.parametrize(
    "text",
    [
        "a = Conv (x, w) b = Conv (x, w) y = Add (a, b)",  # neither goes by
        "a = Conv (x, w) y = Add (a, k)",
        "a = Conv (x, w) p = GlobalAveragePool (x) y = Add (a, p)",  # not of one shape
        "a = Conv (x, w) r = Relu (z) y = Add (a, r)",  # of something else
    ],
)
def test_sums_that_are_no_blocks(parse, text):
    model = parse(
        f"g (float[1,4,6,6] x, float[1,4,6,6] z) => (float[1,4,6,6] y) {{ {text} }}",
        w=np.ones((4, 4, 1, 1), "f"),
        k=np.ones((4, 1, 1), "f"),
    )
    assert residual_blocks(ir.from_proto(model)) == []


def test_a_block_that_is_not_there(calibrated):
    with pytest.raises(
        PassError, match="blocks names 'frist', which the model lacks; did you mean"
    ):
        dropped(residual(1.0), calibrated, blocks="frist")


def test_count_is_bounded():
    with pytest.raises(ValueError, match="count is 0; it is 1 or more"):
        DropBlocks(count=0)
