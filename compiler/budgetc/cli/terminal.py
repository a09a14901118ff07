"""Where the command line writes: results to standard output, all else to standard error."""

import os
import sys
from dataclasses import dataclass

from budgetc_specs.errors import printable
from rich.console import Console
from rich.table import Table
from rich.text import Text

# What is not a terminal has no width; tables get enough of it that no cell is broken.
_PLAIN_WIDTH = 160


@dataclass(frozen=True)
class Terminal:
    """The two streams of one command.

    Attributes:
        out: what the user asked for.
        err: progress, warnings and errors.
        live: whether lines on `err` can be overwritten.
    """

    out: Console
    err: Console
    live: bool


def open_terminal() -> Terminal:
    """The process's streams as they are now. Colours follow NO_COLOR, FORCE_COLOR and TERM."""
    return Terminal(
        out=_console(error=False),
        err=_console(error=True),
        live=sys.stderr.isatty() and os.environ.get("TERM") != "dumb",
    )


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line as it is: never wrapped, nothing in it understood as markup or as control."""
    lines = "\n".join(printable(line) for line in text.splitlines())
    console.print(Text(lines, style=style), soft_wrap=True)


def plain_table(*headings: str) -> Table:
    """A table without lines; a heading that starts with > stands over right-aligned cells."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in headings:
        right = heading.startswith(">")
        table.add_column(
            heading.removeprefix(">"), justify="right" if right else "left", overflow="fold"
        )
    return table


def _console(*, error: bool) -> Console:
    stream = sys.stderr if error else sys.stdout
    return Console(
        file=stream,
        width=None if stream.isatty() else _PLAIN_WIDTH,
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=False,
    )
