"""`budgetc diff`: what changed from one compilation to another."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from budgetc.cli.arguments import Json
from budgetc.cli.completion import artefacts
from budgetc.cli.terminal import open_terminal, say

if TYPE_CHECKING:
    from rich.console import Console

    from budgetc.comparison import Change, Comparison

_LAYERS = 20
"""Layers that are shown of each unit."""

Side = Annotated[
    Path,
    typer.Argument(
        help="An artefact's folder, the folder above it, or a lock.", autocompletion=artefacts
    ),
]


def diff(before: Side, after: Side, *, as_json: Json = False) -> int:
    """Compare two compilations: bytes, time and quality, verdicts, and layer by layer."""
    from budgetc.comparison import compare

    found = compare(before, after)
    out = open_terminal().out
    if as_json:
        print(json.dumps({"budgetc": 1, "targets": [asdict(each) for each in found]}, indent=2))
        return 0
    for each in found:
        _print(out, each)
    return 0


def _print(out: "Console", found: "Comparison") -> None:
    if found.target:
        say(out, f"\n{found.target}", "bold")
    for what, (old, new) in {**found.texts, **found.verdicts}.items():
        say(out, f"{what}: {old} -> {new}")
    out.print(_table("figure", found.figures))
    for unit in ("bytes", "seconds"):
        layers = [c for c in found.layers if c.unit == unit]
        if layers:
            say(out, "")
            out.print(
                _table("layer: weights" if unit == "bytes" else "layer: time", layers[:_LAYERS])
            )
            if len(layers) > _LAYERS:
                say(out, f"and {len(layers) - _LAYERS} more; --json has them all", "dim")
    if found.note:
        say(out, found.note, "yellow")


def _table(heading: str, changes: "list[Change] | tuple[Change, ...]") -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column(heading, overflow="fold")
    for name in ("before", "after", "change", "%"):
        table.add_column(name, justify="right")
    for change in changes:
        ratio = "-" if change.ratio is None else f"{100 * change.ratio:+.1f}"
        row = (_figure(change, change.before), _figure(change, change.after), _delta(change), ratio)
        table.add_row(Text(change.what), *row)
    return table


def _delta(change: "Change") -> str:
    if change.before is None or change.after is None:
        return "new" if change.before is None else "gone"
    delta = change.after - change.before
    sign = "-" if delta < 0 else "+"
    return "0" if not delta else f"{sign}{_figure(change, abs(delta))}"


def _figure(change: "Change", value: float | None) -> str:
    from budgetc_specs.units import format_amount

    return "-" if value is None else format_amount(value, change.unit)
