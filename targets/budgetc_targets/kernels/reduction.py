"""Reductions over any axes: sum, mean, maximum, minimum and product of an expression of the operands.

Operands are in the index space of the unreduced tensor (attribute `full`); the output keeps reduced axes as extent 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

from budgetc_specs.capability import Capability

from budgetc_targets.contract import Array, Kernel, Point
from budgetc_targets.kernels.tiles import point
from budgetc_targets.task import Task

MODES = ("sum", "mean", "max", "min", "prod")


class Reduction:
    """The reduction family. Attributes: mode; axes; full (the unreduced shape)."""

    kind: ClassVar[str] = "reduction"

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Real numbers only."""
        del capability
        return None if task.output.dtype == "float32" else f"outputs of type {task.output.dtype}"

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
        """Vectors run along the innermost kept axis where the operands and the output allow, else along none."""
        del point
        from budgetc_targets.kernels.epilogue import powers
        from budgetc_targets.kernels.writer import Writer

        full, axes = task.attribute("full"), task.attribute("axes")
        kept = [d for d in range(len(full)) if d not in axes and full[d] > 1]
        vector = next((d for d in kept if task.output.strides[d] == 1), None)
        lanes = capability.vector_bytes // 4
        w = Writer(name, may_alias=task.may_alias)
        body = _Body(w, task, vector if vector is not None else len(full) - 1, lanes)

        def nest(index: list[Any], remaining: Sequence[int]) -> None:
            if remaining:
                with w.loop(f"o{remaining[0]}", full[remaining[0]]) as i:
                    index[remaining[0]] = i
                    nest(index, remaining[1:])
                return
            if vector is None:
                body.reduce(index, 1)
                return
            whole, rest = divmod(full[vector], lanes)
            if whole:
                with w.loop("v", whole) as v:
                    index[vector] = v * lanes
                    body.reduce(index, lanes)
            for first, part in powers(rest):
                index[vector] = whole * lanes + first
                body.reduce(index, part)

        nest([0] * len(full), [d for d in kept if d != vector])
        return Kernel(w.finish())


class _Body:
    def __init__(self, writer: Any, task: Task, axis: int, lanes: int) -> None:
        from budgetc_targets.expression import ACCUMULATOR
        from budgetc_targets.kernels.epilogue import Epilogue

        self._w, self._task = writer, task
        self._epilogue = Epilogue(writer, replace(task, expression=ACCUMULATOR), axis)
        self._state = writer.local("state", "float32", lanes)

    def reduce(self, index: list[Any], lanes: int) -> None:
        """One output element, or one vector of them."""
        from budgetc_targets.kernels.evaluate import evaluate
        from budgetc_targets.kernels.writer import integer, literal
        from tvm import tirx

        w, task = self._w, self._task
        full, axes, mode = (task.attribute(k) for k in ("full", "axes", "mode"))
        first = {"max": -3.4028234663852886e38, "min": 3.4028234663852886e38, "prod": 1.0}
        combine: dict[str, Callable[[Any, Any], Any]] = {
            "max": tirx.Max,
            "min": tirx.Min,
            "prod": tirx.Mul,
        }
        w.store(self._state, 0, literal(first.get(mode, 0.0), "float32", lanes), lanes)
        count = 1
        for d in axes:
            count *= full[d]

        def nest(inner: list[Any], remaining: Sequence[int]) -> None:
            if remaining:
                with w.loop(f"r{remaining[0]}", full[remaining[0]]) as i:
                    position = list(inner)
                    position[remaining[0]] = i
                    nest(position, remaining[1:])
                return
            here = [integer(i) if isinstance(i, int) else i for i in inner]
            value = evaluate(
                task.expression, lambda k: self._epilogue.fetch(k, here, lanes), lanes
            )
            state = w.load(self._state, 0, lanes)
            w.store(self._state, 0, combine.get(mode, tirx.Add)(state, value), lanes)

        nest(index, [d for d in axes if full[d] > 1])
        result = w.load(self._state, 0, lanes)
        if mode == "mean":
            result = tirx.Div(result, literal(float(count), "float32", lanes))
        here = [integer(i) if isinstance(i, int) else i for i in index]
        self._epilogue.store_value(result, here, lanes)


