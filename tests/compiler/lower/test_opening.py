"""Layers that differ in sizes only run one kernel; one that is alone of its form keeps code for its very sizes."""

from dataclasses import replace

from budgetc.lower.opening import open_sizes
from budgetc.lower.points import choose_points, default_point, one_by_one
from budgetc.lower.sharing import share_kernels

TWO = """g (float[1,16,6,6] x) => (float[1,32,6,6] y)
    { a = Conv(x, w)  b = Relu(a)  c = Conv(b, v)  y = Relu(c) }"""


def opened(steps, capability):
    share_kernels([steps])
    choose_points([steps], one_by_one(default_point(capability)), capability)
    open_sizes([steps], capability)
    return [step for step in steps.steps if step.macs]


def test_layers_of_other_sizes_are_compiled_once(walked, weights, host):
    steps = walked(TWO, w=weights(32, 16, 1, 1), v=weights(32, 32, 1, 1))
    first, second = opened(steps, host)
    assert first.task != second.task
    assert first.code == second.code
    assert first.code.numbers == len(table_of(steps, first))
    assert list(table_of(steps, first)) != list(table_of(steps, second))


def test_a_layer_of_its_own_form_stays_as_it_is(walked, weights, host):
    steps = walked(TWO, w=weights(32, 16, 3, 3)[:, :, :1, :1].copy(), v=weights(32, 32, 1, 1))
    steps.steps = [step for step in steps.steps if step.macs][:1]
    (alone,) = opened(steps, host)
    assert alone == replace(alone, code=None)


def test_they_run_each_by_its_sizes(check_float, weights):
    library = check_float(TWO, terms=50, w=weights(32, 16, 1, 1), v=weights(32, 32, 1, 1, seed=1))
    names = [call.kernel for call in library.lowered.calls if call.macs]
    assert len(names) == 2
    assert len(set(names)) == 1


def table_of(steps, step):
    return steps.graph.constants[step.operands[-1].storage]
