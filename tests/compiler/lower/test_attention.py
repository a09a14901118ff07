"""Forming attention: what becomes one operation, what is left as it was, and whole libraries with it."""

import numpy as np
import onnx
import pytest
from budgetc.baseline import make_session
from budgetc.lower.lower import lower, prepare
from budgetc.lower.sharing import share_kernels
from budgetc.lower.steps import WORK_OF_SWEEPS
from budgetc.model import parse_model
from budgetc.registry import find_target

QKV = "float[2,3,5,8] q, float[2,3,8,9] k, float[2,3,9,4] v"
PLAIN = "a = MatMul(q, k)  p = Softmax(a)  y = MatMul(p, v)"


@pytest.fixture
def prepared(make_model):
    """The graph of nodes, chosen and fused: `prepared(nodes, inputs=QKV, outputs="float[2,3,5,4] y", weights="")`."""

    def make(nodes, inputs=QKV, outputs="float[2,3,5,4] y", weights="", opset=17):
        text = f"g ({inputs}) => ({outputs}) <float s = {{0.35}}{weights}> {{ {nodes} }}"
        model = parse_model(make_model(text, opset).SerializeToString(), "test.onnx")
        return prepare(model.data, kinds={"attention"})

    return make


def kinds(graph):
    return [op.kind for op in graph.operations]


@pytest.mark.parametrize(
    ("nodes", "more"),
    [
        (PLAIN, ""),
        ("a = MatMul(q, k)  b = Mul(a, s)  p = Softmax<axis=3>(b)  y = MatMul(p, v)", ""),
        (
            "a = MatMul(q, k)  b = Div(a, s)  c = Add(b, m)  p = Softmax(c)  o = MatMul(p, v)  y = Relu(o)",
            ", float[2,1,1,9] m",
        ),
        (
            "a = MatMul(q, k)  b = Where(m, a, s)  p = Softmax(b)  y = MatMul(p, v)",
            ", bool[5,9] m",
        ),
        (
            "a = MatMul(q, k)  p = Softmax(a)  d = Mul(p, m)  o = MatMul(d, v)  y = Add(o, r)",
            ", float[3,1,9] m, float[5,4] r",
        ),
    ],
)
def test_what_is_between_the_products_becomes_expressions(prepared, nodes, more):
    graph = prepared(nodes, QKV + more)
    assert kinds(graph) == ["attention"]
    assert graph.operations[0].inputs[:3] == ("q", "k", "v")


@pytest.mark.parametrize(
    ("nodes", "inputs", "outputs"),
    [
        (PLAIN, QKV, "float[2,3,5,4] y, float[2,3,5,9] p"),
        (f"{PLAIN}  z = Relu(a)", QKV, "float[2,3,5,4] y, float[2,3,5,9] z"),
        (PLAIN.replace("Softmax", "Softmax<axis=2>"), QKV, "float[2,3,5,4] y"),
        (PLAIN.replace("Softmax", "LogSoftmax"), QKV, "float[2,3,5,4] y"),
        (PLAIN.replace("(p, v)", "(v, p)"), QKV.replace("9,4", "4,5"), "float[2,3,4,9] y"),
        (
            PLAIN,
            QKV.replace("[2,3,5,8] q", "[1,3,5,8] q").replace("[2,3,8,9] k", "[1,3,8,9] k"),
            "float[2,3,5,4] y",
        ),
        (
            "a = MatMul(q, k)  b = Add(a, m)  p = Softmax(b)  y = MatMul(p, v)",
            "float[5,8] q, float[8,9] k, float[9,4] v, float[3,5,9] m",
            "float[3,5,4] y",
        ),
    ],
    ids=[
        "weights read",
        "scores read",
        "columns",
        "logarithm",
        "on the right",
        "broadcast",
        "grown",
    ],
)
def test_what_is_no_attention_stays_as_it_was(prepared, nodes, inputs, outputs):
    found = kinds(prepared(nodes, inputs, outputs))
    assert "attention" not in found
    assert found.count("matmul") == 2


def test_too_many_operands_are_left_to_kernels_apart(prepared):
    names = [f"m{i}" for i in range(9)]
    sums = "  ".join(f"t{i} = Add({f't{i - 1}' if i else 'a'}, m{i})" for i in range(9))
    ports = ", ".join(f"float[5,9] {n}" for n in names)
    nodes = f"a = MatMul(q, k)  {sums}  p = Softmax(t8)  y = MatMul(p, v)"
    assert "attention" not in kinds(prepared(nodes, f"{QKV}, {ports}"))


def test_a_target_without_such_a_kernel_has_the_parts(walked):
    text = f"""g ({QKV}, float[9] m) => (float[2,3,5,4] y)
    {{ a = MatMul(q, k)  p = Softmax(a)  d = Mul(p, m)  y = MatMul(d, v) }}"""
    families = [f for f in find_target("host").families() if f.kind != "attention"]
    steps = walked(text, families=families)
    assert [s.task.kind for s in steps.steps] == ["matmul", "softmax", "elementwise", "matmul"]
    (one,) = walked(text).steps
    assert one.macs == sum(s.macs for s in steps.steps)


