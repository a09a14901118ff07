"""`budgetc plan`: what the budgets imply, what is out of reach and what to expect, before anything is built."""

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from budgetc.cli.arguments import Json, Overrides, SpecFile, Targets
from budgetc.cli.exits import signals_later
from budgetc.cli.terminal import open_terminal, say

if TYPE_CHECKING:
    from rich.console import Console

    from budgetc.search.plan import Expected, Plan

OUT_OF_REACH = 3
"""Exit code where a budget is proven to be out of reach."""


def plan_spec(
    spec: SpecFile,
    *,
    target: Targets = None,
    overrides: Overrides = None,
    as_json: Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print the plan only.")] = False,
) -> int:
    """Say what the budgets imply, without building anything.

    Exit code 3 where a budget is proven to be out of reach.
    """
    from budgetc_specs.document import load_spec

    loaded = load_spec(spec, overrides or ())
    terminal = open_terminal()
    from budgetc.cli.live import observed

    with observed(terminal, loaded.search.time, quiet=quiet) as observer:
        with signals_later():
            from budgetc.plan import plan

        plans = plan(loaded, targets=target or None, observer=observer)
    if as_json:
        written = {"budgetc": 1, "name": loaded.output.name}
        print(json.dumps({**written, "targets": [each.to_json() for each in plans]}, indent=2))
    else:
        for each in plans:
            _print(terminal.out, each)
    return OUT_OF_REACH if any(each.out_of_reach for each in plans) else 0


def _print(console: "Console", plan: "Plan") -> None:
    say(console, f"\n{plan.target}: {plan.capability.target}, {plan.capability.cpu}", "bold")
    for need in plan.needs:
        say(console, f"  {need.budget}: {need.text}")
    for bound in plan.bounds:
        if bound.beyond:
            say(console, f"  {bound.budget} is out of reach: {bound.why}", "bold red")
    say(console, "\nwhat can be chosen", "bold")
    for family in plan.space.families:
        levels = max(len(choice.levels) for choice in family.choices)
        options = "".join(f", {name} {'|'.join(map(str, v))}" for name, v in family.options)
        parts = len(family.choices)
        say(
            console,
            f"  {family.name}: {parts} part{'s' if parts > 1 else ''}, up to {levels} levels"
            f"{options}",
        )
    if not plan.space.families:
        say(
            console,
            "  nothing: the spec names its recipe, or no pass offers anything for this model",
        )
    for note in plan.notes:
        say(console, f"  {note}", "dim")
    say(console, "\nwhat to expect", "bold")
    _print_points(console, plan.points)
    say(console, plan.validation, "dim")


def _print_points(console: "Console", points: "tuple[Expected, ...]") -> None:
    from budgetc_specs.units import format_bytes, format_points, format_seconds
    from rich.table import Table

    from budgetc.cli.shorthand import shorthand

    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in ("candidate", "size", "memory", "latency", "quality drop", "keeps the budgets"):
        right = heading in {"size", "memory", "latency", "quality drop"}
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for point in points:
        figures = point.figures
        if figures is None:
            table.add_row(Text(shorthand(point.recipe)), "-", "-", "-", "-", Text(point.refusal))
            continue
        latency = "-"
        if figures.latency is not None:
            latency = format_seconds(figures.latency)
            if figures.fastest is not None and figures.slowest is not None:
                low, high = format_seconds(figures.fastest), format_seconds(figures.slowest)
                latency += f" ({low} to {high})"
        missed = [name for name, excess in point.excess.items() if excess > 0]
        drop = "-" if figures.drop is None else format_points(figures.drop)
        if figures.least_drop is not None and figures.greatest_drop is not None:
            low, high = format_points(figures.least_drop), format_points(figures.greatest_drop)
            drop += f" ({low} to {high})"
        table.add_row(
            Text(shorthand(point.recipe)),
            format_bytes(figures.size),
            format_bytes(figures.memory),
            latency,
            drop,
            Text(f"no: {', '.join(missed)}" if missed else "yes", "red" if missed else "green"),
        )
    console.print(table)
