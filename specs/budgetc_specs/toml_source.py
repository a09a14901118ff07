"""TOML as a tree with positions: tomllib reads the values, a search finds where they stand."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from budgetc_specs.errors import Diagnostic, SpecError
from budgetc_specs.source import MAX_DEPTH, MAX_NODES, Node, Place, Source, fatal

_BARE_OR_QUOTED = r"""(?:[A-Za-z0-9_-]+|"[^"\n]*"|'[^'\n]*')"""
_DOTTED = rf"{_BARE_OR_QUOTED}(?:\s*\.\s*{_BARE_OR_QUOTED})*"
_HEADER = re.compile(rf"\s*\[\[?\s*({_DOTTED})\s*\]\]?")
_ASSIGNMENT = re.compile(rf"\s*({_DOTTED})\s*=\s*")
_VALUE = re.compile(r"""\"[^"]*"|'[^']*'|[^,\[\]{}#\s]*""")
_ERROR = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)")

_Loc = tuple[int | str, ...]
_Places = dict[_Loc, tuple[Place, Place]]  # of the key and of the value


def parse_toml(source: Source, text: str) -> tuple[Node, list[Diagnostic]]:
    """The tree of a TOML text; the list is there for the likeness with YAML and is empty.

    Raises:
        SpecError: the text is no TOML, or is too deep or too large.
    """
    try:
        value = tomllib.loads(text)
    except RecursionError:
        raise _too_deep(source) from None
    except ValueError as error:
        raise _not_toml(source, str(error)) from error
    return _Tree(source).node((), value, Place(source)), []


class _Tree:
    """Pairs the values with the places of their keys."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._places = _key_places(source)
        self._nodes = 0

    def node(self, loc: _Loc, value: Any, place: Place) -> Node:
        self._nodes += 1
        if len(loc) >= MAX_DEPTH:
            raise _too_deep(self._source)
        if self._nodes > MAX_NODES:
            message = f"more than {MAX_NODES} values"
            raise SpecError.of(message, "a spec is smaller than that.", self._source.name)
        if isinstance(value, list):
            items = enumerate(value)
            return Node(place, items=tuple(self.node((*loc, i), item, place) for i, item in items))
        if not isinstance(value, Mapping):
            return Node(place, value)
        fields, keys = {}, {}
        for key, each in value.items():
            key_place, value_place = self._find((*loc, key), key, place)
            fields[key], keys[key] = self.node((*loc, key), each, value_place), key_place
        return Node(place, fields=fields, keys=keys)

    def _find(self, loc: _Loc, key: str, parent: Place) -> tuple[Place, Place]:
        """Where a key and its value stand: where a line starts, in an inline table, or unknown."""
        if loc in self._places:
            return self._places[loc]
        line = self._source.lines[parent.line - 1]
        match = re.compile(rf"""(?<![\w-])["']?{re.escape(key)}["']?\s*=\s*""").search(
            line, parent.column - 1
        )
        return _both(self._source, parent.line, line, match, 0) if match else (parent, parent)


def _key_places(source: Source) -> _Places:
    """Where headers and assignments that start a line stand."""
    places: _Places = {}
    table: _Loc = ()
    for number, line in enumerate(source.lines, start=1):
        if header := _HEADER.match(line):
            table = _keys(header[1])
            place = Place(source, number, header.start(1) + 1, len(header[1]))
            for depth in range(1, len(table) + 1):
                places.setdefault(table[:depth], (place, place))
        elif assignment := _ASSIGNMENT.match(line):
            both = _both(source, number, line, assignment, 1)
            keys = _keys(assignment[1])
            for depth in range(1, len(keys) + 1):
                places.setdefault((*table, *keys[:depth]), both)
    return places


def _both(
    source: Source, number: int, line: str, match: re.Match[str], group: int
) -> tuple[Place, Place]:
    key = match[group].split("=")[0].rstrip()
    value = _VALUE.match(line, match.end())
    return (
        Place(source, number, match.start(group) + 1, len(key)),
        Place(source, number, match.end() + 1, max(1, len(value[0]) if value else 1)),
    )


def _keys(dotted: str) -> _Loc:
    return tuple(part.strip("\"'") for part in re.findall(_BARE_OR_QUOTED, dotted))


def _too_deep(source: Source) -> SpecError:
    message = f"nested more than {MAX_DEPTH} deep"
    return SpecError.of(message, "a spec is flatter than that.", source.name)


def _not_toml(source: Source, text: str) -> SpecError:
    match = _ERROR.fullmatch(text)
    why = f"{match[1][:1].lower()}{match[1][1:]}" if match else text
    if match and match[2]:
        place = Place(source, int(match[2]), int(match[3]))
    else:
        place = Place(source, len(source.lines), len(source.lines[-1]) + 1)
    return fatal(place, f"this is not TOML: {why}")
