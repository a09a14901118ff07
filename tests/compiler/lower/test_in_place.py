"""Results over operands that nobody reads any more: less memory, the same numbers, nothing lost that is still read."""

import numpy as np
import pytest
from budgetc.lower.in_place import write_in_place

CHAIN = """g (float[1, 16, 12, 12] x) => (float[1, 16, 12, 12] y) {
    a = Conv (x, w) b = Conv (a, w) c = Conv (a, w) s = Add (b, c) d = Conv (s, w) y = Sigmoid (d) }"""
KEPT = """g (float[1, 16, 12, 12] x) => (float[1, 16, 12, 12] y) {
    a = Conv (x, w) b = Conv (a, w) r = Relu (b) s = Add (r, a) d = Conv (s, w) e = Conv (a, w) y = Add (d, e) }"""


def aliased(steps):
    """Calls that write over an operand."""
    return [
        s
        for s in steps.steps
        if any(o.storage == s.outputs[0].storage for o in (*s.operands, *s.inputs))
    ]


@pytest.fixture
def placed(walked, weights, host):
    def make(text, **more):
        steps = walked(text, w=weights(16, 16, 1, 1), **more)
        before = steps.storages.copy()
        write_in_place(steps, host)
        return steps, before

    return make


def test_a_sum_lies_where_its_operand_lay(placed):
    steps, before = placed(CHAIN)
    (step,) = aliased(steps)
    assert step.task.may_alias
    joined = steps.storages[step.outputs[0].storage]
    assert {before[part].size for part in joined.name.split(", ")} == {joined.size}


def test_probabilities_lie_where_their_scores_lay(placed):
    steps, _ = placed("""g (float[1, 16, 12, 12] x) => (float[1, 16, 12, 12] y) {
        s = MatMul (x, x) p = Softmax (s) y = MatMul (x, p) }""")
    (step,) = aliased(steps)
    assert step.task.kind == "softmax"
    assert step.task.may_alias


def test_what_is_read_later_is_kept(placed):
    steps, _ = placed(KEPT)
    for step in aliased(steps):
        assert not step.outputs[0].storage.startswith("a,")


def test_equal_tasks_stay_equal(placed):
    text = """g (float[1, 16, 12, 12] x) => (float[1, 16, 12, 12] y) {
        a = Conv (x, w) b = Conv (a, w) s = Add (a, b) c = Conv (s, w) t = Add (s, c) d = Conv (t, w)
        u = Add (s, d) e = Conv (u, w) v = Add (t, e) y = Conv (v, w) }"""
    steps, _ = placed(text)
    sums = {s.task.digest for s in steps.steps if s.operands and s.task.kind == "convolution"}
    assert len(aliased(steps)) < 4
    assert len(sums) == 1


def test_a_border_that_the_operand_lacks_needs_memory_of_its_own(walked, weights, host):
    text = """g (float[1, 16, 12, 12] x) => (float[1, 16, 12, 12] y) {
        a = Conv (x, w) b = Conv (a, w) c = Conv (a, w) s = Add (b, c)
        y = Conv <pads = [1, 1, 1, 1]> (s, v) }"""
    steps = walked(text, w=weights(16, 16, 1, 1), v=weights(16, 16, 3, 3))
    write_in_place(steps, host)
    assert not aliased(steps)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("text", [CHAIN, KEPT])
def test_the_numbers_are_onnxruntimes(text, threads, check_float, weights):
    check_float(text, terms=2, threads=threads, w=weights(16, 16, 1, 1))


def test_the_numbers_of_odd_shapes(check_float, weights):
    """Tails of channels and pixels: nothing is computed twice from what was written over."""
    text = """g (float[1, 5, 7, 11] x) => (float[1, 5, 7, 11] y) {
        a = Conv (x, w) b = Conv (a, w) c = Softmax <axis = 1> (a) d = Add (b, c) e = Softmax <axis = 1> (d)
        f = Mul (e, d) g = Tanh (f) y = Conv (g, w) }"""
    check_float(text, terms=3, w=weights(5, 5, 1, 1))


def test_integer_sums_are_exact(quantised, check_exact, weights):
    w = weights(24, 24, 1, 1) / np.float32(5)
    text = """g (float[1, 24, 9, 9] x) => (float[1, 24, 9, 9] y) {
        a = Conv (x, w) b = Conv (a, w) c = Conv (a, w) s = Add (b, c) r = Relu (s) d = Conv (r, w)
        t = Add (d, r) y = Conv (t, w) }"""
    library = check_exact(quantised(text, w=w))
    assert any(", " in slot.name for slot in library.lowered.arena_map)
