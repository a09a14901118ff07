"""Operators that move elements or reduce axes, as functions of torch."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from budgetc_passes.learning.elementwise import Build
from budgetc_passes.learning.site import Function, Site

_OPSET_OF_SOFTMAX_BY_AXIS = 13


def _reshaped(site: Site) -> Function:
    shape = site.made()
    return lambda x, *_: x.reshape(shape)


def _transpose(site: Site) -> Function:
    rank = len(site.shape(0))
    order = site.integers("perm", tuple(reversed(range(rank))))
    return lambda x: x.permute(order)


def _concat(site: Site) -> Function:
    axis = site.axis(0, len(site.made()))
    return lambda *parts: torch.cat(parts, axis)


def _selecting(wanted: Sequence[tuple[int, Tensor]]) -> Function:
    """Takes positions along axes, one axis after another."""

    def run(x: Tensor, *_: Tensor) -> Tensor:
        for axis, positions in wanted:
            x = x.index_select(axis, positions)
        return x

    return run


def _slice(site: Site) -> Function:
    shape = site.shape(0)
    starts, ends = site.listed(1, "starts") or (), site.listed(2, "ends") or ()
    axes = site.listed(3, "axes") or tuple(range(len(starts)))
    steps = site.listed(4, "steps") or (1,) * len(starts)
    wanted: list[tuple[int, Tensor]] = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        length = shape[axis]
        # A backward slice that goes to the very first element has an end below -length.
        stop = None if step < 0 and end < -length else end
        positions = range(length)[slice(start, stop, step)]
        if positions != range(length):
            wanted.append((axis % len(shape), torch.tensor(list(positions), dtype=torch.int64)))
    return _selecting(wanted)


def _split(site: Site) -> Function:
    axis = site.axis(0, len(site.shape(0)))
    sizes = [site.made(index)[axis] for index in range(len(site.node.outputs))]
    return lambda x, *_: torch.split(x, sizes, axis)


def _expand(site: Site) -> Function:
    shape = site.made()
    return lambda x, *_: x.expand(shape)


def _pad(site: Site) -> Function:
    shape = site.shape(0)
    rank = len(shape)
    pads = site.listed(1, "pads")
    if pads is None:
        raise site.refusal("does not say how far it pads")
    axes = site.listed(3, "axes") or tuple(range(rank))
    before, after = [0] * rank, [0] * rank
    for at, axis in enumerate(axes):
        before[axis], after[axis] = pads[at], pads[at + len(axes)]
    mode = site.text("mode", "constant")
    if mode == "constant":
        fill = site.constant(2)
        value = site.real("value", 0.0) if fill is None else float(fill.reshape(()))
        ends = [
            each for pair in zip(reversed(before), reversed(after), strict=True) for each in pair
        ]
        return lambda x, *_: functional.pad(x, ends, value=value)
    if mode not in {"edge", "reflect"} or min(*before, *after) < 0:
        raise site.refusal(f"pads by {mode!r}, which has no differentiable form")
    wanted = [
        (axis, torch.from_numpy(np.pad(np.arange(length), (before[axis], after[axis]), mode)))  # type: ignore[call-overload]
        for axis, length in enumerate(shape)
        if before[axis] or after[axis]
    ]
    return _selecting(wanted)


def _gather(site: Site) -> Function:
    shape = site.shape(0)
    axis = site.axis(0, len(shape))
    length = shape[axis]

    def run(x: Tensor, indices: Tensor) -> Tensor:
        found = torch.where(indices < 0, indices + length, indices).to(torch.int64)
        picked = x.index_select(axis, found.reshape(-1))
        return picked.reshape(*shape[:axis], *indices.shape, *shape[axis + 1 :])

    return run


def _shape(site: Site) -> Function:
    shape = site.shape(0)
    start = site.integer("start", 0)
    end = site.integer("end", len(shape))
    return lambda _: torch.tensor(shape[start:end], dtype=torch.int64)


def _constant_of_shape(site: Site) -> Function:
    shape = site.made()
    given = site.node.attributes.get("value")
    array = np.zeros(1, np.float32) if given is None else given.as_tensor().numpy()
    return lambda *_: torch.from_numpy(np.broadcast_to(array.reshape(()), shape).copy())


def _axes(site: Site) -> tuple[int, ...]:
    """The axes that a reduction takes, from the front."""
    rank = len(site.shape(0))
    axes = site.listed(1, "axes")
    if not axes:
        return () if site.integer("noop_with_empty_axes", 0) else tuple(range(rank))
    return tuple(axis % rank for axis in axes)


def _reduction(reduce: Callable[[Tensor, tuple[int, ...], bool], Tensor]) -> Build:
    def build(site: Site) -> Function:
        axes, kept = _axes(site), bool(site.integer("keepdims", 1))
        if not axes:
            return lambda x, *_: x
        return lambda x, *_: reduce(x, axes, kept)

    return build


def _product(x: Tensor, axes: tuple[int, ...], kept: bool) -> Tensor:
    for axis in sorted(axes, reverse=True):
        x = x.prod(axis, keepdim=kept)
    return x


def _softmax(function: Callable[[Tensor, int], Tensor]) -> Build:
    def build(site: Site) -> Function:
        shape = site.shape(0)
        if site.opset >= _OPSET_OF_SOFTMAX_BY_AXIS:
            axis = site.axis(-1, len(shape))
            return lambda x: function(x, axis)
        rows = math.prod(shape[: site.axis(1, len(shape))])
        return lambda x: function(x.reshape(rows, -1), 1).reshape(shape)

    return build


MOVES: dict[str, Build] = {
    "Concat": _concat,
    "ConstantOfShape": _constant_of_shape,
    "Expand": _expand,
    "Flatten": _reshaped,
    "Gather": _gather,
    "Pad": _pad,
    "Reshape": _reshaped,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _reshaped,
    "Transpose": _transpose,
    "Unsqueeze": _reshaped,
}
"""The same elements elsewhere."""

REDUCTIONS: dict[str, Build] = {
    "LogSoftmax": _softmax(torch.log_softmax),
    "ReduceL1": _reduction(lambda x, axes, kept: x.abs().sum(axes, keepdim=kept)),
    "ReduceL2": _reduction(lambda x, axes, kept: x.square().sum(axes, keepdim=kept).sqrt()),
    "ReduceMax": _reduction(lambda x, axes, kept: x.amax(axes, keepdim=kept)),
    "ReduceMean": _reduction(lambda x, axes, kept: x.mean(axes, keepdim=kept)),
    "ReduceMin": _reduction(lambda x, axes, kept: x.amin(axes, keepdim=kept)),
    "ReduceProd": _reduction(_product),
    "ReduceSum": _reduction(lambda x, axes, kept: x.sum(axes, keepdim=kept)),
    "ReduceSumSquare": _reduction(lambda x, axes, kept: x.square().sum(axes, keepdim=kept)),
    "Softmax": _softmax(torch.softmax),
}
"""Axes are reduced, or normalised by what is summed along them."""
