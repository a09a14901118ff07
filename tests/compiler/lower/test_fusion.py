"""Fusion: what is joined, what is not, and that the function stays the same."""

import copy

import numpy as np
import pytest
from budgetc.lower.fusion import MOST_FUNCTIONS, MOST_OPERANDS, fuse
from budgetc.lower.graph import Graph, Operation, Value
from budgetc.lower.selection import select
from budgetc_targets.expression import ACCUMULATOR, Const, Ref, apply, size
from hypothesis import given, settings
from hypothesis import strategies as st

CONV = "c = Conv<pads=[1,1,1,1]>(x, w)"
FUNCTIONS = {
    "add": np.add,
    "mul": np.multiply,
    "sub": np.subtract,
    "max": np.maximum,
    "min": np.minimum,
    "abs": np.abs,
    "sin": np.sin,
}


@pytest.fixture
def fused(make_graph, weights):
    """Selects and fuses a graph over x[1,4,6,6] with the weights w, v."""

    def fuse_text(body, outputs, inputs="float[1,4,6,6] x"):
        graph = make_graph(
            f"g ({inputs}) => ({outputs}) {{ {body} }}",
            w=weights(4, 4, 3, 3),
            v=weights(4, 4, 1, 1),
        )
        select(graph)
        fuse(graph)
        return graph

    return fuse_text


def kinds(graph):
    return [op.kind for op in graph.operations]


def test_an_activation_joins_the_convolution_before_it(fused):
    graph = fused(f"{CONV}  y = Relu(c)", "float[1,4,6,6] y")
    (op,) = graph.operations
    assert op.kind == "convolution"
    assert op.outputs == ("y",)
    assert op.expression == apply("max", ACCUMULATOR, Const(0.0))


def test_a_function_of_the_sum_read_twice_joins_it(fused):
    graph = fused(f"{CONV}  s = Sigmoid(c)  y = Mul(c, s)", "float[1,4,6,6] y")
    assert kinds(graph) == ["convolution"]
    assert graph.operations[0].inputs == ("x",)


def test_a_residual_joins_the_later_convolution(fused):
    graph = fused(f"{CONV}  d = Conv(c, v)  y = Add(c, d)", "float[1,4,6,6] y")
    assert [op.name for op in graph.operations] == ["c", "d"]
    assert graph.operations[1].inputs == ("c", "c")
    assert graph.operations[1].expression == apply("add", Ref(1), ACCUMULATOR)


def test_of_two_convolutions_only_read_by_a_sum_the_later_takes_it(fused):
    graph = fused(f"{CONV}  d = Conv(x, v)  y = Add(c, d)", "float[1,4,6,6] y")
    assert [(op.name, op.outputs) for op in graph.operations] == [
        ("c", ("c",)),
        ("d", ("y",)),
    ]


def test_what_others_read_stays(fused):
    graph = fused(f"{CONV}  y = Relu(c)", "float[1,4,6,6] y, float[1,4,6,6] c")
    assert kinds(graph) == ["convolution", "map"]


def test_a_larger_result_joins_no_smaller_kernel(fused):
    graph = fused("p = GlobalAveragePool(x)  y = Mul(x, p)", "float[1,4,6,6] y")
    assert kinds(graph) == ["pooling", "map"]


def test_a_map_of_a_small_tensor_is_not_repeated_for_every_element(fused):
    graph = fused(
        "e = Exp(s)  y = Mul(x, e)", "float[1,4,6,6] y", "float[1,4,6,6] x, float[1,4,1,1] s"
    )
    assert kinds(graph) == ["map", "map"]


def test_maps_go_into_softmax_and_reductions(fused):
    graph = fused(
        "a = Mul(x, x)  y = Softmax(a)  b = Abs(x)  z = ReduceSum<keepdims=0>(b)",
        "float[1,4,6,6] y, float z",
    )
    assert kinds(graph) == ["softmax", "reduction"]
    assert graph.operations[1].expression == apply("abs", Ref(0))


def test_everybody_repeats_a_dequantisation(make_graph):
    graph = make_graph(
        "g (uint8[3] x) => (float[3] a, float[3] b) <float s = {0.5}, uint8 z = {3}>"
        "{ d = DequantizeLinear(x, s, z)  a = Relu(d)  b = Exp(d) }"
    )
    select(graph)
    fuse(graph)
    assert [op.inputs for op in graph.operations] == [("x",), ("x",)]


