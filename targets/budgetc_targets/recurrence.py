"""A recurrent cell as plain values: products with the recurrent weights, and what a step makes of them."""

from dataclasses import dataclass

from budgetc_targets.expression import Expr, Ref


@dataclass(frozen=True)
class Stage:
    """One product with the recurrent weights, and the rows that are computed from it.

    Attributes:
        source: the row that is multiplied.
        gates: positions of the gates whose sums are formed, in the order of the weights.
        updates: rows and what becomes of them, in order; each sees what those before it have made.
    """

    source: int
    gates: tuple[int, ...]
    updates: tuple[tuple[int, Expr], ...]


@dataclass(frozen=True)
class Cell:
    """One step of a recurrent layer: its working rows and the stages that go through them.

    A row holds one f32 for each hidden unit. Row 0 is the result of a step; the first `states` rows are handed on to
    the next step, the others live within one. Expressions are elementwise; what they refer to, the methods name.

    Attributes:
        rows: number of working rows.
        states: how many of them begin with an initial value or zero.
        gates: number of gates.
        stages: in order.
    """

    rows: int
    states: int
    gates: int
    stages: tuple[Stage, ...]

    def row(self, index: int) -> Ref:
        """A working row as it is now."""
        assert index < self.rows, "BUG: a cell has no such row"
        return Ref(index)

    def summed(self, gate: int) -> Ref:
        """What the stage's product gave for a gate."""
        return Ref(self.rows + gate)

    def given(self, gate: int) -> Ref:
        """What the input gives to a gate at this step."""
        return Ref(self.rows + self.gates + gate)

    def column(self, index: int) -> Ref:
        """A number for each hidden unit that is the same at every step."""
        return Ref(self.rows + 2 * self.gates + index)
