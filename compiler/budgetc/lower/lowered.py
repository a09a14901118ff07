"""A model as a straight line of kernel calls over one arena: what lowering hands to emission."""

from collections.abc import Mapping
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
class Layer:
    """What a call is for and what it has to do: for people, and to tell how long it will take.

    Attributes:
        layer: the operation's name in the model.
        operator: the kind of its kernel; the ONNX operator where the kernel is none of ours.
        kernel: the kernel's symbol.
        bits: width of its weights; where it has none, of what it reads.
        sparsity: the part of its weights that is zero.
        weight_bytes: of all constants that it reads, as they are stored; calls may share them.
        macs: multiply-accumulates.
        work: the same with what is added to fill whole vectors.
        moved: bytes of everything that it reads and writes, once each.
        filled: bytes that are set before the call.
        slots: instructions of what it computes besides products, if each did one element; see `SLOTS` of expressions.
        form: digest of its task but for numbers; with the same point, calls of the same form take the same time.
        point: how the kernel is built, as name and value of each knob.
        parallel: whether threads share it.
    """

    layer: str
    operator: str
    kernel: str
    bits: int
    sparsity: float
    weight_bytes: int
    macs: int
    work: int
    moved: int
    filled: int = 0
    slots: int = 0
    form: str = ""
    point: tuple[tuple[str, int], ...] = ()
    parallel: bool = False

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Layer":
        """The inverse of `dataclasses.asdict`."""
        return Layer(**{**value, "point": tuple((str(n), int(v)) for n, v in value["point"])})


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
    is what they are proven to need in any order. `arena_map` says what lies where, `layers` what each call is for.
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
    layers: tuple[Layer, ...] = ()

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
            layers=tuple(Layer.from_json(each) for each in value["layers"]),
        )
