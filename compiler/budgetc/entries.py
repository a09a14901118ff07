"""The entry points of a library: one for each of the shapes that a spec names, and what tells them apart."""

from collections.abc import Sequence
from typing import Protocol


class _Shaped(Protocol):
    @property
    def shape(self) -> tuple[int, ...]: ...


class _Entry(Protocol):
    @property
    def inputs(self) -> Sequence[_Shaped]: ...


def model_file(entry: str) -> str:
    """The name of the optimised model of an entry point in an artefact's folder."""
    return f"optimised_{entry}.onnx" if entry else "optimised.onnx"


def entry_names(entries: Sequence[_Entry]) -> tuple[str, ...]:
    """Nothing for the first entry point; the others are named by the shapes of the inputs that vary.

    An input that is [1, 28, 28] in one and [4, 28, 28] in another makes the latter `4x28x28`; several such inputs are
    joined by `_`, in the model's order.
    """
    shapes = [[port.shape for port in entry.inputs] for entry in entries]
    varying = [i for i, column in enumerate(zip(*shapes, strict=True)) if len(set(column)) > 1]
    names = ["_".join("x".join(map(str, each[i])) for i in varying) for each in shapes]
    return ("", *names[1:])
