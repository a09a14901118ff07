"""Where values are put and which calls that takes: borders, copies, ports, and who shares them."""

import numpy as np
import pytest
from budgetc.lower.steps import Argument, Steps
from budgetc.registry import find_target
from budgetc_specs.errors import ModelError
from budgetc_targets.expression import ACCUMULATOR
from budgetc_targets.task import Access, Task

CONV = "c = Conv<pads=[1,1,1,1]>(x, w)"


def labels(steps: Steps):
    return [step.label for step in steps.steps]


def test_an_intermediate_is_stored_with_the_border_that_its_reader_wants(walked, weights):
    steps = walked(
        "g (float[1,4,6,6] x) => (float[1,4,6,6] y){ a = Relu(x)  y = Conv<pads=[1,1,1,1]>(a, w) }",
        w=weights(4, 4, 3, 3),
    )
    placed = steps.placed["a"]
    assert placed.border == ((0, 0), (0, 0), (1, 1), (1, 1))
    assert placed.strides == (256, 1, 32, 4)
    assert steps.storages["a"].size == 8 * 8 * 4 * 4
    assert sum(f.rows * f.width for f in steps.steps[0].fills) == (64 - 36) * 4 * 4
    assert labels(steps) == ["a", "y", "copy y"]
    assert steps.steps[1].inputs == (Argument("a", 0),), "the window begins in the border"


def test_two_readers_share_one_border_of_the_wider_reach(walked, weights):
    steps = walked(
        "g (float[1,4,6,6] x) => (float[1,4,6,6] y)"
        "{ a = Relu(x)  b = Conv<pads=[1,1,1,1]>(a, w)  c = Conv<pads=[2,2,2,2]>(a, v)  y = Add(b, c) }",
        w=weights(4, 4, 3, 3),
        v=weights(4, 4, 5, 5),
    )
    assert steps.placed["a"].border[2:] == ((2, 2), (2, 2))
    first = next(s for s in steps.steps if s.label == "b")
    assert first.inputs == (Argument("a", (1 * 40 + 1 * 4) * 4),), "one row and one pixel into it"


def test_a_port_is_copied_once_for_all_who_read_it(walked, weights):
    steps = walked(
        "g (float[1,3,6,6] x) => (float[1,4,6,6] y)"
        "{ b = Conv<pads=[1,1,1,1]>(x, w)  c = Conv<pads=[2,2,2,2]>(x, v)  y = Add(b, c) }",
        w=weights(4, 3, 3, 3),
        v=weights(4, 3, 5, 5),
    )
    assert labels(steps).count("copy x") == 1


def test_a_wish_goes_through_a_transpose(walked, weights):
    steps = walked(
        "g (float[1,6,6,4] x) => (float[1,4,6,6] y)"
        "{ a = Relu(x)  t = Transpose<perm=[0,3,1,2]>(a)  y = Conv<pads=[1,1,1,1]>(t, w) }",
        w=weights(4, 4, 3, 3),
    )
    assert steps.placed["a"].border == ((0, 0), (1, 1), (1, 1), (0, 0))
    assert labels(steps) == ["a", "y", "copy y"]


def test_images_whose_channel_is_last_are_neither_copied_in_nor_out(walked, weights):
    steps = walked(
        "g (float[1,6,6,4] x) => (float[1,6,6,8] y)"
        "{ t = Transpose<perm=[0,3,1,2]>(x)  c = Conv(t, w)  y = Transpose<perm=[0,2,3,1]>(c) }",
        w=weights(8, 4, 1, 1),
    )
    assert labels(steps)[0] == "c"
    assert steps.steps[0].inputs == (Argument("input:0", 0),)


def test_integers_that_end_with_the_callers_memory_are_copied(walked):
    text = """g (uint8[1,6,6,4] x) => (uint8[1,6,6,4] y) <float s = {0.1}, uint8 z = {3}, int8 zw = {0}>
    { t = Transpose<perm=[0,3,1,2]>(x)  d = DequantizeLinear(t, s, z)  e = DequantizeLinear(w, s, zw)
      c = Conv(d, e)  q = QuantizeLinear(c, s, z)  y = Transpose<perm=[0,2,3,1]>(q) }"""
    steps = walked(text, w=np.ones((4, 4, 1, 1), np.int8))
    assert labels(steps)[0].startswith("copy"), "kernels take four bytes at a time"


