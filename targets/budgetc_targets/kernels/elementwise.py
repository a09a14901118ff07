"""Elementwise kernels with broadcasting, over any strides: arithmetic, activations, (de)quantisation, copies, transposes.

Dimensions are walked in the order of the output's memory, neighbours that are contiguous for every tensor are merged into
one, and the innermost is vectorised. An operand that strides there is gathered lane by lane, which is what a transpose is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from budgetc_specs.capability import Capability

from budgetc_targets.contract import Array, Kernel, Point
from budgetc_targets.expression import Ref
from budgetc_targets.kernels.tiles import point
from budgetc_targets.task import Access, Task


def collapse(output: Access, operands: Sequence[Access]) -> tuple[Access, list[Access]]:
    """The same work over as few dimensions as possible, the output's memory order outermost first."""
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
    done = [
        Access(a.dtype, tuple(shape), tuple(s)) for a, s in zip(accesses, strides, strict=True)
    ]
    return done[0], done[1:]


class Elementwise:
    """The elementwise family: no inputs of its own, everything is an operand of the expression."""

    kind: ClassVar[str] = "elementwise"

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Takes everything."""
        del task, capability
        return None

    def space(self, task: Task, capability: Capability) -> Sequence[Point]:
        """One point."""
        del task, capability
        return [point()]

    def pack(
        self, task: Task, capability: Capability, point: Point, constants: Mapping[str, Array]
    ) -> Sequence[Array]:
        """No constants of its own."""
        del task, capability, point, constants
        return []

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """The kernel's code."""
        del point
        from budgetc_targets.kernels.epilogue import Epilogue
        from budgetc_targets.kernels.writer import Writer

        output, operands = collapse(task.output, task.operands)
        flat = replace(task, output=output, operands=tuple(operands))
        copies = flat.expression == Ref(0) and operands[0].dtype == output.dtype
        size = np.dtype(output.dtype).itemsize if copies else 4
        writer = Writer(name, may_alias=task.may_alias)
        epilogue = _Strided(writer, flat, Epilogue(writer, flat, len(output.shape) - 1), copies)
        lanes = max(1, capability.vector_bytes // size)
        outer = output.shape[:-1]
        if task.parallel and outer:
            begin, end = writer.scalar("begin"), writer.scalar("end")
            with writer.loop("i0", end - begin, begin) as first:
                epilogue.nest([first], list(outer[1:]), lanes)
            return Kernel(writer.finish(), outer[0])
        epilogue.nest([], list(outer), lanes)
        return Kernel(writer.finish())


class _Strided:
    """The loops around the expression."""

    def __init__(self, writer: Any, task: Task, epilogue: Any, copies: bool) -> None:
        self._writer, self._task, self._epilogue = writer, task, epilogue
        self._copies = copies

    def nest(self, index: list[Any], outer: list[int], lanes: int) -> None:
        """Open the remaining outer loops, then run along the innermost dimension."""
        if outer:
            with self._writer.loop(f"i{len(index)}", outer[0]) as i:
                self.nest([*index, i], outer[1:], lanes)
            return
        from budgetc_targets.kernels.epilogue import powers

        length = self._task.output.shape[-1]
        if self._task.output.strides[-1] != 1:
            lanes = 1
        whole, rest = divmod(length, lanes)
        if whole:
            with self._writer.loop("v", whole) as v:
                self._step([*index, v * lanes], lanes)
        for first, part in powers(rest):
            self._step([*index, whole * lanes + first], part)

    def _step(self, index: list[Any], lanes: int) -> None:
        from budgetc_targets.kernels.writer import integer

        index = [integer(i) if isinstance(i, int) else i for i in index]
        if self._copies:
            self._epilogue.copy(index, lanes)
        else:
            self._epilogue.store_value(None, index, lanes)
