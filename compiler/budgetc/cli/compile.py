"""`budgetc compile`: from a spec to an artefact for each target, with every budget measured."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from budgetc.cli.arguments import Json, Overrides, SpecFile
from budgetc.cli.exits import signals_later
from budgetc.cli.terminal import Terminal, open_terminal, say

if TYPE_CHECKING:
    from budgetc.result import Result


def compile_spec(
    spec: SpecFile,
    *,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target", "-t", metavar="NAME", help="Only this target of the spec. May be repeated."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder with one folder for each target; by default build/<name>.",
        ),
    ] = None,
    overrides: Overrides = None,
    as_json: Json = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print errors and missed budgets only.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose",
            "-v",
            help="Also print what each pass did, the schedules and the memory map.",
        ),
    ] = False,
) -> int:
    """Make an artefact that keeps every budget, or say why none can.

    Progress goes to stderr, the report to stdout. An artefact replaces an older one as a whole, and only when every
    budget is met.
    """
    from budgetc_specs.document import load_spec

    loaded = load_spec(spec, overrides or ())
    terminal = open_terminal()
    destination = (out or Path("build") / loaded.output.name).absolute()
    folders = _Folders(destination / name for name in target or loaded.targets)
    from budgetc.cli.live import observed

    try:
        with observed(terminal, loaded.search.time, quiet=quiet) as observer:
            with signals_later():  # here, after the first sign of life: it takes a second or more
                from budgetc.compile import compile as compile_

            result = compile_(loaded, targets=target or None, out=destination, observer=observer)
    except (Exception, KeyboardInterrupt) as error:
        folders.explain(error)
        raise
    _print(terminal, result, as_json=as_json, quiet=quiet, verbose=verbose)
    if not quiet:
        from budgetc.report.document import PAGE

        say(terminal.err, f"the report: {destination / PAGE}", "dim")
    return result.exit_code


def _print(
    terminal: Terminal, result: "Result", *, as_json: bool, quiet: bool, verbose: bool
) -> None:
    from budgetc.cli.report import print_misses, print_report

    if quiet:
        print_misses(terminal.err, result)
    else:
        print_report(terminal.err if as_json else terminal.out, result, verbose=verbose)
    if as_json:
        print(json.dumps(result.to_json(), indent=2))


class _Folders:
    """The output folders, and which of them a run that was cut short has already written."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self._before = {folder: _identity(folder) for folder in folders}

    def explain(self, error: BaseException) -> None:
        """Add to the error what is true of the output folders now; a search says itself what is kept of it."""
        kept = bool(getattr(error, "__notes__", ()))
        written = [f for f, before in self._before.items() if _identity(f) != before]
        for folder in written:
            error.add_note(f"already written, and complete: {folder}")
        if isinstance(error, KeyboardInterrupt):
            rest = [f for f in self._before if f not in written]
            for folder in rest:
                state = "left as it was" if folder.exists() else "not written"
                error.add_note(f"{state}: {folder}")
            if not kept:
                error.add_note("the next run starts from the beginning.")


def _identity(folder: Path) -> tuple[int, int] | None:
    """What changes when an artefact takes a folder's place."""
    try:
        status = folder.stat()
    except OSError:
        return None
    return status.st_ino, status.st_ctime_ns
