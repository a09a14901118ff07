"""`budgetc bench`: measure an artefact folder again, on this machine."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from budgetc.cli.arguments import ArtefactFolder, Json
from budgetc.cli.exits import signals_later
from budgetc.cli.terminal import open_terminal, say

if TYPE_CHECKING:
    from rich.console import Console

    from budgetc.bench import Benchmark


def bench(
    folder: ArtefactFolder,
    *,
    runs: Annotated[
        int, typer.Option("--runs", metavar="N", min=1, max=1_000_000, help="Timed inferences.")
    ] = 1000,
    entry: Annotated[
        str,
        typer.Option("--entry", metavar="SHAPES", help="Another entry point, such as 4x1x28x28."),
    ] = "",
    as_json: Json = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", "-v", help="Also print the arena's map and the time of each call."
        ),
    ] = False,
) -> int:
    """Measure an artefact again, in turns with onnxruntime.

    First its files are checked against the digests in its manifest. Inputs are made up.
    """
    with signals_later():
        from budgetc.bench import bench as measure

    found = measure(folder, runs, entry, layers=verbose or as_json)
    if as_json:
        print(json.dumps(found.to_json(), indent=2))
    else:
        _print(open_terminal().out, found, verbose=verbose)
    return 0


def _print(console: "Console", found: "Benchmark", *, verbose: bool) -> None:
    from budgetc_specs.units import format_bytes, format_seconds

    from budgetc.bench import PEER, STATISTICS

    memory, latency = found.memory, found.latency
    say(console, f"{found.folder}: {found.capability.cpu}, {found.recipe}", "bold")
    stack = "not measured" if memory.stack is None else format_bytes(memory.stack)
    say(console, f"size    {format_bytes(found.size.deployed)}")
    parts = f"arena {format_bytes(memory.arena)}, static {format_bytes(memory.static)}"
    say(console, f"memory  {format_bytes(memory.total)} ({parts}, stack {stack})")
    if memory.warning:
        say(console, f"        {memory.warning}", "yellow")
    if verbose:
        from budgetc.cli.memory_map import print_memory_map

        console.line()
        print_memory_map(console, found.parts)
        console.line()
    if latency is None:
        say(console, f"latency not timed: {found.reason}", "yellow")
        return
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("latency", "budgetc", PEER, "ratio"):
        table.add_column(heading, justify="left" if heading == "latency" else "right")
    for statistic in STATISTICS:
        ours, theirs = latency.ours.statistic(statistic), latency.peers[PEER].statistic(statistic)
        table.add_row(
            Text(statistic, "bold"),
            format_seconds(ours),
            format_seconds(theirs),
            f"{ours / theirs:.3g}",
        )
    console.line()
    console.print(table)
    if latency.ratio_interval:
        low, high = latency.ratio_interval.low, latency.ratio_interval.high
        words = f"ratio of p50 {low:.3g} to {high:.3g} with 95 % confidence"
        say(console, f"{latency.ours.runs} runs each, {words}", "dim")
    if verbose:
        from budgetc.cli.calls import print_calls

        console.line()
        print_calls(console, found.calls, found.calls_reason)
