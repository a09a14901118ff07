"""Strided work in as few loops as possible."""

from collections.abc import Sequence

from budgetc_targets.task import Access


def collapse(output: Access, operands: Sequence[Access]) -> tuple[Access, list[Access]]:
    """The same work in as few dimensions as possible, in the output's memory order.

    Neighbours that are contiguous for every tensor become one dimension; the innermost is last.
    """
    order = sorted(
        (d for d in range(len(output.shape)) if output.shape[d] > 1),
        key=lambda d: -output.strides[d],
    )
    accesses = [output, *operands]
    shape: list[int] = []
    strides: list[list[int]] = [[] for _ in accesses]
    for d in order:
        extent = output.shape[d]
        joins = bool(shape) and all(
            s[-1] == a.strides[d] * extent for s, a in zip(strides, accesses, strict=True)
        )
        if joins:
            shape[-1] *= extent
        else:
            shape.append(extent)
        for s, a in zip(strides, accesses, strict=True):
            if joins:
                s[-1] = a.strides[d]
            else:
                s.append(a.strides[d])
    if not shape:
        shape, strides = [1], [[1 if i == 0 else 0] for i in range(len(accesses))]
    done = [Access(a.dtype, tuple(shape), tuple(s)) for a, s in zip(accesses, strides, strict=True)]
    return done[0], done[1:]
