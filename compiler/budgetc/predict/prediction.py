"""A prediction as a value: what a library will take and how long it will run, layer by layer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from budgetc.lower.lowered import Layer

Basis = Literal["measured", "learnt", "roofline"]
"""What a layer's time rests on: this very kernel was timed; others of its family were; only the sheet is known."""


@dataclass(frozen=True)
class Expected:
    """How long a call will take.

    Attributes:
        layer: the call.
        seconds: of one call, as they are most likely.
        spread: standard deviation of their logarithm.
        basis: what they rest on.
    """

    layer: Layer
    seconds: float
    spread: float
    basis: Basis

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**asdict(self.layer), "seconds": self.seconds, **self._rest()}

    def _rest(self) -> dict[str, Any]:
        return {"spread": self.spread, "basis": self.basis}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Expected":
        """The inverse of `to_json`."""
        rest = dict(value)
        seconds, spread, basis = (rest.pop(name) for name in ("seconds", "spread", "basis"))
        return Expected(Layer.from_json(rest), seconds, spread, basis)


@dataclass(frozen=True)
class Entry:
    """One entry point.

    Attributes:
        arena: bytes of workspace that a caller passes; exact.
        latency: seconds of an inference, as they are most likely.
        interval: where they lie with nine tenths of certainty.
        layers: the calls in the order in which they run.
        arena_bound: bytes of workspace that the calls are proven to need, in any order.
    """

    arena: int
    latency: float
    interval: tuple[float, float]
    layers: tuple[Expected, ...]
    arena_bound: int = 0

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "arena": self.arena,
            "arena_bound": self.arena_bound,
            "latency": self.latency,
            "latency_interval": list(self.interval),
            "layers": [each.to_json() for each in self.layers],
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Entry":
        """The inverse of `to_json`."""
        low, high = value["latency_interval"]
        layers = tuple(Expected.from_json(each) for each in value["layers"])
        bound = value["arena_bound"]
        return Entry(value["arena"], value["latency"], (low, high), layers, bound)


@dataclass(frozen=True)
class Prediction:
    """What a library will be.

    Attributes:
        size: bytes of the library; exact.
        static: bytes of its data and bss; exact.
        stack: bytes of the calling thread's stack, as far as the frames of the code tell.
        grown: whether a compact library would be smaller.
        entries: its entry points.
        compiled: how many kernels had to be compiled for it.
        seconds: what the prediction took.
    """

    size: int
    static: int
    stack: int
    grown: bool
    entries: tuple[Entry, ...]
    compiled: int = 0
    seconds: float = 0.0

    @property
    def first(self) -> Entry:
        """The first entry point."""
        return self.entries[0]

    @property
    def memory(self) -> int:
        """Bytes of RAM for one inference, with the largest workspace."""
        return max(entry.arena for entry in self.entries) + self.static + self.stack

    @property
    def latency(self) -> float:
        """Seconds of an inference by the first entry point."""
        return self.first.latency

    @property
    def interval(self) -> tuple[float, float]:
        """Where that lies with nine tenths of certainty."""
        return self.first.interval

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, in bytes and seconds."""
        return {
            "size": self.size,
            "memory": self.memory,
            "static": self.static,
            "stack": self.stack,
            "grown": self.grown,
            "entries": [entry.to_json() for entry in self.entries],
            "compiled": self.compiled,
            "seconds": self.seconds,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Prediction":
        """The inverse of `to_json`."""
        return Prediction(
            size=value["size"],
            static=value["static"],
            stack=value["stack"],
            grown=value["grown"],
            entries=tuple(Entry.from_json(each) for each in value["entries"]),
            compiled=value["compiled"],
            seconds=value["seconds"],
        )
