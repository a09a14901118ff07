"""`budgetc why`: what an artefact's bytes, memory or time consist of."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text
from rich.tree import Tree

from budgetc.cli.arguments import ArtefactFolder, Json
from budgetc.cli.completion import figure_names
from budgetc.cli.terminal import open_terminal

if TYPE_CHECKING:
    from budgetc.reasons import Part


def why(
    subject: Annotated[
        str,
        typer.Argument(
            metavar="size|memory|latency", help="The figure.", autocompletion=figure_names
        ),
    ],
    folder: ArtefactFolder,
    *,
    most: Annotated[
        int, typer.Option("--most", "-n", min=1, help="Parts that are shown of each whole.")
    ] = 12,
    as_json: Json = False,
) -> int:
    """Show what a figure consists of, layer by layer, the largest part first."""
    from budgetc.artefact import read_artefact
    from budgetc.reasons import reasons

    found = reasons(read_artefact(folder), subject)
    if as_json:
        print(json.dumps({"budgetc": 1, "subject": subject, "whole": asdict(found)}, indent=2))
        return 0
    tree = Tree(_line(found, found.amount, subject))
    _grow(tree, found, found.amount, subject, most)
    open_terminal().out.print(tree)
    return 0


def _grow(tree: Tree, whole: "Part", total: float, subject: str, most: int) -> None:
    for part in whole.inner[:most]:
        _grow(tree.add(_line(part, total, subject)), part, total, subject, most)
    if rest := whole.inner[most:]:
        amount = _amount(sum(p.amount for p in rest), subject)
        tree.add(Text(f"{amount}  {len(rest)} more; --most N shows them", "dim"))


def _line(part: "Part", total: float, subject: str) -> Text:
    share = f"{100 * part.amount / total:4.1f} %" if total else ""
    line = Text.assemble(
        (f"{_amount(part.amount, subject):>10}", "bold"), f"  {share}  {part.name}"
    )
    return line.append(f"  {part.about}", "dim") if part.about else line


def _amount(amount: float, subject: str) -> str:
    from budgetc_specs.units import format_amount

    return format_amount(amount, "seconds" if subject == "latency" else "bytes")
