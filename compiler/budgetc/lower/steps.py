"""From operations to kernel calls: every value gets a placement, every operation its tasks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from budgetc_specs.capability import Capability
from budgetc_specs.errors import ModelError
from budgetc_targets.contract import Family
from budgetc_targets.expression import Const, Expr, Ref, substitute
from budgetc_targets.task import Access, Attribute, Task

from budgetc.lower.graph import Array, Graph, Operation
from budgetc.lower.lowered import Fill
from budgetc.lower.placement import (
    Placement,
    Storage,
    Want,
    channels_last,
    fills,
    place,
    row_major,
    view,
)
from budgetc.lower.windows import Window, window_of

PARALLEL_WORK = 200_000  # multiply-accumulates or elements below which a second thread costs more than it brings


@dataclass(frozen=True)
class Argument:
    """A byte offset into a storage."""

    storage: str
    offset: int


@dataclass(frozen=True)
class Step:
    """One kernel call before the arena is planned. `constants` are what the family packs; `foreign` is an ONNX node."""

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


class Stepper:
    """Walks the graph once and collects the steps and storages."""

    def __init__(self, graph: Graph, capability: Capability, families: Sequence[Family]) -> None:
        self.graph, self.capability, self.families = graph, capability, families
        self.steps: list[Step] = []
        self.storages: dict[str, Storage] = {}
        self.placed: dict[str, Placement] = {}
        self.wants = _wants(graph)
        self._pending_fills: dict[str, tuple[Fill, ...]] = {}
        self._uses = graph.uses()

    def run(self) -> None:
        """Fill `steps`, `storages` and `placed`."""
        graph = self.graph
        for index, name in enumerate(graph.inputs):
            self._port(name, "input", index)
        for name, array in graph.constants.items():
            storage = Storage(name, "weights", array.nbytes)
            self.storages[name] = storage
            self.placed[name] = Placement(name, array.dtype.name, array.shape, row_major(array.shape))
        handlers = {
            "map": self._map,
            "view": self._view,
            "convolution": self._convolution,
            "product": self._product,
            "pooling": self._pooling,
            "softmax": self._sweep,
            "reduction": self._sweep,
            "copy-into": self._copy_into,
            "foreign": self._foreign,
        }
        for op in graph.operations:
            handlers[op.kind](op)
        self._finish_outputs()

    # Placements ---------------------------------------------------------------------------------

    def _port(self, name: str, region: Any, index: int) -> Placement:
        value = self.graph.values[name]
        size = int(np.prod(value.shape)) * np.dtype(value.dtype).itemsize
        storage = Storage(f"{region}:{index}", region, size, index)
        self.storages[storage.name] = storage
        self.placed[name] = Placement(storage.name, value.dtype, value.shape, row_major(value.shape))
        return self.placed[name]

    def _allocate(self, name: str, order: Sequence[int] | None = None) -> Placement:
        """A place for a value that is about to be computed: the output port where that fits, else the arena."""
        value = self.graph.values[name]
        want = self.wants.get(name)
        rank = len(value.shape)
        ports = [i for i, output in enumerate(self.graph.outputs) if output == name]
        free = [i for i in ports if f"output:{i}" not in self.storages]
        natural = Want(tuple(order) if order else tuple(range(rank)), ())
        chosen = want or natural
        placed, size = place(name, value.dtype, value.shape, chosen)
        if free and placed.dense() and not any(sum(b) for b in placed.border):
            return self._port(name, "output", free[0])
        self.storages[name] = Storage(name, "arena", size)
        border = fills(placed, chosen.order)
        if border:
            self._pending_fills[name] = border
        self.placed[name] = placed
        return placed

    def _copied(self, name: str, want: Want, hint: str) -> Placement:
        """A copy of a value laid out as wanted."""
        source = self.placed[name]
        copy = self.graph.add_value(f"{name}.{hint}", source.shape, source.dtype)
        placed, size = place(copy, source.dtype, source.shape, want)
        self.storages[copy] = Storage(copy, "arena", size)
        self.placed[copy] = placed
        border = fills(placed, want.order)
        if border:
            self._pending_fills[copy] = border
        self._emit_map(f"copy {name}", Ref(0), [source], placed, copy)
        return placed

    def _dense(self, name: str) -> Placement:
        placed = self.placed[name]
        if placed.dense():
            return placed
        return self._copied(name, Want(tuple(range(len(placed.shape))), ()), "dense")

    def _finish_outputs(self) -> None:
        for index, name in enumerate(self.graph.outputs):
            if f"output:{index}" in self.storages:
                continue
            source = self.placed[name]
            target = self._port(f"{name}", "output", index)
            self.placed[name] = source
            self._emit_map(f"copy {name}", Ref(0), [source], target, None)

    # Steps --------------------------------------------------------------------------------------

    def _emit_map(
        self,
        label: str,
        expression: Expr,
        operands: Sequence[Placement],
        output: Placement,
        name: str | None,
    ) -> None:
        accesses = tuple(_broadcast(p, output.shape) for p in operands)
        work = int(np.prod(output.shape))
        task = Task("elementwise", (), _access(output), expression, accesses)
        self._emit(label, task, [], operands, output, name, {}, 0, work)

    def _emit(
        self,
        label: str,
        task: Task,
        inputs: Sequence[tuple[Placement, int]],
        operands: Sequence[Placement],
        output: Placement,
        name: str | None,
        constants: Mapping[str, Array],
        macs: int,
        work: int,
    ) -> None:
        if self.capability.threads > 1 and work >= PARALLEL_WORK:
            task = replace(task, parallel=True)
        family = self._family(label, task)
        self.steps.append(
            Step(
                label=label,
                task=task,
                inputs=tuple(Argument(p.storage, o * p.item) for p, o in inputs),
                operands=tuple(Argument(p.storage, p.offset * p.item) for p in operands),
                outputs=(Argument(output.storage, output.offset * output.item),),
                family=family,
                constants=constants,
                fills=self._pending_fills.pop(name, ()) if name else (),
                macs=macs,
            )
        )

    def _family(self, label: str, task: Task) -> Family:
        reasons = []
        for family in self.families:
            if family.kind == task.kind:
                reason = family.refusal(task, self.capability)
                if reason is None:
                    return family
                reasons.append(reason)
        raise ModelError(f"no {task.kind} kernel takes {label!r}: {'; '.join(reasons) or 'none'}")

    # Operations ---------------------------------------------------------------------------------

    def _map(self, op: Operation) -> None:
        assert op.expression is not None
        shape = self.graph.values[op.output].shape
        operands = [self.placed[name] for name in op.inputs]
        order = next((p.memory_order() for p in operands if p.shape == shape), None)
        output = self._allocate(op.output, order)
        self._emit_map(op.name, op.expression, operands, output, op.output)

    def _view(self, op: Operation) -> None:
        shape = self.graph.values[op.output].shape
        seen = view(self.placed[op.inputs[0]], shape, op.attributes)
        if seen is None:
            seen = view(self._dense(op.inputs[0]), shape, op.attributes)
        if seen is None:  # a step backwards through a dimension
            raise ModelError(f"node {op.name!r}: a slice with a negative step is not supported yet")
        self.placed[op.output] = seen

    def _channels_last(self, name: str, window: Window, fill: int) -> Placement:
        """A value with its channel innermost and the border that a convolution reads."""
        placed = self.placed[name]
        rank = len(placed.shape)
        border = ((0, 0), (0, 0), *window.pads)
        fits = placed.shape[1] == 1 or placed.strides[1] == 1
        for d, (low, high) in enumerate(border):
            have = placed.margin(d)
            fits = fits and have[0] >= low and have[1] >= high
        fits = fits and (placed.fill == fill or not any(map(sum, border)))
        # A port ends where the caller's memory ends; integer kernels may read past it.
        region = self.storages[placed.storage].region
        overreads = placed.dtype == "uint8" and region in ("input", "output")
        if fits and not overreads:
            return placed
        return self._copied(name, Want(channels_last(rank), border, fill), "nhwc")

    def _convolution(self, op: Operation) -> None:
        x_value, y_value = (self.graph.values[n] for n in (op.inputs[0], op.output))
        weight: Array = op.attributes["weight"]
        window = window_of(op, x_value.shape, y_value.shape, weight.shape[2:])
        x = self._channels_last(op.inputs[0], window, op.attributes["border"])
        groups = op.attributes.get("group", 1)
        shape = list(x.shape)
        offset = x.offset
        for d, (low, high) in enumerate(window.pads, 2):
            shape[d] += low + high
            offset -= low * x.strides[d]
        channel_stride = 1 if x.shape[1] == 1 else x.strides[1]
        strides = (x.strides[0], channel_stride, *x.strides[2:])
        source = _two_dimensional(Access(x.dtype, tuple(shape), strides))
        if weight.ndim == 3:
            weight = weight[:, :, None, :]
        attributes: list[tuple[str, Attribute]] = [
            ("kernel", tuple(weight.shape[2:])),
            ("stride", _pair(window.stride)),
            ("dilation", _pair(window.dilation)),
            ("groups", groups),
            ("weight_range", _range(weight)),
        ]
        kinds = ["convolution"]
        if groups > 1 and groups == x.shape[1] == weight.shape[0]:
            kinds.insert(0, "depthwise")
        macs = int(np.prod(y_value.shape)) * int(np.prod(weight.shape[1:]))
        constants = {"weight": weight, "bias": op.attributes["bias"]}
        self._kernel(op, kinds, source, (x, offset), attributes, constants, macs)

    def _product(self, op: Operation) -> None:
        """x[..., m, k] @ W[k, o]: a 1x1 convolution whose pixels are the rows."""
        x = self.placed[op.inputs[0]]
        weight: Array = op.attributes["weight"]
        region = self.storages[x.storage].region
        if (x.shape[-1] > 1 and x.strides[-1] != 1) or (
            x.dtype == "uint8" and weight.shape[0] % 4 and region in ("input", "output")
        ):
            x = self._copied(op.inputs[0], Want(tuple(range(len(x.shape))), ()), "rows")
        source = _rows_as_pixels(_access(x))
        constants = {"weight": weight.T[:, :, None, None], "bias": op.attributes["bias"]}
        attributes: list[tuple[str, Attribute]] = [
            ("kernel", (1, 1)),
            ("stride", (1, 1)),
            ("dilation", (1, 1)),
            ("groups", 1),
            ("weight_range", _range(weight)),
        ]
        macs = int(np.prod(self.graph.values[op.output].shape)) * weight.shape[0]
        self._kernel(
            op, ["convolution"], source, (x, x.offset), attributes, constants, macs, rows=True
        )

    def _kernel(
        self,
        op: Operation,
        kinds: Sequence[str],
        source: Access,
        pointer: tuple[Placement, int],
        attributes: Sequence[tuple[str, Attribute]],
        constants: Mapping[str, Array],
        macs: int,
        *,
        rows: bool = False,
    ) -> None:
        assert op.expression is not None
        value = self.graph.values[op.output]
        sides = [self.placed[name] for name in op.inputs[op.anchors :]]
        rank = len(value.shape)
        output = self._allocate(op.output, None if rows else channels_last(rank))
        direct = output.shape[-1 if rows else 1] == 1 or output.strides[-1 if rows else 1] == 1
        final = output
        if not direct:
            last = tuple(range(rank)) if rows else channels_last(rank)
            output, size = place(f"{op.output}.nhwc", value.dtype, value.shape, Want(last, ()))
            self.storages[output.storage] = Storage(output.storage, "arena", size)
        reshape = _rows_as_pixels if rows else _two_dimensional
        expression = substitute(
            op.expression, lambda r: r if r.index < 0 else Ref(r.index - op.anchors)
        )
        task = Task(
            kinds[0],
            (source,),
            reshape(_access(output)),
            expression,
            tuple(reshape(_broadcast(p, value.shape)) for p in sides),
            tuple(attributes),
        )
        task = _merge_rows(task)
        for kind in kinds:
            families = [f for f in self.families if f.kind == kind]
            if any(f.refusal(replace(task, kind=kind), self.capability) is None for f in families):
                task = replace(task, kind=kind)
                break
        else:
            task = replace(task, kind=kinds[-1])
        name = op.output if direct else None
        self._emit(op.name, task, [pointer], sides, output, name, constants, macs, macs)
        if not direct:
            self._emit_map(f"copy {op.output}", Ref(0), [output], final, op.output)

    def _pooling(self, op: Operation) -> None:
        x_value, y_value = (self.graph.values[n] for n in (op.inputs[0], op.output))
        window = window_of(op, x_value.shape, y_value.shape, op.attributes["kernel_shape"])
        x = self.placed[op.inputs[0]]
        if x.shape[1] > 1 and x.strides[1] != 1:
            x = self._copied(op.inputs[0], Want(channels_last(len(x.shape)), ()), "nhwc")
        channel_stride = 1 if x.shape[1] == 1 else x.strides[1]
        strides = (x.strides[0], channel_stride, *x.strides[2:])
        source = _two_dimensional(Access(x.dtype, x.shape, strides))
        pads = [(0, 0)] * (2 - len(window.pads)) + list(window.pads)
        attributes: list[tuple[str, Attribute]] = [
            ("mode", op.attributes["mode"]),
            ("kernel", _pair(tuple(op.attributes["kernel_shape"]))),
            ("stride", _pair(window.stride)),
            ("dilation", _pair(window.dilation)),
            ("pads", (pads[0][0], pads[1][0], pads[0][1], pads[1][1])),
        ]
        self._kernel(op, ["pooling"], source, (x, x.offset), attributes, {}, 0)

    def _sweep(self, op: Operation) -> None:
        """Softmax and reductions: row-major results of an expression over the unreduced index space."""
        assert op.expression is not None
        value = self.graph.values[op.output]
        operands = [self.placed[name] for name in op.inputs]
        output = self._allocate(op.output)
        full = tuple(op.attributes.get("full", value.shape))
        access = _access(output)
        if op.kind == "reduction":
            access = _with_reduced_axes(access, full, op.attributes["axes"])
        attributes = tuple((k, v) for k, v in op.attributes.items() if k != "proto")
        task = Task(
            op.kind,
            (),
            access,
            op.expression,
            tuple(_broadcast(p, full) for p in operands),
            attributes,
        )
        self._emit(op.name, task, [], operands, output, op.output, {}, 0, 0)

    def _copy_into(self, op: Operation) -> None:
        sources = [self.placed[name] for name in op.inputs]
        output = self._allocate(op.output, sources[0].memory_order())
        name: str | None = op.output
        if "fill" in op.attributes:
            self._emit_map(
                f"fill {op.name}", Const(op.attributes["fill"], output.dtype), [], output, name
            )
            name = None
        for source, offsets in zip(sources, op.attributes["offsets"], strict=True):
            shift = sum(o * s for o, s in zip(offsets, output.strides, strict=True))
            part = replace(output, shape=source.shape, offset=output.offset + shift, border=())
            self._emit_map(op.name, Ref(0), [source], part, name)
            name = None

    def _foreign(self, op: Operation) -> None:
        inputs = [self._dense(name) for name in op.inputs if name]
        for name in op.outputs:
            want = self.wants.pop(name, None)
            self._allocate(name)
            if want:
                self.wants[name] = want
        outputs = [self.placed[name] for name in op.outputs]
        self.steps.append(
            Step(
                label=op.name,
                task=None,
                inputs=tuple(Argument(p.storage, p.offset * p.item) for p in inputs),
                operands=(),
                outputs=tuple(Argument(p.storage, p.offset * p.item) for p in outputs),
                foreign=op,
            )
        )


def _wants(graph: Graph) -> dict[str, Want]:
    """How convolutions would like their inputs, passed back through transposes to whoever computes them."""
    wants: dict[str, Want] = {}
    for op in reversed(graph.operations):
        if op.kind == "view" and op.attributes["view"] == "transpose" and op.output in wants:
            perm = op.attributes["perm"]
            want = wants[op.output]
            border = [(0, 0)] * len(perm)
            for new, old in enumerate(perm):
                border[old] = want.border[new]
            order = tuple(perm[d] for d in want.order)
            wants.setdefault(op.inputs[0], Want(order, tuple(border), want.fill))
        if op.kind == "pooling":
            shape = graph.values[op.inputs[0]].shape
            natural = Want(channels_last(len(shape)), tuple((0, 0) for _ in shape))
            wants.setdefault(op.inputs[0], natural)
        if op.kind != "convolution":
            continue
        x, y = graph.values[op.inputs[0]].shape, graph.values[op.output].shape
        window = window_of(op, x, y, op.attributes["weight"].shape[2:])
        border = [(0, 0), (0, 0), *window.pads]
        known = wants.get(op.inputs[0])
        if known and known.order == channels_last(len(x)):
            border = [
                (max(a, c), max(b, d)) for (a, b), (c, d) in zip(border, known.border, strict=True)
            ]
        wants[op.inputs[0]] = Want(channels_last(len(x)), tuple(border), op.attributes["border"])
    return wants


def _access(placed: Placement) -> Access:
    return Access(placed.dtype, placed.shape, placed.strides)


def _broadcast(placed: Placement, shape: tuple[int, ...]) -> Access:
    """How a value is read in the index space of a larger one, by numpy's rules."""
    lead = len(shape) - len(placed.shape)
    strides = [0] * lead + [
        s if n == m or m == 1 else 0
        for n, m, s in zip(placed.shape, shape[lead:], placed.strides, strict=True)
    ]
    strides = [0 if m == 1 else s for s, m in zip(strides, shape, strict=True)]
    return Access(placed.dtype, shape, tuple(strides))


