"""`budgetc targets`: what hardware can be compiled for, and whether its programs run here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from budgetc.cli.terminal import open_terminal, say

if TYPE_CHECKING:
    from budgetc_specs.capability import Capability
    from budgetc_targets.contract import Target


def targets(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="One kind, with its capability sheets.")
    ] = None,
) -> int:
    """List the kinds of hardware, and what of it runs here."""
    from budgetc_specs.errors import BudgetcError

    from budgetc.registry import TARGETS, find_target, installed

    out = open_terminal().out
    kinds = [name] if name is not None else list(installed(TARGETS))
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    details = ("vector", "int8 dot product", "triple") if name is not None else ()
    for heading in ("kind", "cpu", "runs here", *details):
        table.add_column(heading, overflow="fold")
    for kind in kinds:
        target = find_target(kind)
        try:
            cpus = target.cpus()
        except BudgetcError as error:
            table.add_row(Text(kind, "bold"), "-", Text(f"no: {error.message}"))
            continue
        default = target.capability(None, 1)
        for number, (cpu, sheet) in enumerate(cpus.items()):
            title = Text("" if number else kind, "bold")
            label = Text(cpu + (" (default)" if sheet == default and len(cpus) > 1 else ""))
            more = [Text(t) for t in _sheet(sheet)] if details else []
            table.add_row(title, label, Text(how_it_runs(target, sheet)), *more)
    out.print(table)
    if name is None:
        say(out, "\n`budgetc targets KIND` shows a kind's capability sheets.", "dim")
    return 0


def how_it_runs(target: "Target", sheet: "Capability") -> str:
    """Whether this machine executes the programs of a CPU, and by what."""
    runner = target.runner(sheet)
    if runner.command(Path("program")) is None:
        return f"no: {runner.why_not}"
    return "yes" if sheet.native else f"emulated by {runner.name}: results, not times"


def _sheet(sheet: "Capability") -> tuple[str, str, str]:
    dot = f"{sheet.int8_dot}, weights of {sheet.weight_bits} bits"
    return f"{sheet.vector_bytes} bytes x {sheet.vector_registers}", dot, sheet.llvm_triple
