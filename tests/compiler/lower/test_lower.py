"""The whole of lowering: stages in order, shared kernels, shared constants, memory within the arena."""

import numpy as np
import pytest
from budgetc.baseline import make_session
from budgetc.lower.lower import lower, prepare, write
from budgetc.lower.points import default_point, one_by_one
from budgetc.model import parse_model
from budgetc.registry import find_target

ITEM = {"float32": 4, "uint8": 1}


@pytest.fixture
def lower_text(make_model, host):
    def run(text, **weights):
        model = parse_model(make_model(text, **weights).SerializeToString(), "test.onnx")
        return lower([model.data], find_target("host"), host)

    return run


@pytest.fixture
def network(weights):
    text = """g (float[1,8,12,12] x) => (float[1,10] y)
    { a = Conv<pads=[1,1,1,1]>(x, w1)  b = Relu(a)  c = Conv<pads=[1,1,1,1]>(b, w2)  d = Relu(c)  e = Add(b, d)
      m = MaxPool<kernel_shape=[2,2], strides=[2,2]>(e)  f = Flatten(m)  y = Gemm(f, v, k) }"""
    given = {
        "w1": weights(8, 8, 3, 3),
        "w2": weights(8, 8, 3, 3, seed=1),
        "v": weights(288, 10),
        "k": weights(10),
    }
    return text, given


def test_one_operation_is_left_for_each_kernel(make_model, network):
    text, given = network
    model = parse_model(make_model(text, **given).SerializeToString(), "test.onnx")
    graph = prepare(model.data)
    assert [op.kind for op in graph.operations if op.kind != "view"] == [
        "convolution",
        "convolution",
        "pooling",
        "product",
    ]


def test_it_runs(check_float, network):
    text, given = network
    library = check_float(text, terms=0, **given)
    kinds = [kind.replace("winograd", "convolution") for kind in library.kernels]
    assert kinds == ["elementwise", "convolution", "convolution", "pooling", "convolution"]
    assert library.lowered.arena_lower_bound <= library.lowered.arena_bytes


def test_equal_work_shares_a_kernel_and_equal_constants_their_bytes(lower_text, weights):
    text = """g (float[1,16,6,6] x) => (float[1,16,6,6] y)
    { a = Relu(x)  b = Conv<pads=[1,1,1,1]>(a, w)  c = Conv<pads=[1,1,1,1]>(b, w)  y = Conv<pads=[1,1,1,1]>(c, w) }"""
    code = lower_text(text, w=weights(16, 16, 3, 3))
    names = [call.kernel for call in code.lowered.calls if call.macs]
    assert names[0] == names[1]
    assert len({call.arguments[1].offset for call in code.lowered.calls if call.macs}) == 1
    assert code.lowered.weight_bytes == len(code.weights) < 2 * 16 * 16 * 9 * 4


def test_every_pointer_is_within_its_region(lower_text, network):
    text, given = network
    code = lower_text(text, **given)
    lowered = code.lowered
    limits = {"arena": lowered.arena_bytes, "weights": lowered.weight_bytes}
    for call in lowered.calls:
        for pointer in call.arguments:
            if pointer.region in limits:
                assert 0 <= pointer.offset < limits[pointer.region]
            else:
                ports = lowered.inputs if pointer.region == "input" else lowered.outputs
                port = ports[pointer.index]
                assert pointer.offset < np.prod(port.shape) * ITEM[port.dtype]
        for fill in call.fills:
            end = fill.offset + (fill.rows - 1) * fill.stride + fill.width
            assert 0 <= fill.offset <= end <= lowered.arena_bytes


def test_weights_begin_on_cache_lines(lower_text, network):
    text, given = network
    calls = lower_text(text, **given).lowered.calls
    offsets = {p.offset for c in calls if c.macs for p in c.arguments[1:3] if p.region == "weights"}
    assert len(offsets) >= 4
    assert all(offset % 64 == 0 for offset in offsets)


def test_the_same_model_gives_the_same_bytes(lower_text, network, host, tmp_path):
    text, given = network
    contents = []
    for attempt in ("one", "other"):
        code = lower_text(text, **given)
        folder = tmp_path / attempt
        folder.mkdir()
        objects = [(path.name, path.read_bytes()) for path in write(code, folder)]
        contents.append((objects, (folder / "weights.bin").read_bytes(), code.lowered))
    assert contents[0] == contents[1]


def test_a_chooser_decides_every_kernels_point(make_model, host, network):
    text, given = network
    model = parse_model(make_model(text, **given).SerializeToString(), "test.onnx")
    asked = []

    def choose(works):
        asked.extend((w.family.kind, set(w.constants), w.calls) for w in works)
        return one_by_one(default_point(host))(works)

    lower([model.data], find_target("host"), host, choose)
    assert ("convolution", {"weight", "bias"}, 1) in asked
    assert len(asked) == 5


