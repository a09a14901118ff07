"""A task: one kernel's work, complete and hashable, with every shape and stride fixed."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from budgetc_targets.expression import Expr
from budgetc_targets.recurrence import Cell

Attribute = int | float | str | bool | tuple[int, ...] | tuple[Cell, ...] | Expr


@dataclass(frozen=True)
class Access:
    """How a kernel reaches a tensor: element strides from its pointer. A stride of 0 broadcasts."""

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def __post_init__(self) -> None:
        assert len(self.shape) == len(self.strides), "BUG: a stride per dimension"

    @property
    def extent(self) -> int:
        """Number of elements from the first to the last one reached, both included."""
        return 1 + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True) if s > 0)


@dataclass(frozen=True)
class Task:
    """One kernel's work.

    `inputs` are what the kernel family itself reads (activations); `operands` are the side inputs of
    the expression, in the output's index space (activations or constants, a stride of 0 where they
    broadcast). The C function takes the pointers of `inputs`, then the constants that the family
    packs, then `operands`, then a table of so many 4-byte `numbers` where the expression reads such,
    then the output, then scratch memory where the kernel wants some, and with
    `parallel` a trailing range of tasks.
    `may_alias` allows the output to be written over an operand, element for element.
    """

    kind: str
    inputs: tuple[Access, ...]
    output: Access
    expression: Expr
    operands: tuple[Access, ...] = ()
    attributes: tuple[tuple[str, Attribute], ...] = ()
    may_alias: bool = False
    parallel: bool = False
    numbers: int = 0

    def attribute(self, name: str) -> Any:
        """An attribute's value.

        Raises:
            KeyError: there is none of that name.
        """
        return dict(self.attributes)[name]

    @property
    def expressions(self) -> tuple[Expr, ...]:
        """The expression, then those among the attributes, in their order."""
        return (self.expression, *(v for _, v in self.attributes if isinstance(v, Expr)))

    def with_expressions(self, expressions: Sequence[Expr]) -> "Task":
        """The same with other expressions, as many as `expressions` has and in that order."""
        end, *others = expressions
        rest = iter(others)
        attributes = tuple(
            (name, next(rest) if isinstance(value, Expr) else value)
            for name, value in self.attributes
        )
        return replace(self, expression=end, attributes=attributes)

    @property
    def digest(self) -> str:
        """Twelve hex digits that name this work; equal tasks share one kernel."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:12]


def is_open(task: Task) -> bool:
    """Whether a task stands for tasks of any size, which its kernel reads from the end of its table of numbers."""
    return bool(dict(task.attributes).get("open"))
