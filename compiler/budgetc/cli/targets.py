"""`budgetc targets`: what hardware can be compiled for, and whether its programs run here."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from budgetc.cli.completion import hardware_names
from budgetc.cli.exits import guarded
from budgetc.cli.terminal import open_terminal, say

if TYPE_CHECKING:
    from budgetc_specs.board import Board
    from budgetc_specs.capability import Capability
    from budgetc_targets.contract import Target

targets = typer.Typer(
    invoke_without_command=True,
    help="List the hardware that can be compiled for, explain or probe.",
)


@targets.callback()
def _targets(context: typer.Context) -> None:
    """List the hardware that can be compiled for: kinds with their CPUs, and boards."""
    if context.invoked_subcommand is None:
        guarded(_list)()


def _list() -> int:
    from budgetc_specs.errors import BudgetcError

    from budgetc.boards import board_names, find_board
    from budgetc.hardware import board_sheet
    from budgetc.plugins import installed
    from budgetc.registry import TARGETS, find_target

    out = open_terminal().out
    table = _table("kind", "cpu", "runs here")
    for kind in installed(TARGETS):
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
            table.add_row(title, label, Text(how_it_runs(target, sheet)))
    out.print(table)
    say(out, "")
    table = _table("board", "what it is", "flash", "RAM", "runs here")
    for name in board_names():
        board = find_board(name)
        runs = how_it_runs(find_target(board.kind), board_sheet(board))
        memories = [Text(_bytes(n)) for n in (board.flash, board.ram)]
        table.add_row(Text(name, "bold"), Text(board.summary), *memories, Text(runs))
    out.print(table)
    say(out, "\n`budgetc targets show NAME` explains a kind, a CPU or a board;", "dim")
    say(out, "`budgetc targets probe` describes this machine as a board.", "dim")
    return 0


@targets.command("show")
@guarded
def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A kind, a CPU or a board, or a board's file.", autocompletion=hardware_names
        ),
    ],
    toml: Annotated[
        bool,
        typer.Option("--toml", help="As a file: of a board, or of a CPU to start another from."),
    ] = False,
) -> int:
    """Explain a kind, a CPU or a board: its capability sheet, and what a spec says to compile for it."""
    from budgetc_specs.errors import SpecError, did_you_mean, quoted
    from budgetc_specs.sheet import Sheet
    from budgetc_specs.toml_text import toml_text

    from budgetc.boards import board_names, find_board
    from budgetc.plugins import installed
    from budgetc.registry import TARGETS, find_target

    kinds = installed(TARGETS)
    if Path(name).suffix or name in board_names():
        board = find_board(Path(name) if Path(name).suffix else name)
        if toml:
            print(toml_text(board), end="")
        else:
            _show_board(name, board)
        return 0
    if name in kinds:
        if toml:
            raise SpecError.of(
                f"{quoted(name)} is a kind, and has a file for each CPU",
                f"name one of {', '.join(find_target(name).cpus())}.",
            )
        _show_kind(name, find_target(name))
        return 0
    known = {cpu: kind for kind in kinds for cpu in find_target(kind).cpus()}
    having = [kind for kind in kinds if name in find_target(kind).cpus()]
    if not having:
        near = did_you_mean(name, [*kinds, *known, *board_names()])
        raise SpecError.of(
            f"no kind, CPU or board is called {quoted(name)}",
            f"{near} `budgetc targets` lists them.".strip(),
        )
    for kind in having[:1] if toml else having:
        if toml:
            print(toml_text(Sheet.of(find_target(kind).cpus()[name])), end="")
            continue
        _show_sheet(find_target(kind).cpus()[name], find_target(kind), f"kind: {kind}, cpu: {name}")
    return 0


@targets.command("probe")
@guarded
def probe(
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FILE", help="Write it there, not to the output."),
    ] = None,
) -> int:
    """Describe this machine as a board, for a spec's `board: FILE` on any machine."""
    from budgetc_specs.toml_text import toml_text

    from budgetc.probe import probe as describe
    from budgetc.store import write_atomic

    text = toml_text(describe())
    if out is None:
        print(text, end="")
        return 0
    write_atomic(out, text.encode())
    say(open_terminal().out, f"{out}: written; a spec names it, `board: {out.name}`")
    return 0


def how_it_runs(target: "Target", sheet: "Capability") -> str:
    """Whether this machine executes the programs of a CPU, and by what."""
    runner = target.runner(sheet)
    if runner.command(Path("program")) is None:
        return f"no: {runner.why_not}"
    return "yes" if sheet.native else f"emulated by {runner.name}: results, not times"


def _show_board(name: str, board: "Board") -> None:
    from budgetc.hardware import board_sheet
    from budgetc.registry import find_target

    out = open_terminal().out
    say(out, name, "bold")
    say(out, board.summary)
    grid = Table.grid(padding=(0, 2))
    cores = f"{board.cores}; a spec says `threads: N` to use more than one"
    grid.add_row("cores", cores if board.cores > 1 else "1")
    for label, budget, count in (("flash", "size", board.flash), ("RAM", "memory", board.ram)):
        if count is not None:
            grid.add_row(label, f"{_bytes(count)}: the {budget} budget, where none is set")
    if board.source:
        grid.add_row("source", board.source)
    out.print(grid)
    say(out, "")
    _show_sheet(board_sheet(board), find_target(board.kind), f"board: {name}")


def _show_kind(name: str, target: "Target") -> None:
    import inspect

    out = open_terminal().out
    say(out, name, "bold")
    say(out, inspect.getdoc(target) or "")
    say(out, "")
    table = _table("cpu", "vector", "int8 dot product", "runs here", "triple")
    for cpu, sheet in target.cpus().items():
        vector = f"{sheet.vector_bytes} bytes x {sheet.vector_registers}"
        dot = f"{sheet.int8_dot}, weights of {sheet.weight_bits} bits"
        runs = how_it_runs(target, sheet)
        table.add_row(*map(Text, (cpu, vector, dot, runs, sheet.llvm_triple)))
    out.print(table)


def _show_sheet(sheet: "Capability", target: "Target", written: str) -> None:
    """Every field of a sheet with its meaning."""
    out = open_terminal().out
    table = _table("field", "value", "what it means")
    for field, about in type(sheet).model_fields.items():
        value = getattr(sheet, field)
        text = " ".join(value) if isinstance(value, tuple) else "" if value is None else str(value)
        table.add_row(Text(field, "bold"), Text(text or "-"), Text(about.description or ""))
    out.print(table)
    say(out, f"\nruns here: {how_it_runs(target, sheet)}")
    say(out, f"in a spec: targets: {{NAME: {{{written}}}}}")
    say(out, "")


def _bytes(count: int | None) -> str:
    from budgetc_specs.units import format_bytes

    return "-" if count is None else format_bytes(count)


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
