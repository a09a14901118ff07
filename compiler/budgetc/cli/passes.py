"""`budgetc passes`: what passes are installed, from their classes."""

import inspect
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from budgetc.cli.completion import pass_names
from budgetc.cli.terminal import open_terminal, say


def passes(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="One pass, in full.", autocompletion=pass_names),
    ] = None,
) -> int:
    """List the passes of recipes, or describe one in full."""
    from budgetc.cli.topics import owner, pass_options, signature
    from budgetc.plugins import installed
    from budgetc.registry import PASSES, find_pass

    out = open_terminal().out
    if name is not None:
        found = find_pass(name)
        say(out, signature(name, found), "bold")
        say(out, inspect.getdoc(found) or "")
        say(out, f"\nfrom {owner(installed(PASSES)[name])}", "dim")
        return 0
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("pass", "what it does", "options"):
        table.add_column(heading, overflow="fold")
    for each in installed(PASSES):
        found = find_pass(each)
        summary = (inspect.getdoc(found) or "").partition("\n")[0]
        table.add_row(Text(each, "bold"), Text(summary), Text("\n".join(pass_options(found))))
    out.print(table)
    return 0
