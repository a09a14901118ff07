"""The memory map: what lies where in the arena, and from which call to which."""

from collections.abc import Mapping
from typing import Any

from budgetc_specs.errors import printable
from budgetc_specs.units import format_bytes
from rich.console import Console
from rich.table import Table
from rich.text import Text

from budgetc.cli.terminal import say


def print_memory_map(console: Console, parts: Mapping[str, Any]) -> None:
    """Print the arena of a library beside its bounds, and a line for each value in it.

    Args:
        console: where to.
        parts: of a candidate, as its manifest has them; without a map nothing is printed.
    """
    if "arena_map" not in parts:
        return
    arena, bound, least = (parts[f"arena{n}"] for n in ("", "_lower_bound", "_order_bound"))
    over = f", {arena / bound - 1:.1%} over it" if bound else ""
    say(
        console,
        f"arena {arena} bytes ({format_bytes(arena)}); lower bound for the order of calls {bound} bytes{over}; "
        f"no order needs fewer than {least} bytes",
    )
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("offset", "bytes", "first call", "last call"):
        table.add_column(heading, justify="right")
    table.add_column("value", overflow="fold")
    for slot in parts["arena_map"]:
        figures = (str(slot[key]) for key in ("offset", "bytes", "first", "last"))
        table.add_row(*figures, Text(printable(slot["name"])))
    if table.row_count:
        console.print(table)
