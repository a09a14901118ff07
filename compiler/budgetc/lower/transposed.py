"""Transposed convolutions as ordinary ones, one for each phase of the stride.

    y[s m + r - p] = b + sum over j of x[m - j] W[s j + r],   r = 0 .. s - 1

The outputs of one phase r are a convolution of x by every s-th tap, turned round: nothing is multiplied by the zeros
between the inputs of a stride. The phases lie side by side as channels and are moved between each other at the end.
Where every phase has as many taps, they are the filters of one convolution.
Source: Shi et al. 2016, Is the deconvolution layer the same as a convolutional layer?
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from budgetc_targets.expression import ACCUMULATOR

from budgetc.lower.graph import Array, Graph, Operation
from budgetc.lower.select_moves import Selected

_ROOM = 16
"""Phases at most that are convolutions of their own; each may be a kernel of its own."""


@dataclass(frozen=True)
class _Axis:
    """One spatial dimension: n inputs, k taps, stride s; outputs from p on of all that there are."""

    n: int
    k: int
    s: int
    p: int
    out: int

    @property
    def first(self) -> int:
        """The first m that an output needs."""
        return self.p // self.s

    @property
    def count(self) -> int:
        """How many m are needed."""
        return -(-(self.p + self.out) // self.s) - self.first

    @property
    def cut(self) -> int:
        """Outputs that are computed before the first one that is wanted."""
        return self.p - self.first * self.s

    def taps(self, phase: int) -> int:
        return -(-(self.k - phase) // self.s)

    def pads(self, phase: int) -> tuple[int, int]:
        """Zeros before and after the input; negative ones would cut it."""
        taps = self.taps(phase)
        before = taps - 1 - self.first
        return before, self.count - self.n - before + taps - 1


def transposed_convolution(op: Operation, graph: Graph) -> Selected:
    """Convolutions and moves; None for what is left to generated C.

    That is: computed weights, groups, dilations, three dimensions, padding that onnx computes, fewer taps than the
    stride, and pads wider than the kernel.
    """
    x, y = graph.values[op.inputs[0]], graph.values[op.output]
    given = op.attributes
    rank = len(x.shape) - 2
    constants = [graph.constants.get(name) for name in op.inputs[1:] if name]
    weight = constants[0]
    if (
        x.dtype != "float32"
        or rank not in (1, 2)
        or any(c is None for c in constants)
        or weight is None
        or given.get("group", 1) != 1
        or given.get("auto_pad", "NOTSET") != "NOTSET"
        or "output_shape" in given
        or any(d != 1 for d in given.get("dilations", ()))
    ):
        return None
    filters = weight.shape[1]
    bias = constants[1] if len(constants) > 1 else None
    bias = np.zeros(filters, np.float32) if bias is None else bias
    strides = tuple(given.get("strides", (1,) * rank))
    pads = tuple(given.get("pads", (0,) * (2 * rank)))
    axes = [
        _Axis(x.shape[2 + d], weight.shape[2 + d], strides[d], pads[d], y.shape[2 + d])
        for d in range(rank)
    ]
    phases = list(itertools.product(*(range(a.s) for a in axes)))
    windows = [_window(axes, phase) for phase in phases]
    if min(pads) < 0 or any(min(taps) < 1 or min(around) < 0 for taps, around in windows):
        return None
    kernels = [_kernel(weight, axes, phase) for phase in phases]
    if len(set(windows)) == 1:
        kernels = [np.concatenate(kernels)]
        bias = np.tile(bias, len(phases))
    elif len(phases) > _ROOM:
        return None
    return list(_operations(op, graph, axes, kernels, bias, [around for _, around in windows]))


def _window(axes: Sequence[_Axis], phase: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Taps of a phase by dimension, and pads as ONNX has them."""
    pads = [a.pads(r) for a, r in zip(axes, phase, strict=True)]
    taps = tuple(a.taps(r) for a, r in zip(axes, phase, strict=True))
    return taps, (*(p[0] for p in pads), *(p[1] for p in pads))


def _kernel(weight: Array, axes: Sequence[_Axis], phase: Sequence[int]) -> Array:
    """The filters of one phase, as a convolution has them: filters first, taps turned round."""
    every = tuple(slice(r, None, a.s) for a, r in zip(axes, phase, strict=True))
    taken = weight[(slice(None), slice(None), *every)]
    turned = np.flip(taken, axis=tuple(range(2, taken.ndim)))
    return np.ascontiguousarray(turned.swapaxes(0, 1))


def _operations(
    op: Operation,
    graph: Graph,
    axes: Sequence[_Axis],
    kernels: Sequence[Array],
    bias: Array,
    pads: Sequence[tuple[int, ...]],
) -> Iterator[Operation]:
    batch, filters = graph.values[op.output].shape[:2]
    counts, strides = [a.count for a in axes], [a.s for a in axes]
    count = math.prod(strides)
    rank = len(axes)

    def value(what: str, shape: Sequence[int]) -> str:
        return graph.add_value(f"{op.output}.{what}", tuple(shape), "float32")

    side_by_side = (batch, count * filters, *counts)
    plain = count == 1 and not any(a.cut for a in axes)
    phases = op.output if plain else value("phases", side_by_side)
    parts = [phases]
    if len(kernels) > 1:
        parts = [value("phase", (batch, filters, *counts)) for _ in kernels]
    for part, kernel, around in zip(parts, kernels, pads, strict=False):
        attributes = {
            "proto": op.attributes["proto"],
            "pads": around,
            "weight": kernel,
            "bias": bias,
            "border": 0,
        }
        yield Operation(
            "convolution", op.name, op.inputs[:1], (part,), attributes, ACCUMULATOR, anchors=1
        )
    if len(parts) > 1:
        offsets = tuple((0, k * filters, *(0,) * rank) for k in range(count))
        yield Operation("copy-into", op.name, tuple(parts), (phases,), {"offsets": offsets})
    if plain:
        return
    apart = value("apart", (batch, *strides, filters, *counts))
    yield Operation("view", op.name, (phases,), (apart,), {"view": "reshape"})
    inside = [axis for d in range(rank) for axis in (2 + rank + d, 1 + d)]
    order = (0, 1 + rank, *inside)
    between = value("between", (batch, filters, *(e for a in axes for e in (a.count, a.s))))
    yield Operation("view", op.name, (apart,), (between,), {"view": "transpose", "perm": order})
    whole = value("whole", (batch, filters, *(a.count * a.s for a in axes)))
    yield Operation("view", op.name, (between,), (whole,), {"view": "reshape"})
    ranges = ((0, 1), (0, 1), *((a.cut, 1) for a in axes))
    yield Operation("view", op.name, (whole,), op.outputs, {"view": "slice", "ranges": ranges})
