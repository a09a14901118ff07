"""What a pass is: a frozen value with options that turns one ONNX model into another and says what it did."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from budgetc_specs.capability import Capability

T = TypeVar("T")

Sample = Mapping[str, npt.NDArray[np.generic]]
"""One inference's inputs by name, batch dimension included."""


@dataclass(frozen=True)
class Note:
    """One line of the ledger: what a pass did to a node, or what it refused to do and why."""

    kind: Literal["did", "refused"]
    node: str
    text: str


@dataclass(frozen=True)
class Needs:
    """What a pass asks of the engine before it runs."""

    calibration: bool = False


@dataclass(frozen=True)
class Evidence:
    """What the engine hands to a pass: the target's sheet and, where needed, a stream of samples.

    `calibration()` starts a fresh stream each time it is called; a pass may go over it more than once but must not
    hold all of it. It is empty for a pass that did not ask for it.

    A model that is compiled for several shapes goes through a pass once for each. `results` keeps what the pass
    measured for the first, so that all of them get the same numbers, and their weights stay equal. One model may go
    through a pass with other options again as well: what is measured has a name that says all that it depends on,
    but for the model's weights.
    """

    capability: Capability
    calibration: Callable[[], Iterable[Sample]] = field(default=lambda: ())
    results: dict[str, Any] = field(default_factory=dict)

    def measured(self, what: str, measure: Callable[[], T]) -> T:
        """What `measure` says, asked once for all shapes of the model."""
        if what not in self.results:
            self.results[what] = measure()
        found: T = self.results[what]
        return found


@dataclass(frozen=True)
class PassResult:
    """The model after a pass, whether it differs, and the notes in the order of the work."""

    model: ir.Model
    modified: bool
    notes: tuple[Note, ...] = ()


class PassError(Exception):
    """A pass found the model to break what the pass requires or ensures."""


@runtime_checkable
class Pass(Protocol):
    """A frozen dataclass whose fields are its options.

    `run` may change the model it is given in place or return another one; the caller hands over a copy.
    """

    name: ClassVar[str]

    def needs(self) -> Needs:
        """What the pass asks of the engine."""
        ...

    def run(self, model: ir.Model, evidence: Evidence) -> PassResult:
        """Transform the model.

        Raises:
            PassError: the model breaks what the pass requires.
        """
        ...
