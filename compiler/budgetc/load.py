"""Calling a compiled model from Python: the loader of an artefact folder. It needs numpy only."""

import ctypes
import json
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from budgetc.element_types import numpy_type

Array = npt.NDArray[np.generic]

MANIFEST = "manifest.json"
_ERRORS = {1: "a null pointer", 2: "a misaligned buffer"}


@dataclass(frozen=True)
class Port:
    """A model input or output: name, numpy name of the element type, fixed shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.elements * numpy_type(self.dtype).itemsize


@dataclass(frozen=True)
class Interface:
    """How a library is called: the part of a manifest that concerns its user. Sizes in bytes.

    `further` has the entry points for other shapes of the same inputs.
    """

    name: str
    library: str
    symbol: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    workspace_bytes: int
    alignment: int
    further: tuple["Interface", ...] = ()

    @property
    def entries(self) -> tuple["Interface", ...]:
        """All entry points, the first one first, each for itself."""
        return (replace(self, further=()), *self.further)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; they are top-level keys of the manifest."""
        return asdict(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Interface":
        """The inverse of `to_json`; further keys are ignored.

        Raises:
            KeyError: a key is missing.
        """

        def ports(key: str) -> tuple[Port, ...]:
            return tuple(Port(p["name"], p["dtype"], tuple(p["shape"])) for p in value[key])

        return Interface(
            name=value["name"],
            library=value["library"],
            symbol=value["symbol"],
            inputs=ports("inputs"),
            outputs=ports("outputs"),
            workspace_bytes=value["workspace_bytes"],
            alignment=value["alignment"],
            further=tuple(Interface.from_json(each) for each in value.get("further", ())),
        )


class _Entry:
    """One function of an opened library, and the workspaces that no call of it is using."""

    def __init__(self, library: ctypes.CDLL, interface: Interface) -> None:
        self.interface = interface
        self._run = getattr(library, interface.symbol)
        self._run.restype = ctypes.c_int
        self._run.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)
        self._lock = threading.Lock()
        self._idle: list[Array] = []

    def run(self, arrays: list[Array]) -> dict[str, Array]:
        outputs = self.interface.outputs
        results = [np.empty(port.shape, numpy_type(port.dtype)) for port in outputs]
        workspace = self._take()
        try:
            code = self._run(_pointers(arrays), _pointers(results), workspace.ctypes.data)
        finally:
            with self._lock:
                self._idle.append(workspace)
        if code:
            what = _ERRORS.get(code, f"something wrong ({code})")
            raise RuntimeError(f"BUG: {self.interface.symbol} was given {what}")
        return {port.name: result for port, result in zip(outputs, results, strict=True)}

    def _take(self) -> Array:
        """A workspace that no other call is using."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
        size, unit = self.interface.workspace_bytes, self.interface.alignment
        spare = np.empty(size + unit, np.uint8)
        start = -spare.ctypes.data % unit
        return spare[start : start + size]


class LoadedModel:
    """A compiled model as a function of numpy arrays; any number of threads may call it at once.

    A model that was compiled for several shapes takes arrays of any of these.

    Attributes:
        inputs: what a call takes, in order, in the first of the shapes.
        outputs: what a call returns, in order.
        workspace_bytes: memory that each call that is under way holds besides its arrays.
        entries: the same for each of the shapes.
    """

    def __init__(self, folder: Path, interface: Interface) -> None:
        self._interface = interface
        self.inputs = interface.inputs
        self.outputs = interface.outputs
        self.workspace_bytes = interface.workspace_bytes
        self.entries = interface.entries
        # Opened by an absolute path: a bare name would be looked up in the system's folders.
        self._library = ctypes.CDLL(str((folder / interface.library).resolve()))
        self._by_shapes = {_shapes(each): _Entry(self._library, each) for each in self.entries}

    def __call__(self, inputs: Mapping[str, npt.ArrayLike]) -> dict[str, Array]:
        """Run one inference.

        Args:
            inputs: one array for each input, by name, of exactly its element type and shape.

        Returns:
            New arrays by output name.

        Raises:
            ValueError: an input is missing, unknown or of another shape.
            TypeError: an input has another element type.
        """
        arrays = self._checked(inputs)
        return self._by_shapes[tuple(array.shape for array in arrays)].run(arrays)

    def __repr__(self) -> str:
        def signature(ports: tuple[Port, ...]) -> str:
            return ", ".join(f"{p.name}: {p.dtype}{list(p.shape)}" for p in ports)

        each = (f"({signature(e.inputs)}) -> {signature(e.outputs)}" for e in self.entries)
        return f"<{self._interface.name}{' or '.join(each)}>"

    def _checked(self, inputs: Mapping[str, npt.ArrayLike]) -> list[Array]:
        wanted = [port.name for port in self.inputs]
        if set(inputs) != set(wanted):
            raise ValueError(
                f"{self._interface.name} takes the inputs {', '.join(map(repr, wanted))}; "
                f"it was given {', '.join(map(repr, inputs)) or 'none'}"
            )
        arrays = []
        for index, port in enumerate(self.inputs):
            array = np.asarray(inputs[port.name])
            if array.dtype != numpy_type(port.dtype):
                raise TypeError(
                    f"input {port.name!r} is {array.dtype}, {self._interface.name} takes "
                    f'{port.dtype}; convert it with .astype("{port.dtype}")'
                )
            taken = list(dict.fromkeys(each.inputs[index].shape for each in self.entries))
            if array.shape not in taken:
                raise ValueError(
                    f"input {port.name!r} has shape {list(array.shape)}, "
                    f"{self._interface.name} takes {' or '.join(str(list(s)) for s in taken)}"
                )
            # Dense, row-major and aligned, as the library reads it; a copy only where the caller's
            # array is not.
            arrays.append(np.require(array, requirements=("C", "A")))
        if tuple(array.shape for array in arrays) not in self._by_shapes:
            together = " or ".join(
                ", ".join(f"{p.name} {list(p.shape)}" for p in e.inputs) for e in self.entries
            )
            raise ValueError(
                f"{self._interface.name} was not compiled for these shapes together; "
                f"it takes {together}"
            )
        return arrays


def _shapes(interface: Interface) -> tuple[tuple[int, ...], ...]:
    return tuple(port.shape for port in interface.inputs)


def load(folder: str | Path) -> LoadedModel:
    """Open the artefact in `folder`.

    Raises:
        FileNotFoundError: the folder has no manifest or no library.
        ValueError: the manifest is not one that this version of budgetc wrote, or belongs to a
            static library.
        OSError: the library is not for this machine.
    """
    folder = Path(folder)
    path = folder / MANIFEST
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} holds no {MANIFEST}; give the output folder of `budgetc compile`"
        )
    try:
        interface = Interface.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is damaged or not an artefact's manifest: {error!r}") from error
    if interface.library.endswith(".wasm"):
        raise ValueError(
            f"{folder} holds a WebAssembly module; load {interface.name}.mjs in a browser or in Node.js"
        )
    if not interface.library.endswith(".so"):
        raise ValueError(
            f"{folder} holds a static library, which only a linker can use; "
            "compile with `output.kind: shared`"
        )
    if not (folder / interface.library).is_file():
        raise FileNotFoundError(f"{folder / interface.library} is missing; compile the model again")
    return LoadedModel(folder, interface)


def _pointers(arrays: list[Array]) -> ctypes.Array[ctypes.c_void_p]:
    """The C struct of buffer pointers, which is an array of pointers in memory."""
    return (ctypes.c_void_p * len(arrays))(*(array.ctypes.data for array in arrays))
