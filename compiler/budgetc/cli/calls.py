"""The calls of a library as a table: what each took, its share, and how fast it multiplied."""

from collections.abc import Sequence

from budgetc_specs.errors import printable
from budgetc_specs.units import format_seconds
from rich.console import Console
from rich.table import Table
from rich.text import Text

from budgetc.cli.terminal import say
from budgetc.predict.profile import Call


def print_calls(console: Console, calls: Sequence[Call] | None, reason: str = "") -> None:
    """Print a line for each call in the order in which they run.

    Args:
        console: where to.
        calls: with their times; None where they were not timed.
        reason: why not.
    """
    if calls is None:
        say(console, reason, "yellow")
        return
    total = sum(call.total for call in calls)
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("time", "share", "GMAC/s", "bits"):
        table.add_column(heading, justify="right")
    table.add_column("kernel", overflow="fold")
    table.add_column("layer", overflow="fold")
    for call in calls:
        layer = call.layer
        rate = layer.macs / call.seconds * 1e-9 if layer.macs and call.seconds else None
        table.add_row(
            format_seconds(call.total),
            f"{call.total / total:.1%}" if total else "",
            "" if rate is None else f"{rate:.3g}",
            str(layer.bits),
            Text(printable(layer.operator)),
            Text(printable(layer.layer)),
        )
    console.print(table)
    say(console, f"all calls together {format_seconds(total)}, each timed in its place", "dim")