def test_doubling_thirty_times_does_not_write_a_billion_terms(fused):
    body = "  ".join(f"a{i + 1} = Add(a{i}, a{i})" for i in range(30)).replace("a0", "x")
    graph = fused(body + "  y = Relu(a30)", "float[1,4,6,6] y")
    assert 1 < len(graph.operations) < 10
    assert all(size(op.expression) <= MOST_FUNCTIONS for op in graph.operations)


def test_no_kernel_takes_more_operands_than_it_should(fused):
    names = [f"x{i}" for i in range(12)]
    body = "  ".join(
        f"s{i + 1} = Add({'x' if i == 0 else f's{i}'}, {n})" for i, n in enumerate(names)
    )
    inputs = ", ".join(["float[1,4,6,6] x", *(f"float[1,4,6,6] {n}" for n in names)])
    graph = fused(body, "float[1,4,6,6] s12", inputs)
    assert len(graph.operations) > 1
    assert all(len(op.inputs) <= MOST_OPERANDS for op in graph.operations)


def value_of(node, operands):
    if isinstance(node, Ref):
        return operands[node.index]
    if isinstance(node, Const):
        return np.float64(node.value)
    return FUNCTIONS[node.fn](*(value_of(a, operands) for a in node.args))


def outputs_of(graph, given):
    """The graph's function in numpy. The stand-in for a kernel adds up its anchor's last axis, kept."""
    known = dict(given)
    for op in graph.operations:
        operands = [known[name] for name in op.inputs]
        shape = graph.values[op.outputs[0]].shape
        if op.kind == "map":
            known[op.output] = np.broadcast_to(value_of(op.expression, operands), shape)
        else:
            table = dict(enumerate(operands))
            table[ACCUMULATOR.index] = np.cumsum(operands[0], axis=-1)
            known[op.output] = np.broadcast_to(value_of(op.expression, table), shape)
    return [known[name] for name in graph.outputs]


@st.composite
def graphs(draw):
    """Random maps and kernels over a few inputs of two shapes."""
    values = {
        "a": Value((3, 4), "float32"),
        "b": Value((3, 4), "float32"),
        "c": Value((4,), "float32"),
    }
    operations = []
    for i in range(draw(st.integers(1, 12))):
        wide = [n for n, v in values.items() if v.shape == (3, 4)]
        name = f"t{i}"
        if draw(st.integers(0, 3)) == 0:
            source = draw(st.sampled_from(wide))
            made = Operation("convolution", name, (source,), (name,), {}, ACCUMULATOR, anchors=1)
            values[name] = Value((3, 4), "float32")
        else:
            fn = draw(st.sampled_from(sorted(FUNCTIONS)))
            count = 1 if fn in ("abs", "sin") else 2
            inputs = tuple(draw(st.sampled_from(sorted(values))) for _ in range(count))
            made = Operation("map", name, inputs, (name,), {}, apply(fn, *map(Ref, range(count))))
            shapes = [values[n].shape for n in inputs]
            values[name] = Value(np.broadcast_shapes(*shapes), "float32")
        operations.append(made)
    names = [op.output for op in operations]
    outputs = draw(st.lists(st.sampled_from(names), min_size=1, max_size=3, unique=True))
    graph = Graph(("a", "b", "c"), tuple(outputs), operations, values, {})
    graph.remove_dead()
    return graph


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_the_function_stays_the_same(graph):
    random = np.random.default_rng(0)
    given = {n: random.standard_normal(graph.values[n].shape) for n in graph.inputs}
    before = outputs_of(graph, given)
    rewritten = copy.deepcopy(graph)
    fuse(rewritten)
    assert len(rewritten.operations) <= len(graph.operations)
    for one, other in zip(before, outputs_of(rewritten, given), strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-12)


@settings(max_examples=6, deadline=None, derandomize=True)  # each links a library
@given(
    st.lists(st.sampled_from(["Relu", "Abs", "Tanh", "Sigmoid", "Neg"]), min_size=1, max_size=6),
    st.data(),
)
def test_chains_behind_a_convolution_run_alike(check_float, chain, data):
    body, last = "c = Conv<pads=[1,1,1,1]>(x, w)", "c"
    for i, name in enumerate(chain):
        partner = data.draw(st.sampled_from(["", "x", "c", last]), label="partner")
        body += f"\na{i} = {name}({last})"
        last = f"a{i}"
        if partner:
            body += f"\nb{i} = Add({last}, {partner})"
            last = f"b{i}"
    weight = np.random.default_rng(5).standard_normal((4, 4, 3, 3)).astype(np.float32) / 8
    check_float(f"g (float[1,4,6,6] x) => (float[1,4,6,6] {last}) {{ {body} }}", terms=64, w=weight)
