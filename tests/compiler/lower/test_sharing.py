"""Kernels that differ in literals only are one kernel, and every call still computes with its own numbers."""

import numpy as np
import pytest
from budgetc.lower.sharing import share_kernels


def tasks_of(steps):
    return [step.task for step in steps.steps]


def table_of(steps, step):
    return steps.graph.constants[step.operands[-1].storage].view(np.float32)


def test_what_differs_goes_into_a_table_and_what_does_not_stays(walked):
    steps = walked(
        """g (float[2,3] x) => (float[2,3] y, float[2,3] z, float[2,3] e)
        { y = LeakyRelu<alpha=0.1>(x)  z = LeakyRelu<alpha=0.2>(x)  e = Elu(x) }"""
    )
    before = tasks_of(steps)
    share_kernels([steps])
    first, second, other = tasks_of(steps)
    assert first == second
    assert before[0] != before[1]
    assert other == before[2], "it has no twin"
    assert first.operands == before[0].operands
    assert first.numbers == 1, "the slope, but not the zero"
    values = [table_of(steps, step) for step in steps.steps[:2]]
    np.testing.assert_allclose(values, [[0.1], [0.2]], rtol=1e-6)


def test_equal_tasks_are_left_alone(walked):
    steps = walked("g (float[4] x) => (float[4] y) { a = Exp(x)  b = Exp(a)  y = Exp(b) }")
    before = tasks_of(steps)
    share_kernels([steps])
    assert tasks_of(steps) == before


def test_other_shapes_are_other_forms(walked):
    steps = walked(
        """g (float[4] a, float[5] b) => (float[4] y, float[5] z)
        { y = LeakyRelu<alpha=0.1>(a)  z = LeakyRelu<alpha=0.2>(b) }"""
    )
    before = tasks_of(steps)
    share_kernels([steps])
    assert tasks_of(steps) == before


def test_any_count_of_numbers_is_one_table(walked):
    def chain(first):
        value = "x"
        for i in range(12):
            value, text = (
                f"v{first}{i}",
                f"v{first}{i} = HardSigmoid<alpha={first}.{i + 11}>({value})",
            )
            yield text

    nodes = "  ".join([*chain(0), *chain(1)])
    steps = walked(f"g (float[4] x) => (float[4] v011, float[4] v111) {{ {nodes} }}")
    before = tasks_of(steps)
    assert len(before) == 2, "each chain is one map"
    share_kernels([steps])
    first, second = tasks_of(steps)
    assert first == second
    assert first.numbers == 12
    assert len(first.operands) == len(before[0].operands)


def test_numbers_that_are_equal_in_every_step_share_a_slot(walked):
    steps = walked(
        """g (float[4] x) => (float[4] y, float[4] z)
        { a = LeakyRelu<alpha=0.1>(x)  y = LeakyRelu<alpha=0.1>(a)
          b = LeakyRelu<alpha=0.2>(x)  z = LeakyRelu<alpha=0.2>(b) }"""
    )
    share_kernels([steps])
    first, second = tasks_of(steps)
    assert first == second
    assert first.numbers == 1


def test_numbers_keep_their_types(walked):
    steps = walked(
        """g (float[4] x) => (uint8[4] y, uint8[4] z)
        { y = QuantizeLinear(x, s, n)  z = QuantizeLinear(x, t, m) }""",
        s=np.array(0.5, np.float32),
        t=np.array(0.25, np.float32),
        n=np.array(3, np.uint8),
        m=np.array(9, np.uint8),
    )
    share_kernels([steps])
    first, second = tasks_of(steps)
    assert first == second
    tables = [table_of(steps, step) for step in steps.steps]
    for table, scale, zero in zip(tables, (0.5, 0.25), (3, 9), strict=True):
        assert scale in table
        assert zero in table.view(np.int32)


@pytest.mark.parametrize(
    "node", ["Softmax", "ReduceMean<axes=[1], keepdims=1>", "Tanh", "MaxPool<kernel_shape=[3]>"]
)
def test_shared_kernels_run_each_with_its_numbers(check_float, node):
    rows = {"Reduce": "1", "MaxPoo": "17"}.get(node[:6], "19")
    library = check_float(
        f"""g (float[1,3,19] x) => (float[1,3,{rows}] y, float[1,3,{rows}] z)
        {{ a = LeakyRelu<alpha=0.1>(x)  b = {node}(a)  y = Elu<alpha=0.5>(b)
           c = LeakyRelu<alpha=0.3>(x)  d = {node}(c)  z = Elu<alpha=0.7>(d) }}""".replace(
            "axes=[1]", "axes=[2]"
        ),
        opset=13,
        terms=40,
    )
    names = [call.kernel for call in library.lowered.calls]
    assert len(set(names)) < len(names)


def test_shared_convolutions_run_each_with_its_numbers(check_float, weights):
    library = check_float(
        """g (float[1,16,6,6] x) => (float[1,16,6,6] y)
        { a = Conv<pads=[1,1,1,1]>(x, w)  b = LeakyRelu<alpha=0.1>(a)
          c = Conv<pads=[1,1,1,1]>(b, v)  y = LeakyRelu<alpha=0.3>(c) }""",
        w=weights(16, 16, 3, 3),
        v=weights(16, 16, 3, 3, seed=1),
    )
    names = [call.kernel for call in library.lowered.calls if call.macs]
    assert len(names) == 2
