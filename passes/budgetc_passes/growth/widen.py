"""Make layers wider by copies of their channels, so that the model computes what it did.

A layer with weights W reads the channels x of a group. Where channel c is there n_c times,

    sum over c of W_c x_c  =  sum over c of n_c (W_c / n_c) x_c

so that what computes a channel is repeated (filters, biases, statistics of normalisations, depthwise filters, slopes)
and what sums over channels is divided. What goes together, the coupling groups say (coupling.py): a channel is copied
wherever a residual, a concatenation or a reshape hands it on.

A copy lies behind its channel. Where a channel has several positions on an axis, as after Flatten, runs of neighbours
are copied as a whole.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from budgetc_specs.recipe import Step

from budgetc_passes.contract import Evidence, Needs, Note, PassError, PassResult
from budgetc_passes.contraction import contraction
from budgetc_passes.coupling import Group, coupling_groups
from budgetc_passes.graph import Array, constant, label, set_constant
from budgetc_passes.invariants import finish, require
from budgetc_passes.names import require_known
from budgetc_passes.options import values_of
from budgetc_passes.relations import Axis, Positions, length
from budgetc_passes.selection import select


@dataclass(frozen=True)
class Widen:
    """Makes layers wider by copies of their channels: the same answers, and more for training to work with.

    A group of coupled channels has the name of the first layer that computes them, as in `prune`.
    Copies are spread evenly over the channels. Training moves a copy as it moves its channel, unless
    `noise` makes them differ.

    Requires: opset >= 9, functions inlined, float weights. Ensures: without noise, outputs equal those
    of the model before within rounding; the model passes the full ONNX checker; the interface is
    unchanged.
    Cost: grows size and latency; pays only if the model is trained afterwards.
    Source: Chen, Goodfellow and Shlens 2016, arXiv 1511.05641, section 2.2 (Net2WiderNet).

    Attributes:
        ratio: how many channels each group gains, as a share of what it has: 1.0 doubles it.
        groups: groups with a ratio of their own, as "conv1=1.0;conv3=0.5"; `ratio` is for the rest,
            and 0 leaves a group as it is. A ; or = inside of a name has a backslash before it.
        align: the new number is a multiple of this where the group grows beyond it; 0 stands for the
            target's vector block.
        noise: how far the filters of copies are moved at random, as a share of the deviation of their
            weights; what the model computes changes by this.
        seed: of the noise.
    """

    name: ClassVar[str] = "widen"
    ratio: float = 1.0
    groups: str = ""
    align: int = 0
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the options."""
        own = values_of(self, "groups")
        for said, ratio in (
            ("ratio", self.ratio),
            *((f"groups: {n!r}", r) for n, r in own.items()),
        ):
            if not 0 <= ratio <= MOST:
                message = (
                    f"widen: {said} is {ratio}; it is the share by which channels grow in number, "
                    f"such as 1.0 for twice as many, at most {MOST}"
                )
                raise ValueError(message)
        if self.ratio == 0 and not own:
            message = "widen: ratio is 0 and `groups` names nothing, so that nothing would grow"
            raise ValueError(message)
        if self.align < 0:
            message = (
                f"widen: align is {self.align}; it is a number of channels, or 0 for the target's"
            )
            raise ValueError(message)
        if not 0 <= self.noise <= 1:
            message = f"widen: noise is {self.noise}; it is a share between 0 and 1, such as 0.01"
            raise ValueError(message)
        if self.seed < 0:
            message = f"widen: seed is {self.seed}; it is 0 or more"
            raise ValueError(message)

    @classmethod
    def growths(cls) -> tuple[Step, ...]:
        """Twice as wide, and four times; with noise, since copies that are equal learn alike."""
        return tuple(Step.of(cls.name, ratio=ratio, noise=NOISE) for ratio in (1.0, 3.0))

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Widen every group that has a ratio, all at once.

        Raises:
            PassError: `groups` names a group that the model lacks.
        """
        before = require(model, self.name)
        block = self.align or evidence.capability.channel_block
        groups = coupling_groups(model)
        own = values_of(self, "groups")
        require_known(own, [group.name for group in groups], "widen: groups")
        notes: list[Note] = []
        growing: list[tuple[Group, Positions]] = []
        for group in groups:
            total = len(group.bundles)
            ratio = own.get(group.name, self.ratio)
            count = grown(total, ratio, block)
            reason = "its ratio is 0" if ratio == 0 else group.reason or _reason(group, model)
            if reason is None and count == total:
                reason = f"no larger number is a multiple of {block} near the ratio"
            if reason is not None:
                notes.append(Note("refused", group.name, f"left at {total}: {reason}"))
                continue
            growing.append((group, _copies(total, count)))
            also = f", with {', '.join(group.others)}" if group.others else ""
            notes.append(Note("did", group.name, f"{count} channels instead of {total}{also}"))
        if growing:
            self._widen(model, growing)
        return finish(model, self.name, before, notes)

    def _widen(self, model: ir.Model, growing: list[tuple[Group, Positions]]) -> None:
        layouts = _layouts(growing)
        for node in model.graph:
            summed = contraction(node)
            if summed is not None and summed.rows in layouts:
                _divide(summed.rows, layouts[summed.rows])
        select(model, {axis: layout.chosen for axis, layout in layouts.items()}, self.name)
        if self.noise:
            for group, _ in growing:
                for filters in group.filters:
                    where = layouts[filters.weight, filters.axis]
                    self._disturb(filters.layer, filters.axis, where.copy, group.name)

    def _disturb(self, layer: ir.Node, axis: int, copy: npt.NDArray[np.bool_], name: str) -> None:
        weight = _weights(layer.inputs[1])
        random = np.random.default_rng([self.seed, zlib.crc32(f"{name} {label(layer)}".encode())])
        drawn = random.standard_normal(weight.shape) * (self.noise * weight.std())
        shape = [1] * weight.ndim
        shape[axis] = -1
        moved = weight + drawn * copy.reshape(shape)
        set_constant(layer, 1, moved.astype(weight.dtype), self.name)


NOISE = 0.1
"""Of copies that are to be trained: they must differ, and training makes up for it soon."""

MOST = 16.0
"""The largest ratio: beyond it a slip of the pen is more likely than a plan."""


def grown(total: int, ratio: float, block: int) -> int:
    """How many channels a group of `total` has afterwards."""
    wanted = total * (1 + ratio)
    if block > 1 and wanted >= block:
        return max(int(wanted / block + 0.5) * block, total)
    return int(wanted + 0.5)


@dataclass(frozen=True, eq=False)
class _Layout:
    """An axis afterwards.

    Attributes:
        chosen: which of its positions of before each of its positions is.
        copy: whether it is one of those that are new.
        share: one over the number of times that the channel is there; for each position of before.
    """

    chosen: Positions
    copy: npt.NDArray[np.bool_]
    share: npt.NDArray[np.float64]


def _copies(total: int, count: int) -> Positions:
    """How often each channel is there afterwards: spread evenly, each once at least."""
    ends = np.arange(total + 1, dtype=np.int64) * count // total
    return np.diff(ends)


def _layouts(growing: list[tuple[Group, Positions]]) -> dict[Axis, _Layout]:
    """Every axis that channels lie on; several groups may share one, as after Concat."""
    owners: dict[Axis, Positions] = {}
    times = [1]
    for group, copies in growing:
        for bundle, count in zip(group.bundles, copies, strict=True):
            for axis, positions in bundle.items():
                if axis not in owners:
                    owners[axis] = np.zeros(length(*axis), np.int64)
                owners[axis][list(positions)] = len(times)
            times.append(int(count))
    return {axis: _layout(owner, times) for axis, owner in owners.items()}


def _layout(owner: Positions, times: list[int]) -> _Layout:
    chosen: list[int] = []
    copy: list[bool] = []
    for run in _runs(owner):
        count = times[owner[run[0]]]
        chosen += run * count
        copy += [False] * len(run) + [True] * (len(run) * (count - 1))
    share = 1 / np.array(times, np.float64)[owner]
    return _Layout(np.array(chosen, np.int64), np.array(copy), share)


def _runs(owner: Positions) -> Iterator[list[int]]:
    """Neighbouring positions of one channel; what belongs to none, whatever it is, is copied never."""
    for _, run in groupby(range(len(owner)), key=lambda at: owner[at]):
        yield list(run)


def _reason(group: Group, model: ir.Model) -> str | None:
    """Why copies would change what the model computes, or where they belong would not be known; else None."""
    axes = group.bundles[0]
    if len(group.bundles) == 1 and any(len(positions) > 1 for positions in axes.values()):
        return "one channel alone does not tell how it is laid out"
    for node in model.graph:
        summed = contraction(node)
        if summed is None or (summed.source not in axes and summed.rows not in axes):
            continue
        value, axis = summed.rows
        assert isinstance(value, ir.Value)
        weight = constant(value)
        if weight is None or not value.is_initializer() or weight.dtype.kind != "f":
            return f"{label(node)} ({node.op_type}) has no constant weights to divide"
        for other in value.consumers():
            again = contraction(other)
            if again is None or again.rows != (value, axis) or again.source not in axes:
                return f"{label(other)} ({other.op_type}) reads the weights of {label(node)}"
    return None


def _divide(rows: Axis, layout: _Layout) -> None:
    value, axis = rows
    assert isinstance(value, ir.Value)
    weight = _weights(value)
    shape = [1] * weight.ndim
    shape[axis] = -1
    shared = weight.astype(np.float64) * layout.share.reshape(shape)
    value.const_value = ir.tensor(shared.astype(weight.dtype), name=value.name)


def _weights(value: ir.Value | None) -> Array:
    array = constant(value)
    if array is None:
        message = "BUG: widen: weights are not constant"
        raise PassError(message)
    return array
