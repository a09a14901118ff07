"""A target whose kernels are wrong: in those of one family a loop runs once too few, or a last store is missing.

The variable BUDGETC_FAULT says which: "convolution first" spoils the loop that is written first (the innermost one,
such as the sum over taps), "convolution last" the one written last (the outermost one, such as rows of the output).
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar
from unittest.mock import patch

from budgetc_specs.capability import Capability
from budgetc_targets.contract import Array, Family, Kernel, Point
from budgetc_targets.host import Host
from budgetc_targets.task import Task


class Faulty(Host):
    """This machine, with the fault that the environment names."""

    kind: ClassVar[str] = "faulty"

    def families(self) -> Sequence[Family]:
        """The host's, one of them spoilt."""
        kind, _, which = os.environ.get("BUDGETC_FAULT", "").partition(" ")
        return [Spoilt(f, which) if f.kind == kind else f for f in super().families()]


class Spoilt:
    """A family that drops one iteration of a loop."""

    def __init__(self, family: Family, which: str) -> None:
        self._family, self._which = family, which
        self.kind = family.kind

    def refusal(self, task: Task, capability: Capability) -> str | None:
        """The family's."""
        return self._family.refusal(task, capability)

    def space(self, task: Task, capability: Capability) -> Sequence[Point]:
        """The family's."""
        return self._family.space(task, capability)

    def pack(
        self, task: Task, capability: Capability, point: Point, constants: Mapping[str, Array]
    ) -> Sequence[Array]:
        """The family's."""
        return self._family.pack(task, capability, point, constants)

    def build(self, task: Task, capability: Capability, point: Point, name: str) -> Kernel:
        """Built twice: to count the statements, and to spoil one of them."""
        for statement in ("For", "BufferStore"):
            with spoilt(statement, None) as seen:
                self._family.build(task, capability, point, name)
            if seen:
                chosen = 0 if self._which == "first" else len(seen) - 1
                with spoilt(statement, chosen):
                    return self._family.build(task, capability, point, name)
        raise AssertionError("BUG: a kernel without loops and stores")


@contextmanager
def spoilt(statement: str, chosen: int | None) -> Iterator[list[Any]]:
    """While a kernel is written, count its statements of one kind, and spoil the one chosen."""
    from tvm import tirx

    seen: list[Any] = []
    make = getattr(tirx, statement)

    def shortened(*parts: Any) -> Any:
        seen.append(statement)
        if len(seen) - 1 != chosen:
            return make(*parts)
        if statement == "BufferStore":  # a store of what was there before is no store
            return make(parts[0], tirx.BufferLoad(parts[0], parts[2]), parts[2])
        variable, first, count, *rest = parts
        return make(variable, first, count - 1, *rest)

    with patch.object(tirx, statement, shortened):
        yield seen