def test_layers_that_differ_in_numbers_share_the_kernel(walked):
    layer = "a{0} = MatMul({1}, k)  l{0} = LeakyRelu<alpha={2}>(a{0})  p{0} = Softmax(l{0})  {3} = MatMul(p{0}, v)"
    steps = walked(
        f"""g (float[5,8] q, float[8,9] k, float[9,8] v) => (float[5,8] y)
        {{ {layer.format(0, "q", 0.1, "x")}  {layer.format(1, "x", 0.2, "y")} }}"""
    )
    first, second = (s.task for s in steps.steps)
    assert first != second
    share_kernels([steps])
    first, second = (s.task for s in steps.steps)
    assert first == second
    assert first.numbers == 1
    values = [steps.graph.constants[s.operands[-1].storage].view(np.float32) for s in steps.steps]
    np.testing.assert_allclose(values, [[0.1], [0.2]], rtol=1e-6)


def test_scores_take_a_block_of_the_arena_and_not_all_of_it(make_model, host):
    text = (
        "g (float[1,4,512,64] q, float[1,4,64,512] k, float[1,4,512,64] v) => (float[1,4,512,64] y)"
    )
    model = parse_model(make_model(f"{text} {{ {PLAIN} }}").SerializeToString(), "test.onnx")
    arenas = []
    for threads in (1, 2):
        sheet = host.model_copy(update={"threads": threads})
        (lowered,) = lower([model.data], find_target("host"), sheet).entries
        (call,) = lowered.calls
        assert call.arguments[-1].region == "arena"
        (layer,) = lowered.layers
        assert layer.operator == "attention"
        assert layer.macs == 2 * 4 * 512 * 512 * 64
        assert layer.slots == 4 * 512 * 512 * WORK_OF_SWEEPS["attention"]
        arenas.append(lowered.arena_bytes)
    assert 8 * 512 * 4 <= arenas[0] <= 16 * 544 * 4
    assert arenas[0] < arenas[1] <= 2 * arenas[0]


MASKED = """g (float[2,12,32] x, bool[2,1,1,12] there, float[12,12] before) => (float[2,12,32] y)
<int64[4] split = {2,12,4,8}, int64[3] join = {2,12,32}, float s = {0.35}, float none = {-1e9}>
{ q = MatMul(x, wq)  k = MatMul(x, wk)  v = MatMul(x, wv)
  q4 = Reshape(q, split)  k4 = Reshape(k, split)  v4 = Reshape(v, split)
  qt = Transpose<perm=[0,2,1,3]>(q4)  kt = Transpose<perm=[0,2,3,1]>(k4)  vt = Transpose<perm=[0,2,1,3]>(v4)
  a = MatMul(qt, kt)  b = Mul(a, s)  c = Add(b, before)  d = Where(there, c, none)  p = Softmax(d)
  o = MatMul(p, vt)  ot = Transpose<perm=[0,2,1,3]>(o)  oj = Reshape(ot, join)  y = Add(oj, x) }"""


@pytest.mark.parametrize("threads", [1, 3])
def test_heads_with_masks_are_what_onnxruntime_computes(check_float, weights, threads):
    names = {n: weights(32, 32, seed=i) / np.float32(6) for i, n in enumerate(("wq", "wk", "wv"))}
    library = check_float(MASKED, terms=200, threads=threads, **names)
    assert library.kernels.count("attention") == 1
    assert not {"matmul", "softmax"} & set(library.kernels)


def test_queries_may_share_keys_and_values(check_float):
    library = check_float(
        """g (float[1,6,5,8] q, float[1,2,8,9] k, float[1,2,9,4] v) => (float[1,6,5,4] y)
        <int64[4] groups = {2,3,5,8}, int64[4] one = {2,1,8,9}, int64[4] other = {2,1,9,4}, int64[4] all = {1,6,5,4}>
        { g = Reshape(q, groups)  h = Reshape(k, one)  w = Reshape(v, other)
          a = MatMul(g, h)  p = Softmax(a)  o = MatMul(p, w)  y = Reshape(o, all) }""",
        terms=60,
    )
    assert library.kernels.count("attention") == 1
    assert not {"matmul", "softmax"} & set(library.kernels)


def test_the_operator_of_onnx_becomes_it(check_float):
    library = check_float(
        """g (float[1,2,9,8] q, float[1,2,9,8] k, float[1,2,9,8] v) => (float[1,2,9,8] y)
        { y = Attention<is_causal=1>(q, k, v) }""",
        opset=23,
        terms=100,
    )
    assert library.kernels.count("attention") == 1


def test_quantised_heads_are_what_onnxruntime_computes(
    quantised, build_library, inputs_of, weights
):
    text = """g (float[1,9,16] x) => (float[1,9,16] y)
    { q = MatMul(x, wq)  k = MatMul(x, wk)  t = Transpose<perm=[0,2,1]>(k)
      a = MatMul(q, t)  p = Softmax(a)  v = MatMul(x, wv)  y = MatMul(p, v) }"""
    names = {n: weights(16, 16, seed=i) / np.float32(6) for i, n in enumerate(("wq", "wk", "wv"))}
    proto = quantised(text, **names)
    library = build_library(proto)
    assert "attention" in library.kernels
    oracle = make_session(proto.SerializeToString(), exact_integers=True)
    (port,) = proto.graph.output
    step = max(
        float(onnx.numpy_helper.to_array(t))
        for t in proto.graph.initializer
        if "scale" in t.name and t.dims == []
    )
    for seed in range(3):
        feed = inputs_of(library.model, seed)
        ours, theirs = library.run(feed)[port.name], oracle.run(feed)[port.name]
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1.01 * step)
        assert np.mean(ours != theirs) < 0.05, "a weight at a tie is rare"
