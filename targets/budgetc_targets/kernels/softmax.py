"""Softmax along one axis, from the row's maximum so that nothing overflows; what it reads may be an expression."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from budgetc_specs.capability import Capability

from budgetc_targets.contract import Array, Kernel, Point
from budgetc_targets.kernels.tiles import point
from budgetc_targets.task import Task


class Softmax:
    """The softmax family. Attributes: axis; log. The expression gives the logits from the operands."""

    kind: ClassVar[str] = "softmax"

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Real outputs only."""
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
        """Three sweeps over a row: maximum, exponentials and their sum, division."""
        del point, capability
        from budgetc_targets.expression import ACCUMULATOR
        from budgetc_targets.kernels.epilogue import Epilogue
        from budgetc_targets.kernels.evaluate import evaluate
        from budgetc_targets.kernels.writer import Writer, integer, literal
        from dataclasses import replace

        from tvm import tirx

        w = Writer(name, may_alias=task.may_alias)
        axis, length = task.attribute("axis"), task.output.shape[task.attribute("axis")]
        # The expression is evaluated by hand; what the epilogue stores is the value it is given.
        ending = Epilogue(w, replace(task, expression=ACCUMULATOR), axis)
        state = w.local("state", "float32", 2)
        row = w.local("row", "float32", length)

        def sweep(index: list[Any]) -> None:
            def at(i: Any) -> list[Any]:
                return [*index[:axis], i, *index[axis:]]

            w.store(state, 0, literal(-3.4028234663852886e38, "float32"))
            w.store(state, 1, literal(0.0, "float32"))
            with w.loop("i", length) as i:
                here = at(i)
                logit = evaluate(task.expression, lambda k: ending.fetch(k, here, 1), 1)
                w.store(row, i, logit)
                w.store(state, 0, tirx.max(w.load(state, 0), w.load(row, i)))
            with w.loop("j", length) as j:
                shifted = w.load(row, j) - w.load(state, 0)
                power = w.let("power", tirx.exp(shifted))
                if not task.attribute("log"):
                    w.store(row, j, power)
                else:
                    w.store(row, j, shifted)
                w.store(state, 1, w.load(state, 1) + power)
            if task.attribute("log"):
                w.store(state, 1, tirx.log(w.load(state, 1)))
            with w.loop("k", length) as k:
                value = w.load(row, k)
                total = w.load(state, 1)
                result = value - total if task.attribute("log") else tirx.Div(value, total)
                ending.store_value(result, at(k), 1)

        def nest(index: list[Any], outer: Sequence[int]) -> None:
            if not outer:
                sweep(index)
                return
            with w.loop(f"o{len(index)}", outer[0]) as i:
                nest([*index, i if not isinstance(i, int) else integer(i)], outer[1:])

        nest([], [n for d, n in enumerate(task.output.shape) if d != axis])
        return Kernel(w.finish())
