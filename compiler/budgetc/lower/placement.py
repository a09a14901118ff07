"""Where values lie: storages, and placements as strides over them.

A layout is nothing but an order of strides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from budgetc.lower.lowered import Fill, Region

Border = tuple[tuple[int, int], ...]
"""Extra elements before and after a tensor along each dimension."""


@dataclass(frozen=True)
class Want:
    """How the readers of a value would like it: memory order, outermost dimension first, and border."""

    order: tuple[int, ...]
    border: Border
    fill: int = 0

    def joined(self, other: "Want") -> "Want":
        """This wish with a border that serves the other one as well, where they agree otherwise."""
        bordered = any(map(sum, self.border)), any(map(sum, other.border))
        if self.order != other.order or not other.border or not self.border:
            return self
        if all(bordered) and self.fill != other.fill:
            return self
        border = tuple(
            (max(a, c), max(b, d)) for (a, b), (c, d) in zip(self.border, other.border, strict=True)
        )
        return Want(self.order, border, other.fill if bordered[1] else self.fill)


@dataclass(frozen=True)
class Storage:
    """A stretch of memory of one region; `index` is the port of an input or output."""

    name: str
    region: Region
    size: int  # bytes
    index: int = 0


@dataclass(frozen=True)
class Placement:
    """A value within a storage, offsets and strides in elements; `border` may be read around it."""

    storage: str
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int = 0
    border: Border = ()
    fill: int = 0

    @property
    def item(self) -> int:
        """Bytes of an element."""
        return np.dtype(self.dtype).itemsize

    def margin(self, dimension: int) -> tuple[int, int]:
        """The border along a dimension."""
        return self.border[dimension] if self.border else (0, 0)

    def dense(self) -> bool:
        """Whether the elements lie in row-major order without gaps."""
        expected = 1
        for extent, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if extent > 1 and stride != expected:
                return False
            expected *= extent
        return True

    def memory_order(self) -> tuple[int, ...]:
        """Dimensions by stride, outermost first; dimensions of one element keep their place."""
        order = sorted(
            (d for d, n in enumerate(self.shape) if n > 1), key=lambda d: -self.strides[d]
        )
        for d, n in enumerate(self.shape):
            if n == 1:
                order.insert(d, d)
        return tuple(order)


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """Element strides of a dense tensor."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def channels_last(rank: int) -> tuple[int, ...]:
    """The memory order in which dimension 1 is innermost."""
    return (0, *range(2, rank), 1) if rank > 2 else tuple(range(rank))


def place(name: str, dtype: str, shape: Sequence[int], want: Want) -> tuple[Placement, int]:
    """Lay a value out as wanted; also the bytes it takes."""
    border = want.border or tuple((0, 0) for _ in shape)
    strides, step = [0] * len(shape), 1
    for d in reversed(want.order):
        strides[d] = step
        step *= shape[d] + sum(border[d])
    offset = sum(low * s for (low, _), s in zip(border, strides, strict=True))
    placed = Placement(name, dtype, tuple(shape), tuple(strides), offset, border, want.fill)
    return placed, step * placed.item


def fills(placed: Placement, order: Sequence[int]) -> tuple[Fill, ...]:
    """The border as runs of bytes to set, from the storage's start, even rows of them together."""
    if not any(sum(b) for b in placed.border):
        return ()
    inner = [d for d in order if sum(placed.border[d])]
    outer = list(order[: order.index(inner[-1]) + 1])
    unit = placed.item
    for d in order[len(outer) :]:
        unit *= placed.shape[d]
    inside = np.zeros([placed.shape[d] + sum(placed.border[d]) for d in outer], bool)
    low = (placed.border[d][0] for d in outer)
    inside[tuple(slice(at, at + placed.shape[d]) for at, d in zip(low, outer, strict=True))] = True
    edge = np.flatnonzero(np.diff(np.concatenate([[True], inside.reshape(-1), [True]])))
    runs = [(int(a) * unit, int(b - a) * unit) for a, b in zip(edge[::2], edge[1::2], strict=True)]
    grouped: list[Fill] = []
    for at, width in runs:
        last = grouped[-1] if grouped else None
        one = last is not None and last.rows == 1
        even = last is not None and at == last.offset + last.rows * last.stride
        if last and last.width == width and (one or even):
            stride = at - last.offset if one else last.stride
            grouped[-1] = replace(last, rows=last.rows + 1, stride=stride)
        else:
            grouped.append(Fill(at, 1, width, width, placed.fill))
    return tuple(grouped)


def view(placed: Placement, shape: tuple[int, ...], how: Mapping[str, Any]) -> Placement | None:
    """The same elements seen as another tensor, or None where no strides can say it."""
    if how["view"] == "transpose":
        perm = how["perm"]
        border = tuple(placed.margin(d) for d in perm)
        return replace(
            placed, shape=shape, strides=tuple(placed.strides[d] for d in perm), border=border
        )
    if how["view"] == "slice":
        pairs = list(zip(how["ranges"], placed.strides, strict=True))
        offset = placed.offset + sum(start * stride for (start, _), stride in pairs)
        strides = tuple(step * stride for (_, step), stride in pairs)
        return replace(placed, shape=shape, strides=strides, offset=offset, border=())
    if how["view"] == "expand":
        lead = len(shape) - len(placed.shape)
        kept = tuple(
            s if n == m else 0
            for n, m, s in zip(placed.shape, shape[lead:], placed.strides, strict=True)
        )
        return replace(placed, shape=shape, strides=(0,) * lead + kept, border=())
    return _reshape(placed, shape)


def _reshape(placed: Placement, shape: tuple[int, ...]) -> Placement | None:
    """Split and merge dimensions where the memory between them has no gaps."""
    old = [(n, s) for n, s in zip(placed.shape, placed.strides, strict=True) if n > 1]
    strides: list[int] = []
    extents = list(shape)
    position = 0
    pending: list[tuple[int, int]] = []  # merged old dimensions not yet split up
    for extent in extents:
        if extent == 1:
            strides.append(0)
            continue
        if not pending:
            if position == len(old):
                return None
            pending = [old[position]]
            position += 1
        size, stride = pending[0]
        while size % extent or size < extent:
            if position == len(old) or stride != old[position][0] * old[position][1]:
                return None
            size, stride = size * old[position][0], old[position][1]
            position += 1
        strides.append(stride * (size // extent))
        pending = [(size // extent, stride)] if size > extent else []
    if pending or position != len(old):
        return None
    return replace(placed, shape=shape, strides=tuple(strides), border=())
