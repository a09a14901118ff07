"""Placements against numpy: the same elements under other strides, and borders filled to the byte."""

import numpy as np
from budgetc.lower.placement import (
    Placement,
    Want,
    channels_last,
    fills,
    place,
    row_major,
    view,
)
from hypothesis import assume, given
from hypothesis import strategies as st

shapes = st.lists(st.integers(1, 4), min_size=0, max_size=4).map(tuple)


@st.composite
def wants(draw, shape):
    border = tuple((draw(st.integers(0, 2)), draw(st.integers(0, 2))) for _ in shape)
    order = tuple(draw(st.permutations(range(len(shape)))))
    return Want(order, border if draw(st.booleans()) else (), draw(st.integers(0, 255)))


@st.composite
def placements(draw):
    shape = draw(shapes)
    return place("t", "uint8", shape, draw(wants(shape)))


def element_indices(placed, memory):
    """The memory as numpy sees it through the placement."""
    strides = [s * memory.itemsize for s in placed.strides]
    return np.lib.stride_tricks.as_strided(memory[placed.offset :], placed.shape, strides)


@given(placements())
def test_elements_have_places_of_their_own_within_the_storage(made):
    placed, size = made
    seen = element_indices(placed, np.arange(size * 2))
    assert len(np.unique(seen)) == seen.size
    assert seen.max(initial=0) < size


@given(placements())
def test_fills_cover_the_border_and_nothing_else(made):
    placed, size = made
    memory = np.full(size, 7, np.uint16)
    for fill in fills(placed, sorted(range(len(placed.shape)), key=lambda d: -placed.strides[d])):
        for row in range(fill.rows):
            at = fill.offset + row * fill.stride
            assert np.all(memory[at : at + fill.width] == 7), "a byte is set twice"
            memory[at : at + fill.width] = 1000 + fill.value
    inside = np.zeros(size, bool)
    inside[element_indices(placed, np.arange(size * 2)).ravel()] = True
    assert np.all(memory[inside] == 7)
    assert np.all(memory[~inside] == 1000 + placed.fill)


@given(placements(), st.data())
def test_a_transpose_is_numpys(made, data):
    placed, size = made
    perm = tuple(data.draw(st.permutations(range(len(placed.shape)))))
    shape = tuple(placed.shape[d] for d in perm)
    seen = view(placed, shape, {"view": "transpose", "perm": perm})
    memory = np.arange(size * 2)
    expected = element_indices(placed, memory).transpose(perm)
    np.testing.assert_array_equal(element_indices(seen, memory), expected)
    assert [seen.margin(new) for new in range(len(perm))] == [placed.margin(old) for old in perm]


@given(placements(), st.data())
def test_a_slice_is_numpys(made, data):
    placed, size = made
    cuts, ranges = [], []
    for extent in placed.shape:
        start = data.draw(st.integers(0, extent - 1))
        step = data.draw(st.integers(1, 3))
        cuts.append(slice(start, extent, step))
        ranges.append((start, step))
    memory = np.arange(size * 2)
    expected = element_indices(placed, memory)[tuple(cuts)]
    seen = view(placed, expected.shape, {"view": "slice", "ranges": tuple(ranges)})
    np.testing.assert_array_equal(element_indices(seen, memory), expected)


@given(placements(), st.data())
def test_an_expansion_is_numpys(made, data):
    placed, size = made
    lead = data.draw(st.lists(st.integers(1, 3), max_size=2))
    shape = (*lead, *(n if n > 1 else data.draw(st.integers(1, 3)) for n in placed.shape))
    memory = np.arange(size * 2)
    seen = view(placed, shape, {"view": "expand"})
    expected = np.broadcast_to(element_indices(placed, memory), shape)
    np.testing.assert_array_equal(element_indices(seen, memory), expected)


@given(placements(), st.data())
def test_a_reshape_is_numpys_or_none(made, data):
    placed, size = made
    extents = [n for n in placed.shape for n in _factors(n)]
    order = [*extents, *([1] * data.draw(st.integers(0, 2)))]
    shape, current = [], 1
    for extent in order:
        current *= extent
        if data.draw(st.booleans()):
            shape.append(current)
            current = 1
    shape = (*shape, current) if current > 1 else tuple(shape)
    assume(np.prod(shape, dtype=int) == np.prod(placed.shape, dtype=int))
    memory = np.arange(size * 2)
    seen = view(placed, shape, {"view": "reshape"})
    expected = element_indices(placed, memory).reshape(shape)
    if seen is None:
        assert not placed.dense()
        assert not np.shares_memory(expected, memory), "numpy found strides for it"
    else:
        np.testing.assert_array_equal(element_indices(seen, memory), expected)


def _factors(number):
    return [2, 2] if number == 4 else [number]


def test_a_border_does_not_survive_a_reshape():
    placed, _ = place("t", "float32", (2, 3, 4), Want((0, 1, 2), ((1, 1), (0, 0), (0, 0))))
    assert view(placed, (2, 12), {"view": "reshape"}).border == ()


def test_row_major_strides():
    assert row_major((2, 3, 4)) == (12, 4, 1)
    assert row_major(()) == ()


def test_channels_last_keeps_matrices_as_they_are():
    assert channels_last(4) == (0, 2, 3, 1)
    assert channels_last(3) == (0, 2, 1)
    assert channels_last(2) == (0, 1)


def test_dense_means_row_major_without_gaps():
    assert Placement("t", "float32", (2, 3), (3, 1)).dense()
    assert Placement("t", "float32", (1, 3), (99, 1)).dense()
    assert not Placement("t", "float32", (2, 3), (1, 2)).dense()
    assert not Placement("t", "float32", (2, 3), (4, 1)).dense()
    assert not Placement("t", "float32", (2, 3), (0, 1)).dense()
    assert Placement("t", "float32", (), ()).dense()


def test_memory_order_is_by_stride_and_single_elements_keep_their_place():
    assert Placement("t", "float32", (1, 3, 5, 5), (75, 1, 15, 3)).memory_order() == (0, 2, 3, 1)
    assert Placement("t", "float32", (2, 3), (1, 2)).memory_order() == (1, 0)


def test_joined_wishes_have_the_wider_border():
    one = Want((0, 1), ((1, 0), (0, 2)), 5)
    assert one.joined(Want((0, 1), ((0, 3), (1, 1)), 5)).border == ((1, 3), (1, 2))
    assert one.joined(Want((1, 0), ((9, 9), (9, 9)), 5)) == one
    assert one.joined(Want((0, 1), ((9, 9), (9, 9)), 6)) == one, "one byte cannot be both"
    bare = Want((0, 1), ((0, 0), (0, 0)), 0)
    assert bare.joined(one) == one
    assert one.joined(bare) == one
