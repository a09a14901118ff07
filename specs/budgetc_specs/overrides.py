"""`--set key.path=value`: single values that replace what the spec file says."""

import re

from budgetc_specs.errors import SpecError, quoted
from budgetc_specs.source import Node, Place, Source, dotted
from budgetc_specs.yaml_source import parse_yaml

_PART = re.compile(r"""\s*(?:"([^"]+)"|([^."=\s]+))\s*([.=])""")
_MAX_PARTS = 8


def override(root: Node, text: str) -> Node:
    """The tree with one value set, as `budgets.size=8KiB` says; the value is read as YAML.

    Raises:
        SpecError: the text is no `key.path=value`, or the path leads through a value.
    """
    source = Source(f"--set {text}")
    place = Place(source)
    keys, value_text = _split(text, source.name)
    value, problems = parse_yaml(source, value_text)
    if problems:
        raise SpecError(problems)
    return _set(root, (), keys, value, place)


def _split(text: str, name: str) -> tuple[tuple[str, ...], str]:
    keys: list[str] = []
    at = 0
    while match := _PART.match(text, at):
        keys.append(match[1] or match[2])
        at = match.end()
        if match[3] == "=" and len(keys) <= _MAX_PARTS:
            return tuple(keys), text[at:]
    raise SpecError.of(
        f"{quoted(text)} is not key=value",
        "write the path of a field and its value, such as --set budgets.size=8KiB.",
        name.partition(" ")[0],
    )


def _set(node: Node, done: tuple[str, ...], keys: tuple[str, ...], value: Node, at: Place) -> Node:
    if not keys:
        return value
    if node.fields is None and (node.items is not None or node.value is not None):
        what = quoted(node.value) if node.items is None else "a list"
        name = dotted(done) or "the spec"
        raise SpecError.of(
            f"{name} is {what} and has no field {quoted(keys[0])}",
            f"set {name} as a whole, such as --set '{name}={{{keys[0]}: ...}}'.",
            at.source.name,
        )
    key, *rest = keys
    below = (node.fields or {}).get(key) or Node(at)
    changed = _set(below, (*done, key), tuple(rest), value, at)
    fields, places = {**(node.fields or {})}, {**node.keys}
    fields[key] = changed
    if not rest or key not in places:
        places[key] = at
    return Node(node.place, fields=fields, keys=places)
