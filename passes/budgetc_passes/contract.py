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


Teacher = Literal["given", "before"]
"""Whom a pass learns from: `Needs.teacher`."""

HELD_BACK = 0.1
MOST_HELD_BACK = 2000
"""Of the samples to learn from, the part that a training is judged on, and the most of them."""


@dataclass(frozen=True)
class Note:
    """One line of the ledger: what a pass did to a node, or what it refused to do and why."""

    kind: Literal["did", "refused"]
    node: str
    text: str


@dataclass(frozen=True)
class Needs:
    """What a pass asks of the engine before it runs.

    Attributes:
        calibration: samples to look at.
        lessons: samples to learn from, and what goes with them. What such a pass comes to is kept by
            the engine under all that it depends on.
        teacher: who teaches it: the model that the spec names, or the model as it was before those
            passes of the recipe that stand between this training and the one before.
    """

    calibration: bool = False
    lessons: bool = False
    teacher: Teacher = "given"


@dataclass(frozen=True)
class Batch:
    """Inferences that a model is trained on together.

    Attributes:
        inputs: by name, [inferences, *shape].
        partners: for each inference, another of the batch that was mixed into it; None where none was.
        shares: of each, what the inference itself makes up, [inferences] in 0 to 1.
    """

    inputs: Mapping[str, npt.NDArray[np.generic]]
    partners: npt.NDArray[np.int64] | None = None
    shares: npt.NDArray[np.float32] | None = None


@runtime_checkable
class Augmentation(Protocol):
    """A frozen dataclass whose fields are its options: a change of inputs that leaves what is right about them."""

    @property
    def name(self) -> str:
        """As a spec calls it."""
        ...

    def apply(self, batch: Batch, random: np.random.Generator) -> Batch:
        """The batch, changed; the one that is handed in stays as it is."""
        ...


class Checkpoint(Protocol):
    """Where a pass that takes long leaves what it has, so that it can go on after a kill."""

    def load(self) -> bytes | None:
        """What an earlier run of the very same left; None where there is nothing whole."""
        ...

    def save(self, data: bytes) -> None:
        """Leave this in place of what was left before."""
        ...


@dataclass(frozen=True)
class Lessons:
    """What a pass that trains is handed.

    Attributes:
        teacher: a float model with the inputs and outputs of the one that learns.
        samples: starts a fresh stream of inferences, batch dimension included.
        labels: what is right for each sample, as many for an inference as its batch has; or None.
        augmentations: in the order in which they are applied.
        seed: of everything that is drawn at random.
        seconds: longest that the pass may train.
        checkpoint: where it leaves what it has.
        say: told how far it is.
        caution: for the ledger, if the samples are not what they should be; empty otherwise.
        classes: whether the answers will be judged as scores of classes.
    """

    teacher: ir.Model
    samples: Callable[[], Iterable[Sample]]
    labels: npt.NDArray[np.generic] | None
    augmentations: tuple[Augmentation, ...]
    seed: int
    seconds: float
    checkpoint: Checkpoint
    say: Callable[[str], None]
    caution: str = ""
    classes: bool = False


Rows = npt.NDArray[np.int64]


def held_back(count: int, seed: int) -> tuple[Rows, Rows]:
    """The inferences that are learned from, and those that are held back, in order: numbers below `count`."""
    order = np.random.default_rng(seed).permutation(count)
    held = max(1, min(MOST_HELD_BACK, round(HELD_BACK * count)))
    return np.sort(order[held:]), np.sort(order[:held])


@dataclass(frozen=True)
class Evidence:
    """What the engine hands to a pass: the target's sheet and, where needed, a stream of samples.

    `calibration()` starts a fresh stream each time it is called; a pass may go over it more than once but must not
    hold all of it. It is empty for a pass that did not ask for it; `lessons` is None then.

    A model that is compiled for several shapes goes through a pass once for each. `results` keeps what the pass
    measured for the first, so that all of them get the same numbers, and their weights stay equal. One model may go
    through a pass with other options again as well: what is measured has a name that says all that it depends on,
    but for the model's weights.
    """

    capability: Capability
    calibration: Callable[[], Iterable[Sample]] = field(default=lambda: ())
    results: dict[str, Any] = field(default_factory=dict)
    lessons: Lessons | None = None

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
