"""A node as the builders of its differentiable form see it: attributes with defaults, constants, shapes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from budgetc_passes.contract import PassError
from budgetc_passes.graph import (
    Array,
    constant,
    dims,
    float_attribute,
    input_at,
    int_attribute,
    int_list,
    ints_attribute,
    label,
    string_attribute,
)

Function = Callable[..., Any]
"""From tensors, one for each of the node's inputs and None where one is left out, to a tensor or several."""


@dataclass(frozen=True)
class Site:
    """A node, and the version of the standard operator set that it is written for."""

    node: ir.Node
    opset: int

    def refusal(self, what: str) -> PassError:
        """The error that names the node and what of it has no differentiable form."""
        return PassError(f"the {self.node.op_type} node {label(self.node)!r} {what}")

    def integer(self, name: str, default: int) -> int:
        """An integer attribute, or its default."""
        return int_attribute(self.node, name, default)

    def real(self, name: str, default: float) -> float:
        """A float attribute, or its default."""
        return float_attribute(self.node, name, default)

    def text(self, name: str, default: str) -> str:
        """A string attribute, or its default."""
        return string_attribute(self.node, name, default)

    def integers(self, name: str, default: Sequence[int]) -> tuple[int, ...]:
        """An integer list attribute, or its default."""
        return ints_attribute(self.node, name, default)

    def listed(self, index: int, attribute: str) -> tuple[int, ...] | None:
        """Integers of an attribute or of a constant input; None where they are left out.

        Raises:
            PassError: they are computed from the model's inputs.
        """
        found = int_list(self.node, index, attribute)
        if found is None and input_at(self.node, index) is not None:
            raise self.refusal(f"has a computed {attribute}, which has no differentiable form")
        return found

    def constant(self, index: int) -> Array | None:
        """The constant at an input; None where it is left out or computed."""
        return constant(input_at(self.node, index))

    def shape(self, index: int) -> tuple[int, ...]:
        """The shape of an input, batch included.

        Raises:
            PassError: it is unknown.
        """
        found = dims(input_at(self.node, index))
        if found is None:
            raise self.refusal(f"has an input {index} of unknown shape")
        return found

    def made(self, index: int = 0) -> tuple[int, ...]:
        """The shape of an output.

        Raises:
            PassError: it is unknown.
        """
        found = dims(self.node.outputs[index])
        if found is None:
            raise self.refusal(f"has an output {index} of unknown shape")
        return found

    def axis(self, default: int, rank: int) -> int:
        """The attribute `axis`, counted from the front."""
        return self.integer("axis", default) % max(rank, 1)
