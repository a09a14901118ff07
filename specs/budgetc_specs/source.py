"""The text of a spec as a tree that knows where each value was written."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from budgetc_specs.errors import Diagnostic, SpecError, quoted
from budgetc_specs.files import neighbour

_MAX_BYTES = 256 * 1024
MAX_NODES = 10_000
MAX_DEPTH = 32
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


@dataclass(frozen=True)
class Source:
    """A text by the name that its user knows; without lines nothing in it can be pointed at."""

    name: str
    lines: tuple[str, ...] = ()

    @classmethod
    def of(cls, name: str, text: str) -> "Source":
        """A text with its lines."""
        return cls(name, tuple(_LINE_BREAK.split(text)))


@dataclass(frozen=True)
class Place:
    """A stretch of a source; line and column count from 1."""

    source: Source
    line: int = 1
    column: int = 1
    width: int = 1

    def finding(self, message: str, repair: str = "") -> Diagnostic:
        """A diagnostic that points here."""
        lines = self.source.lines
        if not lines:
            return Diagnostic(self.source.name, None, None, message, repair)
        text = lines[self.line - 1] if self.line <= len(lines) else ""
        return Diagnostic(
            self.source.name, self.line, self.column, message, repair, text, self.width
        )

    def within(self, text: str, offset: int, width: int) -> "Place":
        """The place of some characters of the value written here, where it is on one line."""
        lines = self.source.lines
        if not lines or self.line > len(lines):
            return self
        for start in (self.column - 1, self.column):  # the latter after a quotation mark
            if lines[self.line - 1].startswith(text, start):
                return replace(self, column=start + 1 + offset, width=width)
        return self


@dataclass(frozen=True)
class Node:
    """A scalar, a mapping (`fields`, with the places of the `keys`) or a list (`items`)."""

    place: Place
    value: Any = None
    fields: Mapping[str, "Node"] | None = None
    keys: Mapping[str, Place] = field(default_factory=dict)
    items: tuple["Node", ...] | None = None

    def children(self) -> Iterator["Node"]:
        """The nodes directly below this one."""
        yield from (self.fields or {}).values()
        yield from self.items or ()

    def child(self, key: int | str) -> "Node | None":
        """The node under a key of a mapping or an index of a list."""
        if isinstance(key, int):
            return self.items[key] if self.items and key < len(self.items) else None
        return (self.fields or {}).get(key)

    def plain(self) -> Any:
        """The tree as dicts, lists and scalars."""
        if self.fields is not None:
            return {key: node.plain() for key, node in self.fields.items()}
        if self.items is not None:
            return [node.plain() for node in self.items]
        return self.value


def dotted(loc: tuple[int | str, ...]) -> str:
    """A location as users write it: `inputs.image.shape[1]`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc]
    return "".join(parts).removeprefix(".")


def fatal(place: Place, message: str, repair: str = "") -> SpecError:
    """An error after which the text cannot be read on."""
    return SpecError([place.finding(message, repair)])


def read_source(path: Path, name: str) -> tuple[Source, str]:
    """The text of a spec file.

    Raises:
        SpecError: the file is missing, unreadable, too large or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise SpecError.of("no such file", neighbour(path, Path(name)), name) from None
    except IsADirectoryError:
        raise SpecError.of("is a folder, not a spec file", "name the file in it.", name) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError.of(f"cannot be read: {reason}", path=name) from error
    if len(data) > _MAX_BYTES:
        limit = f"a spec has at most {_MAX_BYTES // 1024} KiB."
        raise SpecError.of("is too large for a spec", limit, name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        lines = _LINE_BREAK.split(before)
        source = Source.of(name, data.decode("utf-8-sig", "replace"))
        place = Place(source, len(lines), len(lines[-1]) + 1)
        byte = quoted(f"0x{data[error.start]:02x}")
        raise fatal(place, f"the byte {byte} is not UTF-8", "save the file as UTF-8.") from None
    return Source.of(name, text), text
