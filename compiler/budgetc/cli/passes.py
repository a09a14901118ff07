"""`budgetc passes`: what passes are installed, from their classes."""

import dataclasses
import inspect
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import typer
from rich.table import Table
from rich.text import Text

from budgetc.cli.terminal import open_terminal, say


def passes(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One pass, in full.")] = None,
) -> int:
    """List the passes of recipes, or describe one in full."""
    from budgetc.registry import PASSES, find_pass, installed

    out = open_terminal().out
    if name is not None:
        found = find_pass(name)
        say(out, _signature(name, found), "bold")
        say(out, inspect.getdoc(found) or "")
        say(out, f"\nfrom {_owner(installed(PASSES)[name])}", "dim")
        return 0
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("pass", "what it does", "options"):
        table.add_column(heading, overflow="fold")
    for each in installed(PASSES):
        found = find_pass(each)
        summary = (inspect.getdoc(found) or "").partition("\n")[0]
        table.add_row(Text(each, "bold"), Text(summary), Text("\n".join(_options(found))))
    out.print(table)
    return 0


def _signature(name: str, kind: type) -> str:
    options = ", ".join(_options(kind))
    return f"{name}{{{options}}}" if options else name


def _options(kind: Any) -> list[str]:
    """`name=default`, with the words that may stand there."""
    hints = get_type_hints(kind)
    return [
        f"{field.name}={_default(field)}{_choice(hints[field.name], field.default)}"
        for field in dataclasses.fields(kind)
        if field.init
    ]


def _default(field: "dataclasses.Field[Any]") -> str:
    if field.default is dataclasses.MISSING:
        return "(required)"
    if isinstance(field.default, bool):
        return str(field.default).lower()
    return str(field.default) if field.default != "" else '""'


def _choice(hint: Any, default: object) -> str:
    if get_origin(hint) is not Literal:
        return ""
    others = [str(v) for v in get_args(hint) if v != default]
    return f" (or {', '.join(others)})" if others else ""


def _owner(point: Any) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown distribution"
