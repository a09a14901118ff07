"""The code of reductions: vectors along the innermost kept axis where the output allows it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

from tvm import tirx

from budgetc_targets.contract import Kernel
from budgetc_targets.expression import ACCUMULATOR
from budgetc_targets.kernels.epilogue import Epilogue, powers
from budgetc_targets.kernels.evaluate import LOWEST, evaluate
from budgetc_targets.kernels.writer import Value, Writer, integer, literal
from budgetc_targets.task import Task

_FIRST = {"sum": 0.0, "mean": 0.0, "max": LOWEST["float32"], "min": -LOWEST["float32"], "prod": 1.0}
_COMBINE: dict[str, Callable[[Value, Value], Value]] = {
    "sum": tirx.Add,
    "mean": tirx.Add,
    "max": tirx.Max,
    "min": tirx.Min,
    "prod": tirx.Mul,
}


def build(task: Task, lanes: int, name: str) -> Kernel:
    """The function for a task, with vectors of `lanes` elements."""
    full, axes = task.attribute("full"), task.attribute("axes")
    kept = [d for d in range(len(full)) if d not in axes and full[d] > 1]
    vector = next((d for d in kept if task.output.strides[d] == 1), None)
    w = Writer(name, may_alias=task.may_alias)
    body = _Body(w, task, vector if vector is not None else len(full) - 1, lanes)

    def nest(index: list[Value | int], remaining: Sequence[int]) -> None:
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
    def __init__(self, writer: Writer, task: Task, axis: int, lanes: int) -> None:
        self._writer, self._task = writer, task
        self._epilogue = Epilogue(writer, replace(task, expression=ACCUMULATOR), axis)
        self._state = writer.local("state", "float32", lanes)

    def reduce(self, index: Sequence[Value | int], lanes: int) -> None:
        """One output element, or one vector of them."""
        w, task, state = self._writer, self._task, self._state
        full, axes, mode = (task.attribute(k) for k in ("full", "axes", "mode"))
        w.store(state, 0, literal(_FIRST[mode], "float32", lanes), lanes)

        def nest(inner: Sequence[Value | int], remaining: Sequence[int]) -> None:
            if remaining:
                with w.loop(f"r{remaining[0]}", full[remaining[0]]) as i:
                    position = list(inner)
                    position[remaining[0]] = i
                    nest(position, remaining[1:])
                return
            here = _values(inner)
            value = evaluate(
                task.expression,
                lambda k: self._epilogue.fetch(k, here, lanes),
                self._epilogue.numbers,
                lanes,
                w.hold,
            )
            w.store(state, 0, _COMBINE[mode](w.load(state, 0, lanes), value), lanes)

        nest(index, [d for d in axes if full[d] > 1])
        result = w.load(state, 0, lanes)
        if mode == "mean":
            count = prod(full[d] for d in axes)
            result = tirx.Div(result, literal(float(count), "float32", lanes))
        self._epilogue.store_value(result, _values(index), lanes)


def _values(index: Sequence[Value | int]) -> list[Value]:
    return [integer(i) if isinstance(i, int) else i for i in index]
