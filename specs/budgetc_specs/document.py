"""Reading a spec, a board or a sheet from YAML, JSON or TOML: all of it, or every finding with its line."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from budgetc_specs.board import Board
from budgetc_specs.errors import Diagnostic, Refusal, SpecError, quoted
from budgetc_specs.overrides import override
from budgetc_specs.section import Section
from budgetc_specs.sheet import Sheet
from budgetc_specs.source import Node, Source, dotted, read_source
from budgetc_specs.spec import Spec
from budgetc_specs.toml_source import parse_toml
from budgetc_specs.yaml_source import parse_json, parse_yaml

_READERS = {".yaml": parse_yaml, ".yml": parse_yaml, ".json": parse_json, ".toml": parse_toml}


Document = TypeVar("Document", bound=Section)


def load_spec(path: str | Path, overrides: Sequence[str] = ()) -> Spec:
    """The spec of a file, with `key.path=value` overrides applied in their order.

    Paths, also those of overrides, are relative to the file's folder and come out absolute; the
    files must exist.

    Raises:
        SpecError: with all that is wrong, in the order of the text.
    """
    return _load(path, Spec, overrides)


def load_board(path: str | Path) -> Board:
    """The board that a file describes.

    Raises:
        SpecError: with all that is wrong, in the order of the text.
    """
    return _load(path, Board, ())


def load_sheet(path: str | Path) -> Sheet:
    """The capability sheet that a file says; what it is like is not looked up.

    Raises:
        SpecError: with all that is wrong, in the order of the text.
    """
    return _load(path, Sheet, ())


def _load(path: str | Path, kind: type[Document], overrides: Sequence[str]) -> Document:
    name, what = str(path), kind.__name__.lower()
    reader = _READERS.get(Path(name).suffix.lower())
    if reader is None:
        known = ", ".join(_READERS)
        raise SpecError.of(
            f"{quoted(Path(name).suffix)} is not a {what}'s suffix",
            f"{what}s end in {known}.",
            name,
        )
    # Not resolve(): beside a symbolic link stand other files than beside what it points to.
    full = Path(name).absolute()
    source, text = read_source(full, name)
    root, findings = reader(source, text)
    for each in overrides:
        try:
            root = override(root, each)
        except SpecError as error:
            findings += error.diagnostics
    try:
        made = kind.model_validate(
            root.plain(), context={"folder": full.parent}, by_alias=True, by_name=False
        )
    except ValidationError as error:
        findings += [_finding(root, each) for each in error.errors()]
        raise SpecError(_in_order(findings, source)) from error
    if findings:
        raise SpecError(_in_order(findings, source))
    return made


def _finding(root: Node, error: Any) -> Diagnostic:
    """A validation error at the place of the text that it is about."""
    refusal: Refusal = error["ctx"]["error"]
    loc: tuple[int | str, ...] = error["loc"]
    node, place, depth = root, root.place, 0
    while depth < len(loc) and (child := node.child(loc[depth])):
        key_place = node.keys.get(str(loc[depth]), child.place)
        place = key_place if refusal.at_key else child.place
        node, depth = child, depth + 1
    if refusal.offset is not None:
        place = place.within(str(node.value), refusal.offset, refusal.width)
    where = dotted(loc[:-1] if refusal.at_key else loc[:depth])
    message = f"{where}: {refusal.message}" if where else refusal.message
    return place.finding(message, refusal.repair)


def _in_order(findings: list[Diagnostic], source: Source) -> list[Diagnostic]:
    """The file's findings from top to bottom, then those of the overrides."""

    def position(finding: Diagnostic) -> tuple[bool, int, int]:
        return finding.path != source.name, finding.line or 0, finding.column or 0

    return sorted(dict.fromkeys(findings), key=position)