def test_multiply_accumulates_are_counted(lower_text, weights):
    code = lower_text(
        "g (float[2,4,8,8] x) => (float[2,6,6,6] y) { y = Conv<group=2>(x, w) }",
        w=weights(6, 2, 3, 3),
    )
    assert sum(c.macs for c in code.lowered.calls) == 2 * 6 * 6 * 6 * 2 * 9


def test_a_model_that_computes_nothing_is_a_copy(check_float):
    assert check_float("g (float[3] x) => (float[3] y) { y = Identity(x) }").kernels == [
        "elementwise"
    ]


def test_a_value_that_is_an_output_a_residual_and_read_with_a_border(check_float, weights):
    check_float(
        """g (float[1,3,6,6] x) => (float[1,4,6,6] z, float[1,4,6,6] s)
        { y = Conv<pads=[1,1,1,1]>(x, w)  z = Relu(y)  u = Conv<pads=[2,2,2,2]>(z, v)  s = Add(z, u) }""",
        w=weights(4, 3, 3, 3),
        v=weights(4, 4, 5, 5),
    )


def test_side_inputs_of_every_broadcast_and_order(check_float, weights):
    check_float(
        """g (float[2,3,5,5] x, float[2,5,5,4] a, float[4,1,1] b, float[1,1,5,5] d, float[2,1,1,1] e)
        => (float[2,4,5,5] v)
        { t = Transpose<perm=[0,3,1,2]>(a)  y = Conv<pads=[1,1,1,1]>(x, w)  p = Add(y, t)  q = Mul(p, b)
          r = Sub(q, d)  s = Add(r, e)  v = Tanh(s) }""",
        terms=8,
        w=weights(4, 3, 3, 3),
    )


def test_slices_and_expansions_are_read_in_place(check_float, weights):
    library = check_float(
        """g (float[2,6,5,5] x, float[2,3,1,5] n) => (float[2,4,3,3] a, float[2,4,5,5] b, float[2,4,5,5] c)
        <int64[4] s = {2,3,5,5}>
        { r = Relu(x)  p, q = Split<axis=1>(r)  a = Conv(p, w)  b = Conv<pads=[1,1,1,1]>(q, w)
          e = Expand(n, s)  c = Conv<pads=[1,1,1,1]>(e, w) }""",
        13,
        w=weights(4, 3, 3, 3),
    )
    assert "foreign" not in library.kernels


def test_a_long_chain_neither_recurses_nor_repeats(check_float):
    body = "  ".join(f"a{i + 1} = Sin(a{i})" for i in range(300)).replace("a0)", "x)")
    library = check_float(f"g (float[3] x) => (float[3] a300) {{ {body} }}")
    assert len(library.kernels) < 10


def test_outputs_do_not_depend_on_what_the_workspace_held(build_library, make_model, network):
    text, given = network
    proto = make_model(text, **given)
    library = build_library(proto)
    random = np.random.default_rng(3)
    feeds = [{"x": random.standard_normal((1, 8, 12, 12)).astype(np.float32)} for _ in range(4)]
    first = [library.run(feed)["y"] for feed in feeds]
    for idle in (w for entry in library.run._by_shapes.values() for w in entry._idle):
        idle[:] = 0xFF
    for feed, before in zip(feeds, first, strict=True):
        np.testing.assert_array_equal(library.run(feed)["y"], before)
    expected = make_session(proto.SerializeToString()).run(feeds[0])["y"]
    np.testing.assert_allclose(first[0], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("first", [b"\xfe\xff\0\0", b"\xff\xfe\0\0", b"\xef\xbb\xbf\0"])
def test_weights_that_begin_like_a_mark_of_an_encoding(build_library, make_model, first):
    table = np.frombuffer(first * 4, np.uint8)
    library = build_library(
        make_model("g (uint8[16] x) => (uint8[16] y) { y = Max(x, w) }", w=table)
    )
    x = np.arange(16, dtype=np.uint8) * 17
    np.testing.assert_array_equal(library.run({"x": x})["y"], np.maximum(x, table))


def test_ports_that_hold_nothing(build_library, make_model):
    library = build_library(
        make_model(
            "g (float[3] x, float[0,2] n) => (float[3] y, float[0,2] z) { y = Relu(x)  z = Exp(n) }"
        )
    )
    x = np.array([-1, 0, 2], np.float32)
    made = library.run({"x": x, "n": np.zeros((0, 2), np.float32)})
    assert made["y"].tolist() == [0, 0, 2]
    assert made["z"].shape == (0, 2)
