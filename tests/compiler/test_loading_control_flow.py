"""If, Loop, Scan and sequences are gone after loading, and the function is the same in onnxruntime."""

import numpy as np
import onnx
import pytest
from budgetc.baseline import make_session
from budgetc.loading import loops
from budgetc.model import load_model
from budgetc_specs.errors import ModelError
from onnx import numpy_helper, parser

STRUCTURE = {"If", "Loop", "Scan", "SequenceConstruct", "SequenceInsert", "SplitToSequence"}
STRUCTURE |= {"SequenceAt", "SequenceEmpty", "SequenceErase", "ConcatFromSequence"}


def parsed(text, opset=17, **weights):
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["": {opset}]>\n{text}')
    model.graph.initializer.extend(numpy_helper.from_array(w, n) for n, w in weights.items())
    return model


def loaded(folder, model, shapes=None):
    path = folder / "m.onnx"
    path.write_bytes(model.SerializeToString())
    return load_model(path, shapes)


def refusal(folder, model, shapes=None):
    with pytest.raises(ModelError) as caught:
        loaded(folder, model, shapes)
    return str(caught.value)


def check_same(folder, model, shapes=None, **feeds):
    """The loaded model is one graph of tensors that gives what onnxruntime gives for the original."""
    made = loaded(folder, model, shapes)
    kinds = [node.op_type for node in onnx.load_model_from_string(made.data).graph.node]
    assert not STRUCTURE.intersection(kinds)
    theirs = make_session(model.SerializeToString(), optimisation="none").run(feeds)
    ours = make_session(made.data, optimisation="none").run(feeds)
    assert theirs.keys() == ours.keys()
    for name, value in theirs.items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name, strict=True)
    return kinds


def ramp(*shape, start=-3.0):
    return (np.arange(np.prod(shape), dtype=np.float32) + start).reshape(shape)


BRANCHES = """
    y = If (CONDITION) <
        then_branch = yes () => (float[2,3] a) <float[3] w = {1, 2, 3}> { s = Mul(x, w) a = Add(s, outer) },
        else_branch = no () => (float[2,3] b) { b = Relu(x) }>
"""


@pytest.mark.parametrize("rank", [2, 3])
def test_a_condition_of_shapes_chooses_a_branch(tmp_path, rank):
    text = f"""g (float[N,3] x) => (float[2,3] y) <int64 two = {{{rank}}}, float outer = {{10}}>
    {{ shape = Shape(x) rank = Size(shape) c = Equal(rank, two) {BRANCHES.replace("CONDITION", "c")} }}"""
    kinds = check_same(tmp_path, parsed(text), {"x": (2, 3)}, x=ramp(2, 3))
    assert kinds == (["Mul", "Add"] if rank == 2 else ["Relu"])


def test_a_condition_of_constants_chooses_a_branch(tmp_path):
    text = f"""g (float[2,3] x) => (float[2,3] y) <float low = {{1}}, float high = {{2}}, float outer = {{10}}>
    {{ l = Less(low, high) c = Not(l) {BRANCHES.replace("CONDITION", "c")} }}"""
    assert "Relu" in check_same(tmp_path, parsed(text), x=ramp(2, 3))


@pytest.mark.parametrize("shape", ["", "[1]"])
@pytest.mark.parametrize("condition", [True, False])
def test_a_condition_that_is_computed_selects_between_both(tmp_path, condition, shape):
    text = f"""g (float[2,3] x, bool{shape} c) => (float[2,3] y) <float outer = {{10}}>
    {{ {BRANCHES.replace("CONDITION", "c")} }}"""
    given = np.array(condition).reshape((1,) if shape else ())
    kinds = check_same(tmp_path, parsed(text), x=ramp(2, 3), c=given)
    assert kinds.count("Where") == 1


def test_branches_inside_branches(tmp_path):
    text = """g (float[2,3] x) => (float[2,3] y) <bool t = {1}, bool f = {0}, float outer = {10}> {
    y = If (t) <
        then_branch = yes () => (float[2,3] a) {
            k = Add(x, outer)
            a = If (f) <
                then_branch = p () => (float[2,3] q) { q = Neg(k) },
                else_branch = r () => (float[2,3] s) { s = Mul(k, k) }> },
        else_branch = no () => (float[2,3] b) { b = Relu(x) }> }"""
    assert check_same(tmp_path, parsed(text), x=ramp(2, 3)) == ["Add", "Mul"]


