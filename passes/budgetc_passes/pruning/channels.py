"""Remove the channels that are needed least, together with all that is coupled to them.

Which these are, samples tell (replacement.py), or by `method=norm` the filters alone. For each group of coupled
channels (coupling.py), with layers l and filters W_l[c]:

    score(c) = mean over l of |W_l[c]| / mean over c' of |W_l[c']|
    kept     = the round((1 - ratio) * channels) highest scores, rounded to the alignment
"""

import functools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from budgetc_specs.capability import Capability
from budgetc_specs.recipe import Step, Value

from budgetc_passes.contract import Evidence, Needs, Note, PassError, PassResult
from budgetc_passes.coupling import Group, coupling_groups
from budgetc_passes.graph import constant, dims, is_op, label, only_consumer
from budgetc_passes.invariants import finish, require
from budgetc_passes.names import join_values, require_known
from budgetc_passes.offer import Offer, Part, Stage
from budgetc_passes.options import check_words, values_of
from budgetc_passes.pruning.replacement import (
    Floats,
    key,
    measure,
    readers,
    replace,
    replaceable,
)
from budgetc_passes.regression import (
    MOST_COLUMNS,
    Original,
    set_filters,
    window_of,
)
from budgetc_passes.relations import Axis, Positions, length
from budgetc_passes.selection import select

MOST_WORK = 200_000_000
"""Products of one inference times convolutions: with more, `method=fit` takes longer than a search can wait."""

RATIOS = (0.125, 0.25, 0.375, 0.5, 0.625, 0.75)
"""What the search may choose among. Beyond them little of a layer is left; no model was seen to bear it."""

SHARE_DIGITS = 3
"""Decimals of a ratio that is none of these: no layer has so many channels that more would tell."""


