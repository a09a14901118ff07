"""YAML and JSON as trees with positions, read from ruamel's parser events: nothing is executed.

Aliases share a node and count as often as they are used, so that a small file cannot stand for
a huge value. The tree is built without recursion and its depth is bounded.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
)

from budgetc_specs.errors import Diagnostic, printable, quoted
from budgetc_specs.source import MAX_DEPTH, MAX_NODES, Node, Place, Source, dotted, fatal

_INTEGER = re.compile(r"[-+]?[0-9]{1,400}|0o[0-7]{1,18}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]{1,400}|[0-9]{1,400}(?:\.[0-9]{0,400})?)(?:[eE][-+]?[0-9]{1,4})?"
)
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


def parse_yaml(source: Source, text: str) -> tuple[Node, list[Diagnostic]]:
    """The tree of a YAML text, and what is wrong in it that still lets it be read.

    Raises:
        SpecError: the text is no YAML, or is too deep or too large.
    """
    return _Builder(source).build(text)


def parse_json(source: Source, text: str) -> tuple[Node, list[Diagnostic]]:
    """The tree of a JSON text, which is YAML of a stricter kind.

    Raises:
        SpecError: the text is no JSON, or is too deep or too large.
    """
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        place = Place(source, error.lineno, error.colno)
        raise fatal(place, f"this is not JSON: {error.msg[:1].lower()}{error.msg[1:]}") from error
    except (RecursionError, ValueError):
        pass  # too deep, or a number of thousands of digits: the builder knows the position
    return parse_yaml(source, text.translate(_LINE_BREAKS_OF_YAML))


# JSON has them inside of texts only, where YAML would take them for the ends of lines.
_LINE_BREAKS_OF_YAML = {ord(c): f"\\u{ord(c):04x}" for c in "\x85\u2028\u2029"}


_WHY = {
    "mapping values are not allowed here": 'text that holds ": " needs quotes.',
    "could not find expected ':'": 'a field is written "name: value".',
}


@dataclass
class _Open:
    """A mapping or list whose end has not been read yet."""

    place: Place
    loc: tuple[int | str, ...]
    anchor: str | None
    is_mapping: bool
    fields: dict[str, Node] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)
    items: list[Node] = field(default_factory=list)
    key: tuple[str, Place] | None = None
    height: int = 1  # of the tallest child so far, and this one
    nodes_before: int = 0


class _Builder:
    """Makes one tree of parser events."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._problems: list[Diagnostic] = []
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Node, int, int]] = {}  # with size and height
        self._nodes = 0
        self._root: Node | None = None

    def build(self, text: str) -> tuple[Node, list[Diagnostic]]:
        for event in self._events(text):
            self._on(event)
        root = self._root or Node(Place(self._source))
        return root, self._problems

    def _events(self, text: str) -> Iterator[Event]:
        """The parser's events, its exceptions mapped."""
        try:
            yield from YAML(typ="safe", pure=True).parse(text)
        except MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = Place(self._source, mark.line + 1, mark.column + 1) if mark else None
            why = printable(f"{error.problem or error.context}")
            tab = "\\t" in why
            hint = "YAML is indented with spaces, not with tabs." if tab else _WHY.get(why, "")
            raise fatal(place or Place(self._source), f"this is not YAML: {why}", hint) from error
        except (YAMLError, ValueError, OverflowError, AttributeError, IndexError) as error:
            why = printable(str(error).splitlines()[0] if str(error) else type(error).__name__)
            raise fatal(self._here(text, error), f"this is not YAML: {why}") from error

    def _here(self, text: str, error: Exception) -> Place:
        """Where a character stands that the reader does not accept."""
        at = getattr(error, "position", None)
        if not isinstance(at, int):
            return Place(self._source)
        before = Source.of("", text[:at]).lines
        return Place(self._source, len(before), len(before[-1]) + 1)

    def _on(self, event: Event) -> None:
        place = self._place(event)
        if isinstance(event, DocumentStartEvent) and self._root is not None:
            raise fatal(place, "a second document starts here", "a spec is one document.")
        if isinstance(event, CollectionEndEvent):
            self._close()
        if not isinstance(event, NodeEvent):
            return
        top = self._stack[-1] if self._stack else None
        is_key = top is not None and top.is_mapping and top.key is None
        if is_key and not isinstance(event, ScalarEvent):
            raise fatal(place, "a key must be plain text")
        if isinstance(event, AliasEvent):
            self._alias(event, place)
            return
        if isinstance(event, ScalarEvent | CollectionStartEvent) and event.tag is not None:
            hint = "remove the tag; a spec holds plain mappings, lists, text and numbers."
            self._problems.append(
                place.finding(f"the tag {quoted(event.tag)} has no meaning", hint)
            )
        if not isinstance(event, ScalarEvent):
            self._open(event, place)
        elif top is not None and is_key:
            top.key = (self._text(event, place), place)
        else:
            self._count(place, 1, 1)
            self._add(Node(place, self._scalar(event, place)), event.anchor, 1, 1)

    def _open(self, event: NodeEvent, place: Place) -> None:
        self._count(place, 1, 1)
        loc: tuple[int | str, ...] = ()
        if self._stack:
            top = self._stack[-1]
            loc = (*top.loc, top.key[0] if top.key else len(top.items))
        is_mapping = isinstance(event, MappingStartEvent)
        self._stack.append(
            _Open(place, loc, event.anchor, is_mapping, nodes_before=self._nodes - 1)
        )

    def _close(self) -> None:
        done = self._stack.pop()
        if done.is_mapping:
            node = Node(done.place, fields=done.fields, keys=done.keys)
        else:
            node = Node(done.place, items=tuple(done.items))
        self._add(node, done.anchor, self._nodes - done.nodes_before, done.height)

    def _alias(self, event: AliasEvent, place: Place) -> None:
        if event.anchor not in self._anchors:
            raise fatal(place, f"{quoted('*' + str(event.anchor))} names no anchor before it")
        node, size, height = self._anchors[event.anchor]
        self._count(place, size, height)
        self._add(node, None, size, height)

    def _add(self, node: Node, anchor: str | None, size: int, height: int) -> None:
        """Put a finished node where it belongs."""
        if anchor:
            self._anchors[anchor] = (node, size, height)
        if not self._stack:
            self._root = node
            return
        top = self._stack[-1]
        top.height = max(top.height, height + 1)
        if top.key is None:
            top.items.append(node)
            return
        key, place = top.key
        top.key = None
        if key in top.fields:
            where = f"{dotted(top.loc)}: " if top.loc else ""
            hint = f"keep one of the two; the first is on line {top.keys[key].line}."
            self._problems.append(place.finding(f"{where}{quoted(key)} is given twice", hint))
        else:
            top.fields[key], top.keys[key] = node, place

    def _count(self, place: Place, size: int, height: int) -> None:
        """Refuse what a spec cannot need before it costs anything."""
        self._nodes += size
        if self._nodes > MAX_NODES:
            raise fatal(place, f"more than {MAX_NODES} values", "a spec is smaller than that.")
        if len(self._stack) + height > MAX_DEPTH:
            raise fatal(place, f"nested more than {MAX_DEPTH} deep", "a spec is flatter than that.")

    def _scalar(self, event: ScalarEvent, place: Place) -> Any:
        """The value of a scalar by the core schema of YAML 1.2; dates and the like are text."""
        text = self._text(event, place)
        if event.style:  # in quotes, or a block
            return text
        if text in _WORDS:
            return _WORDS[text]
        if _INTEGER.fullmatch(text):
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        return float(text) if _FLOAT.fullmatch(text) else text

    def _text(self, event: ScalarEvent, place: Place) -> str:
        text = str(event.value)
        try:
            # JSON writes a character beyond 16 bits as two escapes.
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise fatal(place, "half a surrogate pair is no character") from None

    def _place(self, event: Event) -> Place:
        start, end = event.start_mark, event.end_mark
        width = end.column - start.column if end.line == start.line else 1
        return Place(self._source, start.line + 1, start.column + 1, max(1, width))
