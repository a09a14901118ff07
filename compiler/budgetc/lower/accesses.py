"""Placements as kernels see them: element strides in the index space that a kernel walks."""

from collections.abc import Sequence
from dataclasses import replace

from budgetc_targets.task import Access, Task

from budgetc.lower.placement import Placement


def access(placed: Placement) -> Access:
    """The value as it is."""
    return Access(placed.dtype, placed.shape, placed.strides)


def broadcast(placed: Placement, shape: tuple[int, ...]) -> Access:
    """How a value is read in the index space of a larger one, by numpy's rules."""
    lead = len(shape) - len(placed.shape)
    strides = [0] * lead
    for extent, wanted, stride in zip(placed.shape, shape[lead:], placed.strides, strict=True):
        strides.append(stride if extent == wanted > 1 else 0)
    return Access(placed.dtype, shape, tuple(strides))


def two_dimensional(given: Access) -> Access:
    """(n, c, w) as (n, c, 1, w)."""
    if len(given.shape) == 4:
        return given
    (n, c, w), (sn, sc, sw) = given.shape, given.strides
    return Access(given.dtype, (n, c, 1, w), (sn, sc, 0, sw))


def four_dimensional(given: Access) -> Access:
    """Leading dimensions of 1, so that every task of a family has the same rank."""
    lead = 4 - len(given.shape)
    return replace(given, shape=(1,) * lead + given.shape, strides=(0,) * lead + given.strides)


def rows_as_pixels(given: Access) -> Access:
    """(a, b, m, k) as the convolution's (a, k, b, m); missing leading dimensions are 1."""
    lead = 4 - len(given.shape)
    shape = (1,) * lead + given.shape
    strides = (0,) * lead + given.strides
    order = (0, 3, 1, 2)
    return Access(given.dtype, tuple(shape[d] for d in order), tuple(strides[d] for d in order))


def with_reduced_axes(given: Access, full: tuple[int, ...], axes: Sequence[int]) -> Access:
    """A reduction's output in the index space of its input: reduced axes of extent 1, stride 0."""
    kept = list(zip(given.shape, given.strides, strict=True))
    if len(kept) == len(full):
        strides = tuple(0 if d in axes else kept[d][1] for d in range(len(full)))
        return Access(given.dtype, given.shape, strides)
    remaining = iter(kept)
    pairs = [(1, 0) if d in axes else next(remaining) for d in range(len(full))]
    return Access(given.dtype, tuple(n for n, _ in pairs), tuple(s for _, s in pairs))


def merge_rows(task: Task) -> Task:
    """One long row instead of many where a 1x1 kernel sees no rows: no remainder for each of them.

    First the rows of an image are joined, then the images of a batch, as far as every tensor's
    strides allow.
    """
    attributes = dict(task.attributes)
    if attributes.get("kernel") != (1, 1) or attributes.get("stride") != (1, 1):
        return task
    if task.kind not in ("convolution", "depthwise"):
        return task
    for outer, inner in ((2, 3), (0, 3)):
        joined = [_joined(a, outer, inner) for a in (*task.inputs, task.output, *task.operands)]
        accesses = [a for a in joined if a is not None]
        if len(accesses) < len(joined):
            return task
        count = len(task.inputs)
        task = replace(
            task,
            inputs=tuple(accesses[:count]),
            output=accesses[count],
            operands=tuple(accesses[count + 1 :]),
        )
    return task


def _joined(given: Access, outer: int, inner: int) -> Access | None:
    """The outer dimension taken into the inner one, or None where memory has a gap between them."""
    extent, step = given.shape[inner], given.strides[inner]
    if given.shape[outer] > 1 and extent > 1 and given.strides[outer] != extent * step:
        return None
    shape, strides = list(given.shape), list(given.strides)
    if extent == 1:
        strides[inner] = strides[outer]
    shape[inner], shape[outer] = extent * shape[outer], 1
    return Access(given.dtype, tuple(shape), tuple(strides))
