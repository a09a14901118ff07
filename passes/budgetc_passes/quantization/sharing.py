"""Which tensors must have the same code, and the code that each gets."""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from budgetc_passes.calibration import Statistic
from budgetc_passes.quantization.operators import clip_bounds, constant
from budgetc_passes.quantization.placement import Placement, Unit
from budgetc_passes.quantization.ranges import Affine, Range, affine_u8


def statistics(placement: Placement, statistic: Statistic) -> dict[str, Statistic]:
    """What to collect: only tensors whose code is not that of another or known from a constant."""
    carried = {unit.output for unit in placement.units if unit.kind == "carrier"}
    return {
        value.name or "": statistic
        for value in placement.coded
        if value not in carried and constant(value) is None
    }


def codes(placement: Placement, observed: Mapping[str, Range]) -> dict[ir.Value, Affine]:
    """The code of every coded tensor.

    A carrier's result has the code of its input, for a range that holds both. The inputs of a
    Concat take one common code too, except an input behind a Relu or Clip that would no longer be
    implied by it: that one keeps its own and is requantised by the Concat.
    """
    groups = _Groups(placement, observed)
    for unit in placement.units:
        if unit.kind == "carrier" and unit.node.op_type != "Concat":
            groups.join(unit.inputs[0], unit.output)
            groups.widen(unit.output, _fill(unit))
    for unit in placement.units:
        if unit.node.op_type == "Concat":
            _share(unit, groups)
    return {value: affine_u8(groups.range_of(value)) for value in placement.coded}


class _Groups:
    """Disjoint sets of tensors with a common range and the clips that it has to imply."""

    def __init__(self, placement: Placement, observed: Mapping[str, Range]) -> None:
        self._parent = {value: value for value in placement.coded}
        self._range: dict[ir.Value, Range | None] = {}
        self._clips: dict[ir.Value, list[tuple[float, float]]] = {v: [] for v in self._parent}
        for value in placement.coded:
            array = constant(value)
            if array is not None:
                self._range[value] = Range(float(array.min()), float(array.max()))
            else:
                self._range[value] = observed.get(value.name or "")
        for unit in placement.units:
            if unit.follower is not None and unit.output in self._clips:
                bounds = clip_bounds(unit.follower)
                if bounds is not None:
                    self._clips[unit.output].append(bounds)

    def root(self, value: ir.Value) -> ir.Value:
        while self._parent[value] is not value:
            value = self._parent[value]
        return value

    def join(self, first: ir.Value, second: ir.Value) -> None:
        a, b = self.root(first), self.root(second)
        if a is not b:
            self._parent[b] = a
            self._clips[a] += self._clips[b]
            self.widen(a, self._range[b])

    def widen(self, value: ir.Value, added: Range | None) -> None:
        root = self.root(value)
        held = self._range[root]
        if added is not None:
            self._range[root] = added if held is None else held.union(added)

    def range_of(self, value: ir.Value) -> Range:
        found = self._range[self.root(value)]
        if found is None:
            raise AssertionError(f"BUG: no range was collected for {value.name!r}")
        return found

    def accepts(self, value: ir.Value, wider: Range) -> bool:
        """Whether the clips that the range of the value implies are implied by the wider one."""
        now, then = affine_u8(self.range_of(value)), affine_u8(wider)
        return all(
            then.implies_clip(*bounds) or not now.implies_clip(*bounds)
            for bounds in self._clips[self.root(value)]
        )


def _share(unit: Unit, groups: _Groups) -> None:
    for value in unit.inputs:
        groups.widen(unit.output, groups.range_of(value))
    for value in unit.inputs:
        if groups.accepts(value, groups.range_of(unit.output)):
            groups.join(unit.output, value)


def _fill(unit: Unit) -> Range | None:
    """The value that a constant Pad adds to the range."""
    node = unit.node
    if node.op_type != "Pad":
        return None
    mode = node.attributes.get("mode")
    if mode is not None and mode.as_string() != "constant":
        return None
    fill = constant(node.inputs[2]) if len(node.inputs) > 2 else None
    value = 0.0 if fill is None else float(np.asarray(fill).reshape(()))
    return Range(value, value)
