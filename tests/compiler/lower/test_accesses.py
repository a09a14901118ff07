"""Placements in the index space of kernels, against numpy."""

import numpy as np
from budgetc.lower.accesses import (
    access,
    broadcast,
    merge_rows,
    rows_as_pixels,
    two_dimensional,
    with_reduced_axes,
)
from budgetc.lower.placement import Placement, row_major
from budgetc_targets.expression import ACCUMULATOR
from budgetc_targets.task import Access, Task
from hypothesis import given
from hypothesis import strategies as st


def seen(given, memory):
    strides = [s * memory.itemsize for s in given.strides]
    return np.lib.stride_tricks.as_strided(memory, given.shape, strides)


def dense(shape):
    return Placement("t", "float32", shape, row_major(shape))


@given(st.data())
def test_broadcasting_is_numpys(data):
    full = tuple(data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4)))
    small = tuple(data.draw(st.sampled_from([n, 1])) for n in full)
    small = small[data.draw(st.integers(0, len(full))) :]
    memory = np.arange(100)
    expected = np.broadcast_to(memory[: np.prod(small, dtype=int)].reshape(small), full)
    np.testing.assert_array_equal(seen(broadcast(dense(small), full), memory), expected)


def test_a_row_of_pixels_is_an_image_of_one_row():
    made = two_dimensional(Access("float32", (2, 3, 5), (15, 5, 1)))
    assert made == Access("float32", (2, 3, 1, 5), (15, 5, 0, 1))
    image = Access("float32", (2, 3, 4, 5), (60, 20, 5, 1))
    assert two_dimensional(image) is image


def test_the_columns_of_a_matrix_are_channels():
    made = rows_as_pixels(Access("float32", (2, 7, 5), (35, 5, 1)))
    assert made == Access("float32", (1, 5, 2, 7), (0, 1, 35, 5))


def test_a_reduced_axis_is_written_once():
    kept = Access("float32", (2, 1, 4), (4, 4, 1))
    assert with_reduced_axes(kept, (2, 3, 4), (1,)) == Access("float32", (2, 1, 4), (4, 0, 1))
    dropped = Access("float32", (2, 4), (4, 1))
    assert with_reduced_axes(dropped, (2, 3, 4), (1,)) == Access("float32", (2, 1, 4), (4, 0, 1))
    assert with_reduced_axes(Access("float32", (), ()), (3,), (0,)) == Access("float32", (1,), (0,))


def pointwise(x, y, operands=(), **attributes):
    given = {"kernel": (1, 1), "stride": (1, 1), **attributes}
    return Task("convolution", (x,), y, ACCUMULATOR, operands, tuple(given.items()))


NHWC = Access("float32", (2, 8, 3, 5), (120, 1, 40, 8))


def test_rows_and_images_without_gaps_are_joined():
    merged = merge_rows(pointwise(NHWC, NHWC))
    assert merged.inputs[0] == Access("float32", (1, 8, 1, 30), (120, 1, 40, 8))
    memory = np.arange(240)
    np.testing.assert_array_equal(
        seen(merged.output, memory)[0, :, 0],
        seen(NHWC, memory).transpose(1, 0, 2, 3).reshape(8, 30),
    )


def test_a_gap_in_any_tensor_keeps_the_rows_apart():
    bordered = Access("float32", (2, 8, 3, 5), (280, 1, 56, 8))
    assert merge_rows(pointwise(bordered, NHWC)).output.shape == (2, 8, 3, 5)
    channel = Access("float32", (2, 8, 3, 5), (0, 1, 0, 0))
    assert merge_rows(pointwise(NHWC, NHWC, (channel,))).output.shape == (1, 8, 1, 30)
    column = Access("float32", (2, 8, 3, 5), (0, 0, 0, 1))
    assert merge_rows(pointwise(NHWC, NHWC, (column,))).output.shape == (2, 8, 3, 5)


def test_a_window_sees_rows():
    for attributes in ({"kernel": (3, 3)}, {"stride": (2, 1)}):
        task = pointwise(NHWC, NHWC, **attributes)
        assert merge_rows(task) is task


def test_an_access_is_the_placement_without_its_storage():
    placed = Placement("t", "uint8", (2, 3), (1, 2), offset=7)
    assert access(placed) == Access("uint8", (2, 3), (1, 2))
