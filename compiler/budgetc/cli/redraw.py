"""`budgetc report`: the page of a result, drawn again from its JSON."""

import json
from pathlib import Path
from typing import Annotated

import typer

from budgetc.cli.arguments import Json
from budgetc.cli.completion import folders
from budgetc.cli.terminal import open_terminal, say


def report(
    result: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER",
            help="The output folder of `budgetc compile`, or the result.json in it.",
            autocompletion=folders,
        ),
    ],
    *,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="The page to write; by default beside the result."
        ),
    ] = None,
    as_json: Json = False,
    open_: Annotated[bool, typer.Option("--open", help="Show the page in a browser.")] = False,
) -> int:
    """Draw the report of a compilation again, as one HTML page that needs no network.

    With --json the result itself is printed, and no page is written unless --out or --open asks for one.
    """
    from budgetc.report.document import parse_result, read_result
    from budgetc.stamp import PAGE

    value, file = read_result(result)
    parse_result(value, str(file))
    page = out or (None if as_json and not open_ else file.parent / PAGE)
    terminal = open_terminal()
    if page is not None:
        from budgetc.report.page import render
        from budgetc.store import write_atomic

        _check_place(page)
        write_atomic(page, render(value, file.parent).encode("utf-8"))
        say(terminal.err if as_json else terminal.out, f"written to {page}")
        if open_:
            _show(page)
    if as_json:
        print(json.dumps(value, indent=2))
    return 0


def _check_place(page: Path) -> None:
    from budgetc_specs.errors import SpecError

    if page.is_dir():
        raise SpecError.of(
            f"{page} is a folder", "name the file, such as --out report.html.", "--out"
        )
    if not page.absolute().parent.is_dir():
        raise SpecError.of(f"{page}: its folder does not exist", "make it first.", "--out")


def _show(page: Path) -> None:
    """Ask the system's browser; on a machine without one the page is there all the same."""
    import webbrowser

    if not webbrowser.open(page.absolute().as_uri()):
        say(open_terminal().err, "no browser is set up on this machine: open the file elsewhere")
