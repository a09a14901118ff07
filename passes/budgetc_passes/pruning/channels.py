"""Remove the channels whose filters weigh least, together with all that is coupled to them.

For each group of coupled channels (coupling.py), with layers l and filters W_l[c]:

    score(c) = mean over l of |W_l[c]| / mean over c' of |W_l[c']|
    kept     = the round((1 - ratio) * channels) highest scores, rounded to the alignment
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir

from budgetc_passes.contract import Evidence, Needs, Note, PassError, PassResult
from budgetc_passes.coupling import Group, coupling_groups
from budgetc_passes.graph import constant, dims, int_attribute, is_op, set_constant
from budgetc_passes.invariants import finish, require
from budgetc_passes.relations import Axis


@dataclass(frozen=True)
class PruneChannels:
    """Makes layers narrower by their weakest channels; smaller and faster, at a price in quality.

    Requires: opset >= 9, functions inlined, float weights; best after `clean` and `fuse`, so that
    the scales of normalisations count in the filters. Ensures: the model passes the full ONNX
    checker; the interface is unchanged.
    Cost: lowers size and latency; changes the function, unless the removed channels were zero.
    Source: Li et al. 2017, arXiv 1608.08710 (filters ranked by their L1 norm).

    Attributes:
        ratio: share of the channels to remove from each group, between 0 and 1.
        align: the kept number is a multiple of this where the group is at least twice as wide; 0
            stands for the target's vector block.
        norm: how a filter is weighed, "l1" or "l2".
    """

    name: ClassVar[str] = "prune"
    ratio: float = 0.3
    align: int = 0
    norm: Literal["l1", "l2"] = "l2"

    def __post_init__(self) -> None:
        """Check the options."""
        if not 0 < self.ratio < 1:
            message = f"prune: ratio is {self.ratio}; it is a share between 0 and 1, such as 0.3"
            raise ValueError(message)
        if self.align < 0:
            message = (
                f"prune: align is {self.align}; it is a number of channels, or 0 for the target's"
            )
            raise ValueError(message)
        if self.norm not in ("l1", "l2"):
            message = f'prune: norm is "{self.norm}"; it is "l1" or "l2"'
            raise ValueError(message)

    def needs(self) -> Needs:
        """Nothing."""
        return Needs()

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Choose in every group, then remove all at once."""
        before = require(model, self.name)
        block = self.align or evidence.capability.channel_block
        notes: list[Note] = []
        removed: dict[Axis, set[int]] = {}
        for group in coupling_groups(model):
            total = len(group.bundles)
            count = self.kept(total, block)
            if group.reason is not None:
                notes.append(Note("refused", group.name, f"kept all {total}: {group.reason}"))
            elif count >= total:
                text = (
                    f"kept all {total}: no smaller number is a multiple of {block} near the ratio"
                )
                notes.append(Note("refused", group.name, text))
            else:
                for bundle in self.weakest(group, total - count):
                    for axis, positions in bundle.items():
                        removed.setdefault(axis, set()).update(positions)
                notes.append(Note("did", group.name, f"kept {count} of {total} channels"))
        if removed:
            _remove(model, removed)
            _check(model, self.name)
        return finish(model, self.name, before, notes)

    def kept(self, total: int, block: int) -> int:
        """How many channels of a group stay."""
        wanted = total * (1 - self.ratio)
        if block > 1 and total >= 2 * block:
            return min(max(int(wanted / block + 0.5), 1) * block, total)
        return max(int(wanted + 0.5), 1)

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


def _norms(weight: npt.NDArray[np.generic] | None, axis: int, norm: str) -> npt.NDArray[np.float64]:
    if weight is None:
        message = "BUG: a group's weights are not constant"
        raise PassError(message)
    rows = np.moveaxis(weight.astype(np.float64), axis, 0).reshape(weight.shape[axis], -1)
    if norm == "l1":
        return np.asarray(np.abs(rows).sum(axis=1))
    return np.asarray(np.sqrt((rows**2).sum(axis=1)))


def _remove(model: ir.Model, removed: Mapping[Axis, set[int]]) -> None:
    """Take the positions out of constants and shapes, and bring attributes in line."""
    for (holder, axis), positions in removed.items():
        gone = sorted(positions)
        if not isinstance(holder, ir.Value):
            array = constant(holder.node.inputs[holder.at])
            if array is None:
                message = "BUG: a coupled vector is not constant"
                raise PassError(message)
            set_constant(holder.node, holder.at, np.delete(array, gone, axis), "pruned")
            continue
        array = constant(holder)
        if array is not None:
            holder.const_value = ir.tensor(np.delete(array, gone, axis), name=holder.name)
        shape = list(dims(holder) or ())
        shape[axis] -= len(gone)
        holder.shape = ir.Shape(shape)
    for node in model.graph:
        shape_in = dims(node.inputs[0]) if node.inputs else None
        if is_op(node, "Conv") and int_attribute(node, "group", 1) > 1 and shape_in is not None:
            weight = dims(node.inputs[1])
            if weight is not None and weight[1] == 1:
                node.attributes["group"] = ir.AttrInt64("group", shape_in[1])
        elif is_op(node, "Reshape"):
            _retarget(node)


def _retarget(node: ir.Node) -> None:
    target, shape = constant(node.inputs[1]), dims(node.outputs[0])
    before = dims(node.inputs[0])
    if target is None or shape is None or before is None:
        return
    # A target may say -1 and 0; only one that names a number that changed is written anew.
    said = [before[at] if item == 0 else int(item) for at, item in enumerate(target)]
    if any(item not in (-1, length) for item, length in zip(said, shape, strict=True)):
        set_constant(node, 1, np.array(shape, np.int64), f"{node.outputs[0].name}.shape")


def _check(model: ir.Model, name: str) -> None:
    try:
        onnx.checker.check_model(ir.to_proto(model), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        message = f"BUG: {name} left a model that the ONNX checker refuses: {error}"
        raise PassError(message) from error