def test_a_branch_may_give_its_constant(tmp_path):
    text = """g (float[2,3] x) => (float[2] y, float[2,3] z) <bool t = {1}> {
    k = Neg(x)
    y, z = If (t) <
        then_branch = yes () => (float[2] w, float[2,3] r) <float[2] w = {4, 5}> { r = Relu(k) },
        else_branch = no () => (float[2] q, float[2,3] b) <float[2] q = {1, 2}> { b = Relu(x) }> }"""
    check_same(tmp_path, parsed(text), x=ramp(2, 3))


def test_branches_of_different_shapes_are_refused_by_name(tmp_path):
    text = """g (float[2,3] x, bool c) => (float[N,3] y) <float outer = {10}> {
    y = If (c) <
        then_branch = yes () => (float[M,3] a) { a = Concat<axis=0>(x, x) },
        else_branch = no () => (float[K,3] b) { b = Relu(x) }> }"""
    model = parsed(text)
    model.graph.node[0].name = "choose"
    said = refusal(tmp_path, model)
    assert 'the If node "choose" cannot be resolved' in said
    assert "[4, 3] and [2, 3]" in said


def test_a_branch_that_might_divide_by_zero_is_refused(tmp_path):
    text = """g (int64[2] x, bool c) => (int64[2] y) <int64 one = {1}> {
    y = If (c) <
        then_branch = yes () => (int64[2] a) { a = Div(one, x) },
        else_branch = no () => (int64[2] b) { b = Neg(x) }> }"""
    assert "may divide an integer by zero" in refusal(tmp_path, parsed(text))


def test_a_branch_with_random_numbers_is_refused(tmp_path):
    text = """g (float[2] x, bool c) => (float[2] y) {
    y = If (c) <
        then_branch = yes () => (float[2] a) { a = RandomNormal<shape=[2]>() },
        else_branch = no () => (float[2] b) { b = Neg(x) }> }"""
    assert "draws random numbers" in refusal(tmp_path, parsed(text))


LOOP = """g (float[2] x) => (float[2] last, float[ROUNDS,2] all) <int64 n = {COUNT}, bool go = {1}, float k = {2}> {
    last, all = Loop (n, go, x) <body = b (int64 i, bool c, float[2] v) => (bool again, float[2] w, float[2] out)
        <float[2] weight = {0.5, 1.5}> {
        again = Identity(c)
        f = Cast<to=1>(i)
        m = Mul(v, weight)
        a = Add(m, f)
        w = Add(a, k)
        out = Neg(w)
    }>
}"""


@pytest.mark.parametrize("opset", [9, 13, 17, 21])
def test_a_loop_of_known_length_is_unrolled(tmp_path, opset):
    text = LOOP.replace("COUNT", "4").replace("ROUNDS", "4")
    kinds = check_same(tmp_path, parsed(text, opset), x=ramp(2))
    assert kinds.count("Mul") == 4


def test_the_weights_of_a_body_are_there_once(tmp_path):
    model = loaded(tmp_path, parsed(LOOP.replace("COUNT", "4").replace("ROUNDS", "4")))
    graph = onnx.load_model_from_string(model.data).graph
    assert sum(list(t.dims) == [2] and t.data_type == 1 for t in graph.initializer) == 1


def test_a_loop_may_end_by_a_condition_that_is_counted(tmp_path):
    text = """g (float[2] x) => (float[2] y) <bool go = {1}, int64 zero = {0}, int64 step = {3}, int64 end = {10}> {
    y, count = Loop (, go, x, zero) <body = b (int64 i, bool c, float[2] v, int64 k) =>
        (bool again, float[2] w, int64 next) {
        next = Add(k, step)
        again = Less(next, end)
        w = Add(v, v)
    }>
}"""
    assert check_same(tmp_path, parsed(text), x=ramp(2)).count("Add") == 4


def test_a_loop_that_ends_by_the_data_is_refused(tmp_path):
    text = """g (float x) => (float y) <bool go = {1}, float end = {10}, int64 n = {20}> {
    y = Loop (n, go, x) <body = b (int64 i, bool c, float v) => (bool again, float w) {
        w = Add(v, v)
        again = Less(w, end)
    }>
}"""
    model = parsed(text)
    model.graph.node[0].name = "search"
    said = refusal(tmp_path, model)
    assert (
        'the Loop node "search" cannot be resolved: whether it goes on depends on the data' in said
    )
    text = text.replace("float x)", "float x, int64 n)").replace(", int64 n = {20}", "")
    text = text.replace("again = Less(w, end)", "again = Identity(c)")
    assert "its number of rounds depends on the data" in refusal(tmp_path, parsed(text))


