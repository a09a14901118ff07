"""What kernel calls are collected in before the arena is planned: storages, placements and steps."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from budgetc_specs.capability import Capability
from budgetc_specs.errors import ModelError, quoted
from budgetc_targets.contract import Family, Point
from budgetc_targets.expression import SOFTMAX_SLOTS, Expr, Ref, slots
from budgetc_targets.task import Task

from budgetc.lower.accesses import access, broadcast
from budgetc.lower.graph import Array, Graph, Operation
from budgetc.lower.lowered import Fill
from budgetc.lower.placement import Placement, Storage, Want, fills, place, row_major
from budgetc.lower.wants import wants_of

PARALLEL_WORK = 120_000
"""Work below which a second thread costs more than it brings, in f32 multiply-accumulates: about a microsecond."""

WORK_OF_PRODUCTS = {"uint8": 0.25, "bfloat16": 0.5}  # by what is read, where it is not 1
WORK_OF_AN_ELEMENT = 4.0  # loaded and stored
WORK_OF_SWEEPS = {"softmax": SOFTMAX_SLOTS, "attention": SOFTMAX_SLOTS, "normalisation": 12}
"""Of each element, over which they go three times, beside the expression; of attention, each score."""


@dataclass(frozen=True)
class Argument:
    """A byte offset into a storage."""

    storage: str
    offset: int

    @staticmethod
    def at(placed: Placement, offset: int | None = None) -> "Argument":
        """The first element of a placement, or another one, counted in elements."""
        return Argument(placed.storage, (placed.offset if offset is None else offset) * placed.item)


@dataclass(frozen=True)
class Step:
    """One kernel call. `constants` are what the family packs; `foreign` is an ONNX node.

    `part` says that it writes a part of the output's storage which no other such step touches.
    `point` is where in its family's space the kernel is built, once that is chosen; `code` is the task that is compiled
    where that is more general than the step's own, and `tasks` is then how many parallel tasks a call of it has.
    """

    label: str
    task: Task | None
    inputs: tuple[Argument, ...]
    operands: tuple[Argument, ...]
    outputs: tuple[Argument, ...]
    family: Family | None = None
    constants: Mapping[str, Array] | None = None
    foreign: Operation | None = None
    fills: tuple[Fill, ...] = ()
    macs: int = 0
    part: bool = False
    point: Point | None = None
    code: Task | None = None
    tasks: int = 0


class Steps:
    """The steps of a graph in order, and where every value lies.

    Attributes:
        steps: so far.
        storages: by name.
        placed: the placement of each value, by the value's name.
    """

    def __init__(self, graph: Graph, capability: Capability, families: Sequence[Family]) -> None:
        self.graph, self.capability, self.families = graph, capability, families
        self.steps: list[Step] = []
        self.storages: dict[str, Storage] = {}
        self.placed: dict[str, Placement] = {}
        self._wants = wants_of(graph)
        self._fills: dict[str, tuple[Fill, ...]] = {}  # of storages that nobody has written yet
        self._copies: dict[tuple[str, Want], Placement] = {}
        for index, name in enumerate(graph.inputs):
            self.placed[name] = self._port(name, "input", index)
        for name, array in graph.constants.items():
            self.storages[name] = Storage(name, "weights", array.nbytes)
            strides = row_major(array.shape)
            self.placed[name] = Placement(name, array.dtype.name, array.shape, strides)

    def region(self, placed: Placement) -> str:
        """Where a placement's storage is."""
        return self.storages[placed.storage].region

    def allocate(
        self, name: str, order: Sequence[int] | None = None, *, dense: bool = False
    ) -> Placement:
        """A place for a value about to be computed: the output port where that fits, else the arena.

        Args:
            name: the value.
            order: the memory order that suits who computes it, where no reader wishes another.
            dense: whether it must be row-major without a border, whatever readers wish.
        """
        value = self.graph.values[name]
        natural = Want(tuple(range(len(value.shape))), ())
        wanted = self._wants.get(name) or (replace(natural, order=tuple(order)) if order else None)
        want = natural if dense or wanted is None else wanted
        placed, size = place(name, value.dtype, value.shape, want)
        ports = [i for i, output in enumerate(self.graph.outputs) if output == name]
        if ports and placed.dense() and not any(map(sum, placed.border)):
            self.placed[name] = self._port(name, "output", ports[0])
        else:
            self._take(placed, size, want)
            self.placed[name] = placed
        return self.placed[name]

    def scratch(self, hint: str, like: str, want: Want) -> Placement:
        """Arena memory for a value of the type and shape of another."""
        value = self.graph.values[like]
        name = self.graph.add_value(hint, value.shape, value.dtype)
        placed, size = place(name, value.dtype, value.shape, want)
        self._take(placed, size, want)
        return placed

    def copied(self, name: str, want: Want) -> Placement:
        """A copy of a value laid out as wanted; the same copy for all who want the same."""
        wish = self._wants.get(name)
        if wish and want.border:
            want = want.joined(wish)
        if (name, want) not in self._copies:
            placed = self.scratch(f"{name}.copy", name, want)
            self.emit_map(f"copy {name}", Ref(0), [self.placed[name]], placed)
            self._copies[name, want] = placed
        return self._copies[name, want]

    def dense(self, name: str) -> Placement:
        """A value in row-major order without gaps, copied if need be."""
        placed = self.placed[name]
        if placed.dense():
            return placed
        return self.copied(name, Want(tuple(range(len(placed.shape))), ()))

    def finish(self) -> None:
        """Copy into the output ports what no operation computed there."""
        for index, name in enumerate(self.graph.outputs):
            if f"output:{index}" not in self.storages:
                port = self._port(name, "output", index)
                if not math.prod(port.shape):
                    continue
                self.emit_map(f"copy {name}", Ref(0), [self.placed[name]], port)

    def emit_map(
        self,
        label: str,
        expression: Expr,
        operands: Sequence[Placement],
        output: Placement,
        *,
        part: bool = False,
    ) -> None:
        """A call of an elementwise kernel; see `Step` for `part`."""
        accesses = tuple(broadcast(p, output.shape) for p in operands)
        task = Task("elementwise", (), access(output), expression, accesses)
        self.emit(label, task, [], operands, output, work=math.prod(output.shape), part=part)

    def emit(
        self,
        label: str,
        task: Task,
        inputs: Sequence[Argument],
        operands: Sequence[Placement],
        output: Placement,
        *,
        constants: Mapping[str, Array] | None = None,
        macs: int = 0,
        work: int = 0,
        part: bool = False,
    ) -> None:
        """A call of the first kernel family that takes the task.

        Args:
            label: what it computes, for people.
            task: the work.
            inputs: what the family itself reads.
            operands: what the task's expression reads.
            output: what is written; the border of a storage written first is filled before.
            constants: what the family packs.
            macs: multiply-accumulates.
            work: elements that are gone over besides; both decide whether threads share it.
            part: see `Step`.

        Raises:
            ModelError: no family takes it.
        """
        if self.capability.threads > 1 and _work(task, macs, work) > PARALLEL_WORK:
            task = replace(task, parallel=True)
        self.steps.append(
            Step(
                label=label,
                task=task,
                inputs=tuple(inputs),
                operands=tuple(Argument.at(p) for p in operands),
                outputs=(Argument.at(output),),
                family=self._family(label, task),
                constants=constants or {},
                fills=self._fills.pop(output.storage, ()),
                macs=macs,
                part=part,
            )
        )

    def emit_foreign(self, op: Operation) -> None:
        """The calls of what no kernel family computes; its tensors are dense."""
        inputs = [self.dense(name) for name in op.inputs if name]
        outputs = [self.allocate(name, dense=True) for name in op.outputs]
        self.steps.append(
            Step(
                label=op.name,
                task=None,
                inputs=tuple(map(Argument.at, inputs)),
                operands=(),
                outputs=tuple(map(Argument.at, outputs)),
                foreign=op,
            )
        )

    def takes(self, kind: str, task: Task) -> bool:
        """Whether a family of that kind takes the task."""
        changed = replace(task, kind=kind)
        families = (f for f in self.families if f.kind == kind)
        return any(f.refusal(changed, self.capability) is None for f in families)

    def _family(self, label: str, task: Task) -> Family:
        reasons = []
        for family in self.families:
            if family.kind == task.kind:
                reason = family.refusal(task, self.capability)
                if reason is None:
                    return family
                reasons.append(reason)
        raise ModelError(
            f"no {task.kind} kernel of the target {quoted(self.capability.target)} takes "
            f"{quoted(label)}: {'; '.join(reasons) or 'it has none'}",
            "compile for another kind of target, or replace the operator in the model.",
        )

    def _port(self, name: str, region: Literal["input", "output"], index: int) -> Placement:
        value = self.graph.values[name]
        size = math.prod(value.shape) * np.dtype(value.dtype).itemsize
        storage = Storage(f"{region}:{index}", region, size, index)
        self.storages[storage.name] = storage
        return Placement(storage.name, value.dtype, value.shape, row_major(value.shape))

    def _take(self, placed: Placement, size: int, want: Want) -> None:
        self.storages[placed.storage] = Storage(placed.storage, "arena", size)
        border = fills(placed, want.order)
        if border:
            self._fills[placed.storage] = border


def _work(task: Task, macs: int, elements: int) -> float:
    """What a task takes, in f32 multiply-accumulates."""
    product = WORK_OF_PRODUCTS.get(task.inputs[0].dtype, 1.0) if task.inputs else 1.0
    element = WORK_OF_AN_ELEMENT + WORK_OF_SWEEPS.get(task.kind, 0)
    element += sum(map(slots, task.expressions))
    return macs * product + elements * element