def _two_dimensional(access: Access) -> Access:
    """(n, c, w) as (n, c, 1, w)."""
    if len(access.shape) == 4:
        return access
    (n, c, w), (sn, sc, sw) = access.shape, access.strides
    return Access(access.dtype, (n, c, 1, w), (sn, sc, 0, sw))


def _rows_as_pixels(access: Access) -> Access:
    """(a, b, m, k) as the convolution's (a, k, b, m); missing leading dimensions are 1."""
    lead = 4 - len(access.shape)
    shape = (1,) * lead + access.shape
    strides = (0,) * lead + access.strides
    order = (0, 3, 1, 2)
    return Access(access.dtype, tuple(shape[d] for d in order), tuple(strides[d] for d in order))


def _merge_rows(task: Task) -> Task:
    """One long row instead of many where a 1x1 kernel does not care: tiles then need no remainder a row."""
    attributes = dict(task.attributes)
    if attributes.get("kernel") != (1, 1) or attributes.get("stride") != (1, 1) or attributes.get("pads"):
        return task
    if task.kind not in ("convolution", "depthwise"):
        return task
    accesses = [*task.inputs, task.output, *task.operands]
    for outer, inner in ((2, 3), (0, 3)):
        joined = []
        for a in accesses:
            extent, step = a.shape[inner], a.strides[inner]
            if a.shape[outer] > 1 and extent > 1 and a.strides[outer] != extent * step:
                return task
            shape, strides = list(a.shape), list(a.strides)
            if extent == 1:
                strides[inner] = strides[outer]
            shape[inner], shape[outer] = extent * shape[outer], 1
            joined.append(Access(a.dtype, tuple(shape), tuple(strides)))
        accesses = joined
        count = len(task.inputs)
        task = replace(
            task,
            inputs=tuple(accesses[:count]),
            output=accesses[count],
            operands=tuple(accesses[count + 1 :]),
        )
    return task


def _with_reduced_axes(access: Access, full: tuple[int, ...], axes: Sequence[int]) -> Access:
    """The output of a reduction in the index space of what it reduces, reduced axes at extent 1 and stride 0."""
    kept = [(n, s) for n, s in zip(access.shape, access.strides, strict=True)]
    if len(kept) == len(full):
        strides = tuple(0 if d in axes else kept[d][1] for d in range(len(full)))
        return Access(access.dtype, access.shape, strides)
    remaining = iter(kept)
    pairs = [(1, 0) if d in axes else next(remaining) for d in range(len(full))]
    return Access(access.dtype, tuple(n for n, _ in pairs), tuple(s for _, s in pairs))


def _pair(values: Sequence[int]) -> tuple[int, int]:
    return (1, values[0]) if len(values) == 1 else (values[0], values[1])


def _range(weight: Array) -> int:
    """The range class of integer weights: 64 where 2 * 255 * |w| fits 16 bits, else 128."""
    if weight.dtype != np.int8:
        return 0
    return 64 if np.abs(weight.astype(np.int16)).max(initial=0) <= 64 else 128