def test_a_loop_of_too_many_rounds_names_the_count(tmp_path):
    count = loops.MOST_UNROLLED // 6 + 1
    said = refusal(
        tmp_path, parsed(LOOP.replace("COUNT", str(count)).replace("ROUNDS", str(count)))
    )
    assert f"runs {count} rounds of 6 nodes, which would become {6 * count}" in said
    assert f"at most {loops.MOST_UNROLLED} nodes" in said


def test_a_loop_without_an_end_is_stopped(tmp_path):
    text = """g (float x) => (float y) <bool go = {1}> {
    y = Loop (, go, x) <body = b (int64 i, bool c, float v) => (bool again, float w) {
        w = Add(v, v)  again = Identity(c) }> }"""
    assert "rounds of 2 nodes" in refusal(tmp_path, parsed(text))


def test_a_loop_of_no_rounds_hands_its_input_on(tmp_path):
    text = """g (float[2] x) => (float[2] y) <int64 n = {0}, bool go = {1}> {
    z = Loop (n, go, x) <body = b (int64 i, bool c, float[2] v) => (bool c2, float[2] w) {
        c2 = Identity(c)  w = Add(v, v) }>
    y = Neg(z) }"""
    assert "Add" not in check_same(tmp_path, parsed(text), x=ramp(2))


@pytest.mark.parametrize("backwards", [0, 1])
@pytest.mark.parametrize("opset", [9, 11, 17])
def test_a_scan_is_unrolled(tmp_path, opset, backwards):
    text = """g (float[3] s, float[4,3] x) => (float[3] last, float[4,3] all) {
    last, all = Scan (s, x) <num_scan_inputs=1, scan_input_directions=[DIR], scan_output_directions=[DIR],
        body = b (float[3] state, float[3] part) => (float[3] next, float[3] out) {
        m = Mul(state, part)  next = Add(m, part)  out = Neg(m) }>
}""".replace("DIR", str(backwards))
    feeds = {"s": ramp(3), "x": ramp(4, 3)}
    assert check_same(tmp_path, parsed(text, opset), **feeds).count("Mul") == 4


def test_a_scan_along_other_axes(tmp_path):
    text = """g (float[3] s, float[3,4] x) => (float[3] last, float[3,4] all) {
    last, all = Scan (s, x) <num_scan_inputs=1, scan_input_axes=[-1], scan_output_axes=[1],
        body = b (float[3] state, float[3] part) => (float[3] next, float[3] out) {
        next = Add(state, part)  out = Neg(next) }>
}"""
    check_same(tmp_path, parsed(text), s=ramp(3), x=ramp(3, 4))


def test_sequences_are_followed(tmp_path):
    text = """g (float[6,2] x) => (float[6,2] y, float[2,2] z, int64 n)
        <int64 two = {2}, int64 last = {-1}, int64 first = {0}> {
    parts = SplitToSequence<axis=0>(x, two)
    a = SequenceAt(parts, last)
    b = SequenceAt(parts, first)
    c = Neg(a)
    more = SequenceInsert(parts, c, first)
    less = SequenceErase(more, last)
    n = SequenceLength(more)
    y = ConcatFromSequence<axis=0>(less)
    z = Add(a, b)
}"""
    check_same(tmp_path, parsed(text), x=ramp(6, 2))


@pytest.mark.parametrize("keep", [0, 1])
def test_elements_of_one(tmp_path, keep):
    text = f"""g (float[3,2] x) => (float[2,3] y) <int64 at = {{1}}> {{
    parts = SplitToSequence<axis=0, keepdims={keep}>(x)
    y0 = ConcatFromSequence<axis={0 if keep else 1}, new_axis={0 if keep else 1}>(parts)
    {"y = Transpose(y0)" if keep else "y = Identity(y0)"}
}}"""
    check_same(tmp_path, parsed(text), x=ramp(3, 2))


def test_a_sequence_that_grows_in_a_loop(tmp_path):
    text = """g (float[2] x) => (float[3,2] y) <int64 n = {3}, bool go = {1}> {
    none = SequenceEmpty()
    v, all = Loop (n, go, x, none) <body = b (int64 i, bool c, float[2] v, seq(float[2]) s) =>
        (bool c2, float[2] w, seq(float[2]) t) {
        c2 = Identity(c)  w = Add(v, v)  t = SequenceInsert(s, w) }>
    y = ConcatFromSequence<axis=0, new_axis=1>(all)
}"""
    check_same(tmp_path, parsed(text), x=ramp(2))


def test_a_position_that_depends_on_the_data_is_refused(tmp_path):
    text = """g (float[2] x, int64 i) => (float[2] y) {
    s = SequenceConstruct(x, x)  y = SequenceAt(s, i) }"""
    assert "the structure of its sequence depends on the data" in refusal(tmp_path, parsed(text))
