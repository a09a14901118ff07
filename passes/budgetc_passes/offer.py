"""What a pass offers to the search: the parts of a model that it can treat, and how far.

A pass class that is `Searchable` is a family of choices. For one model it names its parts, each with
levels; what the search settles on becomes a step of a recipe again, as text that anybody can read and
replay. Nothing else has to be registered: the search asks every installed pass class.

    class Sparsify:                                   # a pass like any other
        name: ClassVar[str] = "sparsify"
        stage: ClassVar[Stage] = "structure"

        @classmethod
        def offer(cls, model, capability):
            layers = [node for node in model.graph if node.op_type == "Conv"]
            return Offer(tuple(Part(node.name, (0.0, 0.5), (node.name,), ...) for node in layers))

        @classmethod
        def step(cls, levels, options):
            sparse = [name for name, level in levels.items() if level]
            return Step.of(cls.name, layers=join_names(sparse)) if sparse else None
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol, runtime_checkable

import onnx_ir as ir
from budgetc_specs.capability import Capability
from budgetc_specs.recipe import Step, Value

Stage = Literal["structure", "codes", "halves"]
"""When a family's step runs: what changes layers comes before what stores them in other codes, and what computes in
shorter floats last: it takes what is float still."""

STAGES: tuple[Stage, ...] = ("structure", "codes", "halves")
"""All of them, in the order of a recipe."""


@dataclass(frozen=True)
class Part:
    """Something of a model that a family treats on its own: a layer, a group of coupled channels.

    Attributes:
        name: unique within the offer. It stands in recipes, so that it must be the same for the same
            model however often it is loaded, and whatever another family did before; the name of a
            node is.
        levels: what the part can be set to, two or more: the first leaves it as it is, the others
            follow by growing effect.
        nodes: names of the nodes that change with it, for whoever asks what they compute and cost.
        parameters: elements of the constants that change with it.
    """

    name: str
    levels: tuple[Value, ...]
    nodes: tuple[str, ...]
    parameters: int

    def __post_init__(self) -> None:
        if len(set(self.levels)) < max(2, len(self.levels)):
            raise ValueError(
                f"the part {self.name!r} needs two different levels, not {self.levels}"
            )


@dataclass(frozen=True)
class Offer:
    """What a family can do to one model; without parts, nothing.

    Attributes:
        parts: in the order of the graph.
        options: what is chosen once for all parts: an option of the pass and its values, the default
            first.
        uncalibrated: the same where there are no calibration samples, of the options that differ then.
    """

    parts: tuple[Part, ...] = ()
    options: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    uncalibrated: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        names = [part.name for part in self.parts]
        if len(set(names)) < len(names):
            raise ValueError(f"two parts have one name: {names}")


@runtime_checkable
class Gradual(Protocol):
    """What a searchable pass has as well, if a part can be treated to any extent, and not by levels alone.

    A strategy that trains asks for it: what a level is too coarse for, training may make good.
    """

    name: ClassVar[str]

    @classmethod
    def gradual(cls, shares: Mapping[str, float], options: Mapping[str, Value]) -> Step | None:
        """The step that takes a share from every part, 0 to below 1; None if nothing is to change.

        Args:
            shares: for every part of the offer, in its order.
            options: for every option of the offer, one of its values.
        """
        ...


@runtime_checkable
class Growing(Protocol):
    """What a pass class has, if it makes models larger that compute what they did, to be trained."""

    name: ClassVar[str]

    @classmethod
    def growths(cls) -> tuple[Step, ...]:
        """The steps that are worth trying on any model, the smallest growth first."""
        ...


@runtime_checkable
class Searchable(Protocol):
    """What a pass class has, beside `Pass`, if the search may choose its settings by part.

    All of it is asked of the class. The step that `step` makes must say everything, so that the
    recipe's text alone gives the same model again.
    """

    name: ClassVar[str]
    stage: ClassVar[Stage]

    @classmethod
    def offer(cls, model: ir.Model, capability: Capability) -> Offer:
        """What can be chosen for this model, on hardware with this sheet.

        Args:
            model: cleaned and fused, with shapes and a unique name for each node; it is the
                method's own to change.
            capability: the target's sheet.

        Raises:
            PassError: the model breaks what the pass requires; the family is left out then.
        """
        ...

    @classmethod
    def step(cls, levels: Mapping[str, Value], options: Mapping[str, Value]) -> Step | None:
        """The step of a recipe that brings every part to its level; None if none is to change.

        Args:
            levels: for every part of the offer, in its order, one of its levels.
            options: for every option of the offer, one of its values.
        """
        ...
