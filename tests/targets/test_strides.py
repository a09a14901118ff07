"""Merging of dimensions: the same elements in the same order of the output's memory, in fewer loops."""

from itertools import permutations, product

from budgetc_targets.kernels.strides import collapse
from budgetc_targets.task import Access
from hypothesis import given
from hypothesis import strategies as st
from kernel_runner import dense


def _walk(output: Access, operands: list[Access]) -> set[tuple[int, ...]]:
    """The offsets that are touched together."""
    return {
        tuple(
            sum(i * s for i, s in zip(index, a.strides, strict=True)) for a in (output, *operands)
        )
        for index in product(*(range(n) for n in output.shape))
    }


@st.composite
def _tasks(draw: st.DrawFn) -> tuple[Access, list[Access]]:
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=0, max_size=4)))
    rank = len(shape)

    def access(*, broadcast: bool) -> Access:
        order = draw(st.sampled_from(list(permutations(range(rank)))))
        strides, size = [0] * rank, 1
        for d in reversed(order):
            strides[d] = size
            size *= shape[d] + draw(st.integers(0, 1))
        if broadcast:
            kept = [draw(st.booleans()) for _ in shape]
            strides = [s if k else 0 for s, k in zip(strides, kept, strict=True)]
        return Access("float32", shape, tuple(strides))

    return access(broadcast=False), [access(broadcast=True) for _ in range(draw(st.integers(0, 2)))]


@given(_tasks())
def test_the_same_elements_meet(task: tuple[Access, list[Access]]) -> None:
    output, operands = task
    merged, others = collapse(output, operands)
    assert _walk(merged, others) == _walk(output, operands)
    assert len(merged.shape) <= max(1, len(output.shape))
    assert list(merged.strides) == sorted(merged.strides, reverse=True)
    assert merged.extent == output.extent


def test_dense_work_is_one_loop() -> None:
    access = dense("uint8", (2, 3, 4, 5))
    merged, (other,) = collapse(access, [access])
    assert (merged.shape, merged.strides, other.strides) == ((120,), (1,), (1,))


def test_a_broadcast_operand_keeps_its_dimension_apart() -> None:
    shape = (2, 3, 4)
    merged, (side,) = collapse(dense("float32", shape), [Access("float32", shape, (0, 1, 0))])
    assert (merged.shape, side.strides) == ((2, 3, 4), (0, 1, 0))
    merged, (side,) = collapse(dense("float32", shape), [Access("float32", shape, (0, 0, 1))])
    assert (merged.shape, side.strides) == ((6, 4), (0, 1))


def test_a_scalar_is_one_loop_of_one() -> None:
    merged, others = collapse(Access("float32", (), ()), [Access("float32", (), ())])
    assert (merged.shape, others[0].strides) == ((1,), (0,))
