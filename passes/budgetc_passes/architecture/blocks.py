"""Leave out residual blocks that add least to what goes by them.

A residual block computes y = s + f(s), and its branch f is left out. What is left of it is a scale and a shift of every
channel, by least squares on the calibration samples:

    y_c ~ a_c s_c + b_c,   a_c = (cov(s_c, y_c) + r) / (var(s_c) + r),   b_c = mean(y_c) - a_c mean(s_c)

with a small r, so that a channel that never changes has the scale 1. The block of which the least part of the variance
of y is missed then goes first.
"""

import functools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from budgetc_passes.calibration import Pairs, Watcher, watch
from budgetc_passes.contract import Evidence, Needs, Note, PassResult, Sample
from budgetc_passes.fusion.affine import LAYERS, Vector, channel_axis
from budgetc_passes.graph import (
    add_initializer,
    add_node,
    constant,
    dims,
    drop_dead,
    graph_of,
    is_op,
    label,
    substitute,
)
from budgetc_passes.invariants import finish, require
from budgetc_passes.names import require_known, split_names
from budgetc_passes.selection import check

RIDGE = 1e-3
"""Of the mean variance of the channels."""


@dataclass(frozen=True)
class DropBlocks:
    """Leaves out the residual blocks that add least: fewer layers, at a price in quality.

    A block has the name of the Add at its end. Its shortcut, be it empty or a projection, stays, with a
    scale and a shift for each channel that make up for the branch as far as they can. Blocks that are
    left out in one go are chosen by what each alone would miss.

    Requires: opset >= 9, functions inlined, calibration samples. Ensures: the model passes the full ONNX
    checker; the interface is unchanged.
    Cost: takes the size and latency of a branch; changes the function.
    Source: Veit, Wilber and Belongie 2016, arXiv 1605.06431, section 4 (residual networks bear it).

    Attributes:
        count: how many blocks go, the least first.
        blocks: which ones go instead, by name, separated by ";"; one inside of a name has a backslash
            before it.
    """

    name: ClassVar[str] = "drop-blocks"
    count: int = 1
    blocks: str = ""

    def __post_init__(self) -> None:
        """Check the options."""
        if self.count < 1:
            message = f"drop-blocks: count is {self.count}; it is 1 or more"
            raise ValueError(message)

    def needs(self) -> Needs:
        """Calibration samples."""
        return Needs(calibration=True)

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Leave out the branches.

        Raises:
            PassError: `blocks` names a block that the model lacks; there are no samples, or they do not fit
                the model.
        """
        before = require(model, self.name)
        blocks = {label(block.end): block for block in residual_blocks(model)}
        wanted = split_names(self.blocks)
        require_known(wanted, list(blocks), "drop-blocks: blocks")
        if not blocks:
            nothing = Note("refused", "", "there is no residual block: left as it was")
            return finish(model, self.name, before, [nothing])
        told: Mapping[str, Rest] = evidence.measured(
            "rests", functools.partial(_measure, model, blocks, evidence.calibration())
        )
        order = sorted(blocks, key=lambda name: told[name].missed)
        gone = wanted or order[: self.count]
        notes = []
        for name, block in blocks.items():
            said = f"without it {told[name].missed:.1%} of the variance behind it are missed"
            if name in gone:
                _drop(block, told[name])
                notes.append(Note("did", name, f"left out: {said}"))
            else:
                notes.append(Note("refused", name, f"kept: {said}"))
        result = finish(model, self.name, before, notes)
        check(model, self.name)
        return result


@dataclass(frozen=True, eq=False)
class Block:
    """A residual block.

    Attributes:
        end: the Add.
        shortcut: what goes by the branch.
        axis: of the channels, in both and in the sum.
    """

    end: ir.Node
    shortcut: ir.Value
    axis: int


@dataclass(frozen=True, eq=False)
class Rest:
    """What a block is without its branch.

    Attributes:
        scale: of each channel of the shortcut.
        shift: of each channel.
        missed: the part of the variance of the sum that this does not give.
    """

    scale: Vector
    shift: Vector
    missed: float


def residual_blocks(model: ir.Model) -> list[Block]:
    """The sums of two values of one shape of which one goes by layers that the other goes through, in graph order."""
    found = (_block(node) for node in model.graph if is_op(node, "Add"))
    return [block for block in found if block is not None]


def _block(node: ir.Node) -> Block | None:
    first, second = node.inputs
    if (
        first is None
        or second is None
        or constant(first) is not None
        or constant(second) is not None
    ):
        return None
    shape = dims(node.outputs[0])
    if shape is None or dims(first) != shape or dims(second) != shape:
        return None
    sides = _upstream(first), _upstream(second)
    layers = [
        [
            each
            for each in graph_of(node)
            if is_op(each, *LAYERS) and each.outputs[0] in side and each.outputs[0] not in other
        ]
        for side, other in (sides, sides[::-1])
    ]
    if len(layers[0]) == len(layers[1]) or sides[0].keys().isdisjoint(sides[1]):
        return None
    at = 0 if len(layers[0]) < len(layers[1]) else 1
    axis = channel_axis(layers[1 - at][-1]) % len(shape)
    return Block(node, (first, second)[at], axis)


def _upstream(value: ir.Value) -> dict[ir.Value, None]:
    """The value and all that it is computed of, but for constants."""
    seen: dict[ir.Value, None] = {}
    left: list[ir.Value | None] = [value]
    while left:
        each = left.pop()
        if each is None or each in seen or each.is_initializer():
            continue
        seen[each] = None
        producer = each.producer()
        left += [] if producer is None else producer.inputs
    return seen


class _Sums:
    """The running moments of the channels of a shortcut and of the sum."""

    def __init__(self, axis: int, channels: int) -> None:
        self._axis = axis
        self._sums = np.zeros((5, channels))
        self._count = 0

    def update(self, shortcut: npt.NDArray[np.floating], total: npt.NDArray[np.floating]) -> None:
        """Take in both of one inference."""
        s, y = (
            np.moveaxis(each, self._axis, -1).reshape(-1, each.shape[self._axis]).astype(np.float64)
            for each in (shortcut, total)
        )
        self._sums += np.stack([each.sum(axis=0) for each in (s, y, s * s, s * y, y * y)])
        self._count += len(s)

    @property
    def rest(self) -> Rest:
        s, y, ss, sy, yy = self._sums / self._count
        spread, across, whole = ss - s * s, sy - s * y, yy - y * y
        ridge = RIDGE * float(spread.mean()) or 1.0
        scale = (across + ridge) / (spread + ridge)
        missed = whole - 2 * scale * across + scale**2 * spread
        part = float(missed.sum() / whole.sum()) if whole.sum() > 0 else 0.0
        return Rest(scale, y - scale * s, max(part, 0.0))


def _measure(
    model: ir.Model, blocks: Mapping[str, Block], samples: Iterable[Sample]
) -> dict[str, Rest]:
    watchers: dict[str, list[Watcher]] = {}
    sums = {}
    for name, block in blocks.items():
        total = block.end.outputs[0]
        sums[name] = _Sums(block.axis, (dims(total) or ())[block.axis])
        pairs = Pairs(sums[name].update)
        for value, half in ((block.shortcut, pairs.first), (total, pairs.second)):
            watchers.setdefault(value.name or "", []).append(half)
    watch(model, watchers, samples)
    return {name: each.rest for name, each in sums.items()}


def _drop(block: Block, rest: Rest) -> None:
    end, total = block.end, block.end.outputs[0]
    dtype = total.dtype or ir.DataType.FLOAT
    column: Sequence[int] = (-1,) + (1,) * (len(dims(total) or ()) - block.axis - 1)
    made: ir.Value = block.shortcut
    for op_type, what, numbers in (("Mul", "scale", rest.scale), ("Add", "shift", rest.shift)):
        stem = f"{label(end)}.{what}"
        held = add_initializer(
            graph_of(end), f"{stem}s", numbers.reshape(column).astype(dtype.numpy())
        )
        made = add_node(end, op_type, (made, held), shape=dims(total), dtype=dtype, stem=stem)
    substitute(total, made)
    drop_dead(end)