def test_a_result_goes_straight_to_its_port(walked):
    steps = walked("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    assert steps.steps[0].outputs == (Argument("output:0", 0),)
    assert len(steps.steps) == 1
    assert not any(s.region == "arena" for s in steps.storages.values())


def test_rows_without_a_gap_become_one(walked, weights):
    steps = walked("g (float[2,3,7] x) => (float[2,3,5] y) { y = MatMul(x, w) }", w=weights(7, 5))
    task = steps.steps[0].task
    assert task.inputs[0].shape == (1, 7, 1, 6)
    assert task.output.shape == (1, 5, 1, 6)


def test_a_filter_multiplier_is_the_general_convolution(walked, weights):
    text = "g (float[1,32,6,6] x) => (float[1,{n},4,4] y) {{ y = Conv<group=32>(x, w) }}"
    kinds = {}
    for filters in (32, 64):
        steps = walked(text.format(n=filters), w=weights(filters, 1, 3, 3))
        kinds[filters] = next(s.task.kind for s in steps.steps if s.label == "y")
    assert kinds == {32: "depthwise", 64: "convolution"}


@pytest.mark.parametrize(("threads", "parallel"), [(1, False), (2, True)])
def test_large_work_is_shared_among_threads(walked, weights, threads, parallel):
    steps = walked(
        "g (float[1,16,32,32] x) => (float[1,16,30,30] y) { y = Conv(x, w) }",
        threads,
        w=weights(16, 16, 3, 3),
    )
    assert next(s.task.parallel for s in steps.steps if s.macs) is parallel
    small = walked("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }", threads)
    assert not small.steps[0].task.parallel


def test_a_target_without_a_kernel_is_an_error_that_names_the_node(walked, weights):
    families = [f for f in find_target("host").families() if f.kind != "softmax"]
    with pytest.raises(ModelError, match=r'no softmax kernel .* takes "y": it has none') as error:
        walked("g (float[2,3] x) => (float[2,3] y) { y = Softmax(x) }", families=families)
    assert error.value.repair


def test_a_family_says_why_it_refuses(walked, host):
    steps = walked("g (float[2,3] x) => (float[2,3] y) { y = Relu(x) }")
    access = Access("float64", (1, 4, 1, 1), (4, 1, 4, 4))
    task = Task("pooling", (access,), access, ACCUMULATOR)
    assert not steps.takes("pooling", task)
    placed = steps.placed["y"]
    with pytest.raises(ModelError, match="elements of type float64"):
        steps.emit("pool", task, [], [], placed)


def test_a_channel_shuffle_is_one_copy_into_what_the_next_convolution_reads(walked, weights):
    steps = walked(
        """g (float[1,4,5,5] x) => (float[1,12,5,5] y)
        <int64[5] apart = {1,3,4,5,5}, int64[4] joined = {1,12,5,5}>
        { a = Conv(x, w)  b = Reshape(a, apart)  c = Transpose<perm=[0,2,1,3,4]>(b)
          d = Reshape(c, joined)  y = Conv<pads=[1,1,1,1], group=12>(d, v) }""",
        w=weights(12, 4, 1, 1),
        v=weights(12, 1, 3, 3, seed=1),
    )
    kinds = [step.task.kind for step in steps.steps]
    assert kinds.count("elementwise") == 3, "the input, the shuffle and the output"
    shuffle = next(step for step in steps.steps if step.label == "copy c")
    assert shuffle.fills, "it writes where the border of the depthwise convolution is"


def test_a_channel_shuffle_runs(check_float, weights):
    check_float(
        """g (float[1,4,5,5] x) => (float[1,12,5,5] y)
        <int64[5] apart = {1,3,4,5,5}, int64[4] joined = {1,12,5,5}>
        { a = Conv(x, w)  b = Reshape(a, apart)  c = Transpose<perm=[0,2,1,3,4]>(b)
          d = Reshape(c, joined)  y = Conv<pads=[1,1,1,1], group=12>(d, v) }""",
        terms=36,
        w=weights(12, 4, 1, 1),
        v=weights(12, 1, 3, 3, seed=1),
    )
