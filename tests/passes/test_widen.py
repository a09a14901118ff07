"""Tests of widening: more channels, and the same answers."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from budgetc_passes.cleanup.clean import Clean
from budgetc_passes.contract import PassError
from budgetc_passes.fusion.fuse import Fuse
from budgetc_passes.growth.widen import Widen, grown
from budgetc_passes.pruning.channels import PruneChannels
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import compare, execute, parse_model, random_feeds

EQUAL = 1e-5


def parameters(model):
    return sum(onnx.numpy_helper.to_array(item).size for item in model.graph.initializer)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("ratio", [1.0, 0.4])
def test_real_models_compute_what_they_did(apply, real, same, real_name, *, ratio, fused):
    ready = apply(real(real_name), Clean(), *([Fuse()] if fused else [])).after
    done = apply(ready, Widen(ratio=ratio))
    if real_name == "japanesevowels_gru":
        assert not done.modified
        return
    assert parameters(done.after) > (1.3 + ratio) * parameters(ready)
    same(done, relative=EQUAL)


def test_what_was_widened_can_be_pruned_again(apply, real, same):
    """Copies can stand in for each other, so that half of all channels are not missed."""
    ready = apply(real("mnist5k_cnn"), Clean(), Fuse()).after
    wide = apply(ready, Widen(ratio=1.0)).after
    assert parameters(apply(wide, PruneChannels(ratio=0.5)).after) == parameters(ready)


@st.composite
def networks(draw):
    """Convolutions of all kinds in a row, residuals and concatenations, and a head in one layout or the other."""
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    constants: dict[str, np.ndarray] = {}
    lines: list[str] = []

    def held(*shape):
        name = f"k{len(constants)}"
        constants[name] = (random.normal(size=shape) / np.prod(shape[1:]) ** 0.5).astype("f4")
        return name

    def conv(value, channels, out, group=1, kernel=1):
        name = f"c{len(lines)}"
        pads = kernel // 2
        weight, bias = held(out, channels // group, kernel, kernel), held(out)
        lines.append(
            f"{name} = Conv <group = {group}, pads = [{pads},{pads},{pads},{pads}]> ({value}, {weight}, {bias})"
        )
        return name

    def then(text):
        lines.append(f"v{len(lines)} = {text}")
        return lines[-1].split(" ")[0]

    channels = draw(st.sampled_from([2, 4, 6, 12]))
    value = then(f"Relu ({conv('x', 3, channels, kernel=3)})")
    kinds = (
        "depthwise",
        "multiplied",
        "grouped",
        "residual",
        "gated",
        "twice",
        "norm",
        "pointwise",
    )
    for kind in draw(st.lists(st.sampled_from(kinds), max_size=4)):
        if kind == "depthwise":
            value = conv(value, channels, channels, group=channels, kernel=3)
        elif kind == "multiplied":
            value, channels = conv(value, channels, 2 * channels, group=channels), 2 * channels
        elif kind == "grouped" and channels % 2 == 0:
            value = conv(value, channels, channels, group=2)
        elif kind == "residual":
            other = then(f"Relu ({conv(value, channels, channels, kernel=3)})")
            value = then(f"Add ({value}, {other})")
        elif kind == "gated":
            squeezed = then(f"GlobalAveragePool ({value})")
            inner = then(f"Relu ({conv(squeezed, channels, 2)})")
            gate = then(f"Sigmoid ({conv(inner, 2, channels)})")
            value = then(f"Mul ({value}, {gate})")
        elif kind == "twice":
            value, channels = (
                then(f"Concat <axis = 1> ({value}, {conv(value, channels, 4)})"),
                channels + 4,
            )
        elif kind == "norm":
            constants[f"k{len(constants)}"] = random.uniform(0.5, 2, channels).astype("f4")
            spread = f"k{len(constants) - 1}"
            value = then(
                f"BatchNormalization ({value}, {held(channels)}, {held(channels)}, {held(channels)}, {spread})"
            )
        else:
            out = draw(st.sampled_from([1, 2, 8]))
            value, channels = conv(value, channels, out), out
    head = draw(st.sampled_from(["flatten", "last", "pooled"]))
    if head == "last":
        value = then(f"Transpose <perm = [0,2,3,1]> ({value})")
    if head == "pooled":
        value = then(f"GlobalAveragePool ({value})")
    columns = channels * (1 if head == "pooled" else 20)
    flat = then(f"Flatten ({value})")
    lines.append(f"y = Gemm ({flat}, {held(columns, 3)})")
    text = f"g (float[1,3,4,5] x) => (float[1,3] y) {{ {' '.join(lines)} }}"
    return parse_model(text, **constants)


@settings(max_examples=60, deadline=None)
@given(
    model=networks(),
    ratio=st.floats(0.1, 2.5),
    align=st.sampled_from([1, 1, 4]),
)
def test_any_network_computes_what_it_did(evidence, model, ratio, align):
    result = Widen(ratio=ratio, align=align).run(ir.from_proto(model), evidence)
    after = ir.to_proto(result.model)
    onnx.checker.check_model(after, full_check=True)
    feeds = random_feeds(model)
    compare(execute(after, feeds)["y"], execute(model, feeds)["y"], relative=EQUAL)


def test_grouped_convolutions_grow_group_by_group(apply, parse, same):
    random = np.random.default_rng(0)
    model = parse(
        """g (float[1,3,4,4] x, float[4,3,1,1] w, float[6,2,3,3] v, float[3,6,1,1] u) => (float[1,3,2,2] y)
           { [a] a = Conv (x, w) [b] b = Conv <group = 2> (a, v) y = Conv (b, u) }""",
        w=random.normal(size=(4, 3, 1, 1)).astype("f4"),
        v=random.normal(size=(6, 2, 3, 3)).astype("f4"),
        u=random.normal(size=(3, 6, 1, 1)).astype("f4"),
    )
    done = apply(model, Widen(ratio=0.5, align=1))
    same(done, relative=EQUAL)
    assert done.constant("v").shape == (10, 3, 3, 3)


def test_notes_name_every_group(apply, real):
    done = apply(real("mlperf_tiny_resnet8_cifar10"), Clean(), Fuse(), Widen(ratio=0.5))
    notes = {note.node: (note.kind, note.text) for note in done.notes if "channels" in note.text}
    assert notes["conv2d"] == ("did", "24 channels instead of 16, with conv2d_2")
    refused = {note.node: note.text for note in done.notes if note.kind == "refused"}
    assert refused["dense"].startswith("left at 10: dense_sm (Softmax) mixes")


@pytest.mark.parametrize(
    ("total", "ratio", "block", "wanted"),
    [(16, 1.0, 8, 32), (16, 0.5, 8, 24), (16, 0.1, 8, 16), (12, 0.5, 1, 18), (3, 1.0, 8, 6),
     (2, 0.1, 8, 2), (28, 1.0, 8, 56), (12, 0.1, 8, 16)],
)  # fmt: skip
def test_how_many_there_are_then(total, ratio, block, wanted):
    assert grown(total, ratio, block) == wanted


PLAIN = """g (float[1,3,4,4] x, float[4,3,1,1] w, float[2,4,1,1] v) => (float[1,2,4,4] y)
           { [first] a = Conv (x, w) r = Relu (a) [second] y = Conv (r, v) }"""


@pytest.fixture
def plain(parse):
    random = np.random.default_rng(0)
    w, v = random.normal(size=(4, 3, 1, 1)), random.normal(size=(2, 4, 1, 1))
    return parse(PLAIN, w=w.astype("f4"), v=v.astype("f4"))


def test_copies_lie_behind_their_channels_and_share_what_is_read_of_them(apply, plain):
    done = apply(plain, Widen(ratio=0.5, align=1))
    before = {i.name: onnx.numpy_helper.to_array(i) for i in plain.graph.initializer}
    np.testing.assert_array_equal(done.constant("w"), before["w"][[0, 1, 1, 2, 3, 3]])
    np.testing.assert_array_equal(
        done.constant("v"),
        (before["v"] * np.array([1, 0.5, 1, 0.5], "f").reshape(1, 4, 1, 1))[:, [0, 1, 1, 2, 3, 3]],
    )


def test_noise_moves_copies_alone_and_is_the_same_for_a_seed(apply, plain):
    exact, one, again, other = (
        apply(plain, Widen(align=1, noise=noise, seed=seed))
        for noise, seed in ((0, 0), (0.1, 0), (0.1, 0), (0.1, 1))
    )
    assert one.after == again.after != other.after
    moved = np.abs(one.constant("w") - exact.constant("w")).max(axis=(1, 2, 3))
    assert (moved[::2] == 0).all()
    assert (moved[1::2] > 0).all()
    assert moved.max() < 0.5 * np.abs(exact.constant("w")).max()
    np.testing.assert_array_equal(one.constant("v"), exact.constant("v"))


def test_groups_with_a_ratio_of_their_own(apply, plain):
    done = apply(plain, Widen(ratio=0.0, groups="first=0.25", align=1))
    assert done.constant("w").shape == (5, 3, 1, 1)
    assert apply(plain, Widen(ratio=1.0, groups="first=0")).refusals() == [
        "left at 4: its ratio is 0",
        "left at 2: y is an output of the model",
    ]
    with pytest.raises(PassError, match="groups names 'frist', which the model lacks; did you mea"):
        apply(plain, Widen(groups="frist=1.0"))


@pytest.mark.parametrize(
    ("lines", "out", "constants", "reason"),
    [
        (
            "[a] a = Conv (x, w) f = Flatten (a) [b] b = Gemm (z, u) t = Transpose (b) y = MatMul (f, t)",
            "1,3",
            {"w": (8, 3, 1, 1), "u": (3, 128)},
            "MatMul(y) (MatMul) has no constant weights to divide",
        ),
        (
            "c = Conv (x, w) [a] a = Conv <group = 2> (c, v) y = Conv (a, u)",
            "1,3,4,4",
            {"w": (4, 3, 1, 1), "v": (2, 2, 1, 1), "u": (3, 2, 1, 1)},
            "one channel alone does not tell how it is laid out",
        ),
        (
            "[a] a = Conv (x, w) b = Conv (a, v) c = Conv (x, v) y = Add (b, c)",
            "1,2,4,4",
            {"w": (3, 3, 1, 1), "v": (2, 3, 1, 1)},
            "x is an input of the model",
        ),
        (
            "[a] a = Conv (x, w) p = GlobalAveragePool (a) f = Flatten (p) g = Gemm <transB = 1> (f, v) "
            "q = MatMul (v, u) y = Add (g, q)",
            "3,3",
            {"w": (5, 3, 1, 1), "v": (3, 5), "u": (5, 3)},
            "MatMul(q) (MatMul) reads the weights of Gemm(g)",
        ),
    ],
)
def test_what_cannot_grow_is_refused(apply, parse, lines, out, constants, reason):
    declared = "".join(f", float{list(shape)} {name}" for name, shape in constants.items())
    arrays = {name: np.ones(shape, "f") for name, shape in constants.items()}
    model = parse(
        f"g (float[1,3,4,4] x, float[3,3] z{declared}) => (float[{out}] y) {{ {lines} }}", **arrays
    )
    done = apply(model, Widen())
    assert not any(note.node == "a" and note.kind == "did" for note in done.notes)
    (text,) = [note.text for note in done.notes if note.node == "a"]
    assert reason in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ratio": -0.5}, "ratio is -0.5; it is the share"),
        ({"ratio": 17}, "at most 16"),
        ({"ratio": 0}, "nothing would grow"),
        ({"groups": "a=-1"}, "groups: 'a' is -1.0"),
        ({"groups": "a"}, "groups: 'a' is not a name, = and a number"),
        ({"align": -1}, "number of channels"),
        ({"noise": 2}, "share between 0 and 1"),
        ({"seed": -1}, "0 or more"),
    ],
)
def test_options_out_of_bounds(options, message):
    with pytest.raises(ValueError, match=message):
        Widen(**options)


def test_what_is_worth_trying_is_twice_and_four_times_as_wide(apply, plain):
    sizes = [apply(plain, Widen(**dict(step.options))).notes[0].text for step in Widen.growths()]
    assert [dict(step.options)["noise"] > 0 for step in Widen.growths()] == [True, True]
    assert [text.split()[0] for text in sizes] == sorted(
        (text.split()[0] for text in sizes), key=int
    )
