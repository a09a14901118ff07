"""What kernel families without a choice share: one point, and no constants of their own."""

from collections.abc import Mapping, Sequence

from budgetc_specs.capability import Capability

from budgetc_targets.contract import Array, Point
from budgetc_targets.task import Task


class SinglePoint:
    """The half of `Family` that is the same for every kernel without knobs and without weights."""

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """Real outputs only; families that write other ones say so."""
        del capability
        return None if task.output.dtype == "float32" else f"outputs of type {task.output.dtype}"

    def space(self, task: Task, capability: Capability) -> Sequence[Point]:
        """One point without knobs."""
        del task, capability
        return [()]

    def pack(
        self, task: Task, capability: Capability, point: Point, constants: Mapping[str, Array]
    ) -> Sequence[Array]:
        """No constants."""
        del task, capability, point, constants
        return []
