"""The whole of lowering: an ONNX model and a target in, object file, weights and call list out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from budgetc_specs.capability import Capability
from budgetc_targets.contract import Family, Growing, Kernel, Point, Target

from budgetc.lower.codes import make_codes_unsigned
from budgetc.lower.constants import fold_constants
from budgetc.lower.foreign import ForeignCompiler
from budgetc.lower.fusion import fuse
from budgetc.lower.generated import one_file
from budgetc.lower.graph import Array, Graph
from budgetc.lower.hoisting import quantise_early
from budgetc.lower.importer import import_model
from budgetc.lower.in_place import write_in_place
from budgetc.lower.integer import form_integer_operations
from budgetc.lower.lowered import Call, Lowered, Pointer, Port, Slot
from budgetc.lower.opening import open_sizes
from budgetc.lower.permute import permute_flattened_weights
from budgetc.lower.placement import Storage
from budgetc.lower.planning import Schedule, Use, schedule
from budgetc.lower.points import Chooser, choose_points, default_point, lean_point
from budgetc.lower.recurrent import form_recurrent_operations
from budgetc.lower.selection import select
from budgetc.lower.sharing import share_kernels
from budgetc.lower.steps import Argument, Step, Steps
from budgetc.lower.walk import walk

WEIGHT_ALIGNMENT = 64
WEIGHT_SLACK = 64  # a vector load of the last constant may pass its end


@dataclass(frozen=True)
class Code:
    """What lowering made: the call list, the weights and the TIR functions behind the object file.

    `grown` says whether it would be smaller if it were compact.
    """

    lowered: Lowered
    weights: bytes
    functions: Sequence[object]
    grown: bool = False


def prepare(data: bytes) -> Graph:
    """The graph of a model with its operations chosen and fused: one operation per kernel.

    Raises:
        ModelError: the model has what no library can have, such as control flow.
    """
    graph = import_model(data)
    fold_constants(graph, keep=("DequantizeLinear",))
    form_recurrent_operations(graph)
    make_codes_unsigned(graph)
    quantise_early(graph)
    form_integer_operations(graph)
    fold_constants(graph)
    select(graph)
    permute_flattened_weights(graph)
    graph.remove_dead()
    fuse(graph)
    return graph


def lower(
    data: bytes,
    target: Target,
    capability: Capability,
    choose: Chooser | None = None,
    *,
    compact: bool = False,
) -> Code:
    """Lower a self-contained model with static shapes. Imports tvm.

    Args:
        data: the model.
        target: whose kernels it becomes.
        capability: the target's sheet.
        choose: picks the point of each kernel; the default is the first.
        compact: do without kernels that are faster by being larger, and take the points of least code.

    Raises:
        ModelError: an operator that neither our kernels nor TVM's importer take.
    """
    graph = prepare(data)
    families = [f for f in target.families() if not (compact and _grows(f))]
    steps = walk(graph, capability, families)
    write_in_place(steps, capability)
    share_kernels(steps)
    chooser = lean_point(capability) if compact else choose or default_point(capability)
    choose_points(steps, chooser)
    open_sizes(steps, capability)
    return _Assembler(graph, steps, capability).assemble()


def _grows(family: Family) -> bool:
    return isinstance(family, Growing) and family.grows


def write(code: Code, target: Target, capability: Capability, folder: Path) -> Path:
    """Emit the object file and the weights blob into a folder."""
    path = folder / "kernels.o"
    target.emit_object(code.functions, capability, path)
    (folder / "weights.bin").write_bytes(code.weights)
    return path


@dataclass(frozen=True)
class _Pending:
    """A call whose place in the order, and whose pointers into the arena, are not known yet."""

    step: Step
    kernel: str
    tasks: int
    arguments: tuple[Argument | int, ...]
    use: Use


class _Assembler:
    def __init__(self, graph: Graph, steps: Steps, capability: Capability) -> None:
        self.graph, self.steps, self.capability = graph, steps, capability
        self.blob = bytearray()
        self.constant_offsets: dict[bytes, int] = {}
        self.functions: list[object] = []
        self.sources: list[str] = []
        self.kernels: dict[tuple[str, Point], tuple[str, Kernel]] = {}
        self.calls: list[_Pending] = []
        self.foreign = ForeignCompiler(graph, capability)
        self.lean = lean_point(capability)
        self.larger = False  # than it would be at the points of least code

    def assemble(self) -> Code:
        for step in self.steps.steps:
            if step.foreign:
                self._foreign(step)
            else:
                self._kernel(step)
        chosen = self._schedule()
        arena = chosen.plan
        calls = tuple(self._call(self.calls[i], arena.offsets) for i in chosen.order)
        self.blob += bytes(WEIGHT_SLACK if self.blob else 0)
        lowered = Lowered(
            inputs=tuple(self._port(n) for n in self.graph.inputs),
            outputs=tuple(self._port(n) for n in self.graph.outputs),
            calls=calls,
            arena_bytes=arena.size,
            arena_lower_bound=arena.lower_bound,
            weight_bytes=len(self.blob),
            arena_order_bound=chosen.order_bound,
            arena_map=tuple(
                Slot(name, arena.offsets[name], life.size, life.first, life.last)
                for name, life in sorted(
                    chosen.lives.items(), key=lambda i: (i[1].first, arena.offsets[i[0]])
                )
            ),
            source=one_file(self.sources),
        )
        grown = self.larger or any(s.family and _grows(s.family) for s in self.steps.steps)
        return Code(lowered, bytes(self.blob), self.functions, grown)

    def _port(self, name: str) -> Port:
        value = self.graph.values[name]
        return Port(name, value.dtype, value.shape)

    def _constant(self, array: Array) -> int:
        """The offset of a constant in the blob; equal ones are stored once."""
        data = np.ascontiguousarray(array).tobytes()
        if data not in self.constant_offsets:
            own = 1 << (len(data) - 1).bit_length() if data else 1  # numbers lie close together
            self.blob += bytes(-len(self.blob) % min(own, WEIGHT_ALIGNMENT))
            self.constant_offsets[data] = len(self.blob)
            self.blob += data
        return self.constant_offsets[data]

    def _kernel(self, step: Step) -> None:
        assert step.task
        assert step.family
        constants = step.constants or {}
        point = step.point
        assert point is not None
        self.larger |= point != self.lean(step.family, step.task, constants)
        code = step.code or step.task
        key = (code.digest, point)
        if key not in self.kernels:
            name = f"{step.task.kind.replace('-', '_')}_{len(self.kernels)}"
            kernel = step.family.build(code, self.capability, point, name)
            self.functions.append(kernel.function)
            self.kernels[key] = (name, kernel)
        name, kernel = self.kernels[key]
        packed = step.family.pack(step.task, self.capability, point, constants)
        arguments: list[Argument | int] = [*step.inputs]
        arguments += [self._constant(array) for array in packed]
        arguments += [*step.operands, *step.outputs]
        written = list(step.outputs)
        if kernel.scratch:
            written.append(self._scratch(kernel.scratch))
            arguments.append(written[-1])
        use = Use(_names((*step.inputs, *step.operands)), _names(written), part=step.part)
        self.calls.append(_Pending(step, name, kernel.tasks, tuple(arguments), use))

    def _scratch(self, size: int) -> Argument:
        """Arena memory that only the call about to be made touches, so that it lives for that call."""
        name = f"scratch of call {len(self.calls)}"
        self.steps.storages[name] = Storage(name, "arena", size)
        return Argument(name, 0)

    def _foreign(self, step: Step) -> None:
        assert step.foreign
        for call in self.foreign.compile(step.foreign):
            if call.source:
                self.sources.append(call.source)
            else:
                self.functions.append(call.function)
            arguments: list[Argument | int] = []
            read: list[Argument] = []
            written: list[Argument] = []
            for argument in call.arguments:
                if argument.constant is not None:
                    arguments.append(self._constant(argument.constant))
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
            self.calls.append(_Pending(step, call.name, 0, tuple(arguments), use))

    def _schedule(self) -> Schedule:
        arena = {n: s.size for n, s in self.steps.storages.items() if s.region == "arena"}
        return schedule([call.use for call in self.calls], arena)

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
            at = self._constant(self.graph.constants[storage.name])
            return Pointer("weights", at + argument.offset)
        return Pointer(storage.region, argument.offset, storage.index)


def _names(arguments: Sequence[Argument]) -> tuple[str, ...]:
    """The storages that arguments point into."""
    return tuple(dict.fromkeys(a.storage for a in arguments))
