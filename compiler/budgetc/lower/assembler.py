"""Steps as the calls of an entry point, over what all entry points of a library share: weights and kernels."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count

import numpy as np
from budgetc_specs.capability import Capability
from budgetc_targets.contract import Kernel, Point

from budgetc.lower.foreign import ForeignCompiler
from budgetc.lower.graph import Array, Graph
from budgetc.lower.kernel_objects import KernelObjects, kernel_name
from budgetc.lower.layers import foreign_layer, kernel_layer
from budgetc.lower.lowered import Call, Layer, Lowered, Pointer, Port, Slot
from budgetc.lower.placement import Storage
from budgetc.lower.planning import Schedule, Use, schedule
from budgetc.lower.points import lean_point
from budgetc.lower.steps import Argument, Step, Steps


class Shared:
    """What the entry points of a library have in common.

    Attributes:
        blob: the constants.
        kernels: name and kernel by the digest of the code and the point.
        objects: their machine code, and that of foreign kernels.
        alignment: bytes that constants are aligned to, those that are shorter to their length.
        sources: C files of those that are generated.
        numbers: for the names of kernels that are not ours.
        larger: whether a kernel is larger than it would be at the point of least code.
    """

    def __init__(self, objects: KernelObjects, alignment: int) -> None:
        self.blob, self.alignment = bytearray(), alignment
        self.kernels: dict[tuple[str, Point], tuple[str, Kernel]] = {}
        self.objects = objects
        self.sources: list[str] = []
        self.numbers = count(1)
        self.larger = False
        self._offsets: dict[bytes, int] = {}

    def constant(self, array: Array) -> int:
        """The offset of a constant in the blob; equal ones are stored once."""
        data = np.ascontiguousarray(array).tobytes()
        if data not in self._offsets:
            own = 1 << (len(data) - 1).bit_length() if data else 1  # numbers lie close together
            self.blob += bytes(-len(self.blob) % min(own, self.alignment))
            self._offsets[data] = len(self.blob)
            self.blob += data
        return self._offsets[data]


@dataclass(frozen=True)
class _Pending:
    """A call whose place in the order, and whose pointers into the arena, are not known yet."""

    step: Step
    kernel: str
    tasks: int
    arguments: tuple[Argument | int, ...]
    use: Use
    layer: Layer


class Assembler:
    """Makes the calls of one entry point.

    Args:
        graph: what it computes.
        steps: the same as steps, each with its point.
        capability: the target's sheet.
        shared: what it shares with the library's other entry points.
    """

    def __init__(self, graph: Graph, steps: Steps, capability: Capability, shared: Shared) -> None:
        self.graph, self.steps, self.capability, self.shared = graph, steps, capability, shared
        self.calls: list[_Pending] = []
        self.foreign = ForeignCompiler(graph, capability, shared.numbers)
        self.lean = lean_point(capability)

    def assemble(self) -> Lowered:
        """The calls, in the order and with the arena that the planner chose; sizes of what is shared are left at 0."""
        for step in self.steps.steps:
            if step.foreign:
                self._foreign(step)
            else:
                self._kernel(step)
        chosen = self._schedule()
        arena = chosen.plan
        calls = tuple(self._call(self.calls[i], arena.offsets) for i in chosen.order)
        return Lowered(
            inputs=tuple(self._port(n) for n in self.graph.inputs),
            outputs=tuple(self._port(n) for n in self.graph.outputs),
            calls=calls,
            arena_bytes=arena.size,
            arena_lower_bound=arena.lower_bound,
            weight_bytes=0,
            alignment=self.capability.alignment,
            arena_order_bound=chosen.order_bound,
            arena_map=tuple(
                Slot(name, arena.offsets[name], life.size, life.first, life.last)
                for name, life in sorted(
                    chosen.lives.items(), key=lambda i: (i[1].first, arena.offsets[i[0]])
                )
            ),
            layers=tuple(self.calls[i].layer for i in chosen.order),
        )

    def _port(self, name: str) -> Port:
        value = self.graph.values[name]
        return Port(name, value.dtype, value.shape)

    def _kernel(self, step: Step) -> None:
        assert step.task
        assert step.family
        constants = step.constants or {}
        point = step.point
        assert point is not None
        self.shared.larger |= point != self.lean(step.family, step.task, constants)
        code = step.code or step.task
        key = (code.digest, point)
        if key not in self.shared.kernels:
            name = kernel_name(code, point)
            kernel = self.shared.objects.kernel(step.family, code, point, name)
            self.shared.kernels[key] = (name, kernel)
        name, kernel = self.shared.kernels[key]
        packed = step.family.pack(step.task, self.capability, point, constants)
        arguments: list[Argument | int] = [*step.inputs]
        arguments += [self.shared.constant(array) for array in packed]
        arguments += [*step.operands, *step.outputs]
        written = list(step.outputs)
        if kernel.scratch:
            written.append(self._scratch(kernel.scratch))
            arguments.append(written[-1])
        use = Use(_names((*step.inputs, *step.operands)), _names(written), part=step.part)
        layer = kernel_layer(step, name, packed)
        tasks = step.tasks or kernel.tasks
        self.calls.append(_Pending(step, name, tasks, tuple(arguments), use, layer))

    def _scratch(self, size: int) -> Argument:
        """Arena memory that only the call about to be made touches, so that it lives for that call."""
        name = f"scratch of call {len(self.calls)}"
        self.steps.storages[name] = Storage(name, "arena", size)
        return Argument(name, 0)

    def _foreign(self, step: Step) -> None:
        assert step.foreign
        for call in self.foreign.compile(step.foreign):
            if call.source:
                self.shared.sources.append(call.source)
            else:
                self.shared.objects.function(call.name, call.function)
            arguments: list[Argument | int] = []
            read: list[Argument] = []
            written: list[Argument] = []
            for argument in call.arguments:
                if argument.constant is not None:
                    arguments.append(self.shared.constant(argument.constant))
                elif argument.scratch is not None:
                    self.steps.storages[argument.scratch.name] = argument.scratch
                    written.append(Argument(argument.scratch.name, 0))
                    arguments.append(written[-1])
                elif argument.role == "input":
                    read.append(step.inputs[argument.index])
                    arguments.append(read[-1])
                else:
                    written.append(step.outputs[argument.index])
                    arguments.append(written[-1])
            use = Use(_names(read), _names(written))
            constants = [a.constant for a in call.arguments if a.constant is not None]
            layer = foreign_layer(step, call.name, constants, self.graph)
            self.calls.append(_Pending(step, call.name, 0, tuple(arguments), use, layer))

    def _schedule(self) -> Schedule:
        arena = {n: s.size for n, s in self.steps.storages.items() if s.region == "arena"}
        return schedule([c.use for c in self.calls], arena, self.capability.alignment)

    def _call(self, call: _Pending, offsets: Mapping[str, int]) -> Call:
        step = call.step
        base = offsets.get(step.outputs[0].storage, 0)
        return Call(
            kernel=call.kernel,
            arguments=tuple(self._pointer(a, offsets) for a in call.arguments),
            label=step.label,
            fills=tuple(
                type(f)(f.offset + base, f.rows, f.width, f.stride, f.value) for f in step.fills
            ),
            tasks=call.tasks,
            macs=step.macs,
        )

    def _pointer(self, argument: Argument | int, offsets: Mapping[str, int]) -> Pointer:
        if isinstance(argument, int):
            return Pointer("weights", argument)
        storage = self.steps.storages[argument.storage]
        if storage.region == "arena":
            return Pointer("arena", offsets[storage.name] + argument.offset)
        if storage.region == "weights":
            at = self.shared.constant(self.graph.constants[storage.name])
            return Pointer("weights", at + argument.offset)
        return Pointer(storage.region, argument.offset, storage.index)


def _names(arguments: Sequence[Argument]) -> tuple[str, ...]:
    """The storages that arguments point into."""
    return tuple(dict.fromkeys(a.storage for a in arguments))
