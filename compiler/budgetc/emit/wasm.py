"""Reading WebAssembly modules: what they import and export, and how their bytes divide.

The format is that of the WebAssembly core specification, chapter 5, "Binary format". A module's data segments, weights
among them, are copied into its memory when it is instantiated, so they count as data that is written.
"""

from collections.abc import Iterator

from budgetc_specs.errors import InternalError

from budgetc.emit.object_file import ObjectFile, SectionSizes

_IMPORT, _EXPORT, _CODE, _DATA = 2, 7, 10, 11
_FUNCTION, _TABLE, _MEMORY, _GLOBAL, _TAG = 0, 1, 2, 3, 4


def object_file(data: bytes) -> ObjectFile:
    """What a linked module says of itself.

    Raises:
        InternalError: not a module of version 1, or cut short.
    """
    if data[:8] != b"\0asm\1\0\0\0":
        raise InternalError("BUG: not a WebAssembly module of version 1")
    needed: set[str] = set()
    exported: set[str] = set()
    text = segments = 0
    try:
        for kind, body in _sections(data):
            reader = _Reader(body)
            if kind == _IMPORT:
                needed.update(_imports(reader))
            elif kind == _EXPORT:
                exported.update(_exports(reader))
            elif kind == _CODE:
                text = len(body)
            elif kind == _DATA:
                segments = len(body)
    except IndexError as error:
        raise InternalError(f"BUG: module of {len(data)} bytes is cut short") from error
    sizes = SectionSizes(text=text, data=segments)
    names = frozenset(exported)
    return ObjectFile(sizes, needed=frozenset(needed), offered=names, exported=names)


class _Reader:
    """A cursor over the bytes of a section."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def byte(self) -> int:
        value = self._data[self._at]
        self._at += 1
        return value

    def number(self) -> int:
        """An unsigned number in LEB128."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def take(self, size: int) -> bytes:
        if self._at + size > len(self._data):
            raise IndexError(size)
        self._at += size
        return self._data[self._at - size : self._at]

    def name(self) -> str:
        return self.take(self.number()).decode("utf-8", "replace")

    def limits(self) -> None:
        """The extent of a table or memory, which is skipped."""
        if self.byte() & 1:
            self.number()
        self.number()

    @property
    def done(self) -> bool:
        return self._at >= len(self._data)


def _sections(data: bytes) -> Iterator[tuple[int, bytes]]:
    reader = _Reader(data)
    reader.take(8)
    while not reader.done:
        kind = reader.byte()
        yield kind, reader.take(reader.number())


def _imports(reader: _Reader) -> Iterator[str]:
    for _ in range(reader.number()):
        module, name, kind = reader.name(), reader.name(), reader.byte()
        if kind in (_FUNCTION, _TAG):
            if kind == _TAG:
                reader.byte()
            reader.number()
        elif kind == _TABLE:
            reader.byte()
            reader.limits()
        elif kind == _MEMORY:
            reader.limits()
        elif kind == _GLOBAL:
            reader.take(2)
        yield f"{module}.{name}"


def _exports(reader: _Reader) -> Iterator[str]:
    for _ in range(reader.number()):
        yield reader.name()
        reader.byte()
        reader.number()