@dataclass(frozen=True)
class PruneChannels:
    """Makes layers narrower by the channels that are needed least; smaller and faster, at a price in quality.

    A group of coupled channels has the name of the first layer that computes them. By
    `method=replace`, those channels go that the others of the group can stand in for, and the
    layers that read them are refitted by least squares on the calibration samples. By
    `method=fit`, convolutions are then fitted once more, each in its turn to what it computed before,
    so that it makes up for what those before it miss: better, and as slow as running the samples
    twice for each. By `method=norm`, those go that have the smallest filters, and nothing makes up
    for them.

    Requires: opset >= 9, functions inlined, float weights; best after `clean` and `fuse`, so that
    the scales of normalisations count in the filters. Ensures: the model passes the full ONNX
    checker; the interface is unchanged.
    Cost: lowers size and latency; changes the function, unless the removed channels were zero.
    Source: He et al. 2017, arXiv 1707.06168, section 3.1 (layers refitted by least squares);
    Hassibi and Stork 1993 (what goes, by what the rest cannot make up for); Li et al. 2017, arXiv
    1608.08710 (filters ranked by their norm).

    Attributes:
        ratio: share of the channels to remove from each group, between 0 and 1.
        groups: groups with a ratio of their own, as "conv1=0.5;conv3=0.25"; `ratio` is for the rest,
            and 0 leaves a group whole. A ; or = inside of a name has a backslash before it.
        align: the kept number is a multiple of this where the group is at least twice as wide; 0
            stands for the target's vector block.
        method: how channels are chosen: "norm" by their filters, "replace" by what the others cannot
            make up for, "fit" likewise and with convolutions fitted in turn; both need calibration
            samples.
        norm: how a filter is weighed, "l1" or "l2".
    """

    name: ClassVar[str] = "prune"
    stage: ClassVar[Stage] = "structure"
    ratio: float = 0.3
    groups: str = ""
    align: int = 0
    method: Literal["norm", "replace", "fit"] = "norm"
    norm: Literal["l1", "l2"] = "l2"

    def __post_init__(self) -> None:
        """Check the options."""
        check_words(self)
        own = values_of(self, "groups")
        if not 0 <= self.ratio < 1 or (self.ratio == 0 and not own):
            message = (
                f"prune: ratio is {self.ratio}; it is a share between 0 and 1, such as 0.3, or 0 "
                "where `groups` says what is pruned"
            )
            raise ValueError(message)
        for name, ratio in own.items():
            if not 0 <= ratio < 1:
                message = f"prune: groups: {name!r} has the ratio {ratio}; it is 0 or more, below 1"
                raise ValueError(message)
        if self.align < 0:
            message = (
                f"prune: align is {self.align}; it is a number of channels, or 0 for the target's"
            )
            raise ValueError(message)

    def needs(self) -> Needs:
        """Calibration samples, if they choose."""
        return Needs(calibration=self.method != "norm")

    @classmethod
    def offer(cls, model: ir.Model, capability: Capability) -> Offer:
        """A part for each group that may be pruned: the ratios, in eighths up to 0.75, that differ in what is kept.

        Channels are chosen by `method=replace`, or by `method=fit` where the model is small enough for it to be
        quick; without calibration data by `method=norm`.
        """
        block = capability.channel_block
        parts = []
        for group in coupling_groups(model):
            levels = _levels(len(group.bundles), block)
            if group.reason is None and len(levels) > 1:
                nodes = tuple(label(node) for node in group.touched)
                parts.append(Part(group.name, levels, nodes, _parameters(group)))
        quick = _work(model) <= MOST_WORK
        methods = ("replace", "fit") if quick else ("replace",)
        return Offer(tuple(parts), {"method": methods}, uncalibrated={"method": ("norm",)})

    @classmethod
    def step(cls, levels: Mapping[str, Value], options: Mapping[str, Value]) -> Step | None:
        """The ratio that most groups have, and by name the groups that have another."""
        return cls._by_ratios({name: float(level) for name, level in levels.items()}, options)

    @classmethod
    def gradual(cls, shares: Mapping[str, float], options: Mapping[str, Value]) -> Step | None:
        """The same by any ratios, to single channels."""
        ratios = {name: round(share, SHARE_DIGITS) for name, share in shares.items()}
        return cls._by_ratios(ratios, {**options, "align": 1})

    @classmethod
    def _by_ratios(cls, ratios: Mapping[str, float], options: Mapping[str, Value]) -> Step | None:
        if not any(ratios.values()):
            return None
        counts = Counter(ratios.values())
        ratio = min(counts, key=lambda each: (-counts[each], each))
        others = {name: own for name, own in ratios.items() if own != ratio}
        if not others:
            return Step.of(cls.name, **options, ratio=ratio)
        return Step.of(cls.name, **options, ratio=ratio, groups=join_values(others))

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Choose in every group, then remove all at once.

        Raises:
            PassError: `groups` names a group that the model lacks; by `method=replace` there are no
                samples, or they do not fit the model.
        """
        before = require(model, self.name)
        block = self.align or evidence.capability.channel_block
        notes: list[Note] = []
        removed: dict[Axis, set[int]] = {}
        groups = coupling_groups(model)
        ratios = self._ratios(groups)
        moments = self._moments(model, groups, evidence)
        original = Original(model, evidence.calibration) if self.method == "fit" else None
        for group in groups:
            total = len(group.bundles)
            count = _kept(total, ratios[group.name], block)
            if group.reason is not None:
                notes.append(Note("refused", group.name, f"kept all {total}: {group.reason}"))
            elif ratios[group.name] == 0:
                notes.append(Note("refused", group.name, f"kept all {total}: its ratio is 0"))
            elif count >= total:
                text = (
                    f"kept all {total}: no smaller number is a multiple of {block} near the ratio"
                )
                notes.append(Note("refused", group.name, text))
            else:
                bundles, how = self._chosen(model, group, moments, total - count)
                for bundle in bundles:
                    for axis, positions in bundle.items():
                        removed.setdefault(axis, set()).update(positions)
                text = f"kept {count} of {total} channels"
                also = f", with {', '.join(group.others)}" if group.others else ""
                notes.append(Note("did", group.name, text + also + how))
        if removed:
            kept = _remove(model, removed, self.name)
            if original is not None:
                notes += self._fit(model, original, kept, evidence)
        return finish(model, self.name, before, notes)

    def kept(self, total: int, block: int) -> int:
        """How many channels of a group without a ratio of its own stay."""
        return _kept(total, self.ratio, block)

    def _ratios(self, groups: Sequence[Group]) -> dict[str, float]:
        """The ratio of each group by its name."""
        own = values_of(self, "groups")
        known = [group.name for group in groups]
        require_known(own, known, "prune: groups")
        return {name: own.get(name, self.ratio) for name in known}

    def _moments(
        self, model: ir.Model, groups: Sequence[Group], evidence: Evidence
    ) -> Mapping[str, Floats]:
        """What samples say of all groups that may be pruned, so that the next ratio needs no samples."""
        if self.method == "norm":
            return {}
        free = [group for group in groups if group.reason is None]
        return evidence.measured("moments", lambda: measure(model, free, evidence.calibration()))

    def _fit(
        self,
        model: ir.Model,
        original: Original,
        kept: Mapping[Axis, Positions],
        evidence: Evidence,
    ) -> Iterator[Note]:
        """Fit each convolution to what it computed, from the first one on that lost anything."""
        changed = False
        for node in model.graph:
            window = window_of(node) if is_op(node, "Conv") else ""
            changed = changed or any(
                (value, at) in kept for value in node.inputs if value for at in (0, 1)
            )
            if isinstance(window, str) or not changed or window.columns > MOST_COLUMNS:
                continue
            if only_consumer(node.inputs[1]) is None:  # type: ignore[arg-type]
                continue  # what is right for one of its readers is wrong for the other
            mine = kept.get((node.outputs[0], 1))
            again = functools.partial(original.fitted, model, node, window, mine)
            found = evidence.measured(f"{self} of {label(node)}", again)
            set_filters(node, window, found)
            yield Note("did", label(node), "fitted to what it computed")

    def _chosen(
        self, model: ir.Model, group: Group, moments: Mapping[str, Floats], count: int
    ) -> tuple[list[Mapping[Axis, tuple[int, ...]]], str]:
        """The bundles to remove, and how the rest makes up for it; those that read them are refitted."""
        among = () if self.method == "norm" else readers(group, model)
        if not among:
            return self.weakest(group, count), ""
        own = [moments[key(group, reader)] for reader in among]
        gone = replaceable(group, among, own, count)
        replace(group, among, own, gone)
        refitted = ", ".join(label(reader.layer) for reader in among)
        return [group.bundles[at] for at in gone], f"; refitted {refitted}"

    def weakest(self, group: Group, count: int) -> list[Mapping[Axis, tuple[int, ...]]]:
        """The bundles with the lowest scores; among equals the last ones."""
        scores = np.zeros(len(group.bundles))
        for filters in group.filters:
            weights = _norms(constant(filters.weight), filters.axis, self.norm)
            axis: Axis = (filters.weight, filters.axis)
            own = np.array([weights[list(bundle[axis])].mean() for bundle in group.bundles])
            scores += own / own.mean() if own.any() else 1.0
        order = np.argsort(-scores, kind="stable")
        return [group.bundles[at] for at in order[len(order) - count :]]


def _kept(total: int, ratio: float, block: int) -> int:
    wanted = total * (1 - ratio)
    if block > 1 and total >= 2 * block:
        return min(max(int(wanted / block + 0.5), 1) * block, total)
    return max(int(wanted + 0.5), 1)


def _levels(total: int, block: int) -> tuple[float, ...]:
    """0 and, of the ratios that keep the same number of channels, the one nearest to what they do."""
    nearest: dict[int, float] = {}
    for ratio in RATIOS:
        kept = _kept(total, ratio, block)
        off = abs(1 - kept / total - ratio)
        if kept < total and (kept not in nearest or off < abs(1 - kept / total - nearest[kept])):
            nearest[kept] = ratio
    return (0.0, *nearest.values())


def _parameters(group: Group) -> int:
    """Elements of all constants that become smaller with the group."""
    held = (holder for holder, _ in group.bundles[0])
    values = (h if isinstance(h, ir.Value) else h.node.inputs[h.at] for h in held)
    arrays = (constant(value) for value in dict.fromkeys(values))
    return sum(array.size for array in arrays if array is not None)


def _norms(weight: npt.NDArray[np.generic] | None, axis: int, norm: str) -> npt.NDArray[np.float64]:
    if weight is None:
        message = "BUG: a group's weights are not constant"
        raise PassError(message)
    rows = np.moveaxis(weight.astype(np.float64), axis, 0).reshape(weight.shape[axis], -1)
    if norm == "l1":
        return np.asarray(np.abs(rows).sum(axis=1))
    return np.asarray(np.sqrt((rows**2).sum(axis=1)))


def _work(model: ir.Model) -> int:
    """Products of one inference, times the convolutions that would be fitted."""
    convolutions = [node for node in model.graph if is_op(node, "Conv")]
    products = 0
    for node in convolutions:
        weight, shape = dims(node.inputs[1]), dims(node.outputs[0])
        if weight is not None and shape is not None:
            products += math.prod(weight) * math.prod(shape[2:]) * shape[0]
    return products * len(convolutions)


def _remove(model: ir.Model, removed: Mapping[Axis, set[int]], name: str) -> dict[Axis, Positions]:
    """Take the positions out of everything that has them; what is kept of each axis."""
    kept = {
        (holder, at): np.delete(np.arange(length(holder, at)), sorted(positions))
        for (holder, at), positions in removed.items()
    }
    select(model, kept, name)
    return kept
