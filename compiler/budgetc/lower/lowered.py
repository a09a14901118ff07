"""A model as a straight line of kernel calls over one arena: what lowering hands to emission."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

Region = Literal["input", "output", "arena", "weights"]


@dataclass(frozen=True)
class Port:
    """A model input or output as the caller sees it: dense, row-major, in the ONNX shape."""

    name: str
    dtype: str  # numpy name: float32, uint8, int8, int32, int64, bool
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Pointer:
    """An argument of a kernel: a byte offset into a region; `index` picks the port of an input or output region."""

    region: Region
    offset: int = 0
    index: int = 0


@dataclass(frozen=True)
class Fill:
    """Bytes of the arena that the driver sets before a call: rows of `width` bytes, `stride` apart."""

    offset: int
    rows: int
    width: int
    stride: int
    value: int


@dataclass(frozen=True)
class Call:
    """One kernel call.

    With `tasks` > 0 the C function takes a trailing range `int32_t begin, int32_t end` of [0, tasks).
    """

    kernel: str
    arguments: tuple[Pointer, ...]
    label: str
    fills: tuple[Fill, ...] = ()
    tasks: int = 0
    macs: int = 0


@dataclass(frozen=True)
class Slot:
    """A value's place in the arena: bytes from `offset` on, from the first call that touches it to the last."""

    name: str
    offset: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Lowered:
    """Everything emission needs beside the object file and the weights blob. All sizes are in bytes.

    `arena_lower_bound` is what the calls need in their order, the most bytes alive at one of them; `arena_order_bound`
    is what they are proven to need in any order. `arena_map` says what lies where.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    calls: tuple[Call, ...]
    arena_bytes: int
    arena_lower_bound: int
    weight_bytes: int
    alignment: int = 64
    arena_order_bound: int = 0
    arena_map: tuple[Slot, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> "Lowered":
        """The inverse of `to_json`."""

        def port(p: dict[str, Any]) -> Port:
            return Port(p["name"], p["dtype"], tuple(p["shape"]))

        def call(c: dict[str, Any]) -> Call:
            return Call(
                kernel=c["kernel"],
                arguments=tuple(Pointer(**a) for a in c["arguments"]),
                label=c["label"],
                fills=tuple(Fill(**f) for f in c["fills"]),
                tasks=c["tasks"],
                macs=c["macs"],
            )

        return Lowered(
            inputs=tuple(port(p) for p in value["inputs"]),
            outputs=tuple(port(p) for p in value["outputs"]),
            calls=tuple(call(c) for c in value["calls"]),
            arena_bytes=value["arena_bytes"],
            arena_lower_bound=value["arena_lower_bound"],
            weight_bytes=value["weight_bytes"],
            alignment=value["alignment"],
            arena_order_bound=value["arena_order_bound"],
            arena_map=tuple(Slot(**s) for s in value["arena_map"]),
        )
