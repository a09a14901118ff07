"""`budgetc compile`: from a spec to an artefact for each target, with every budget measured."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from budgetc_specs.errors import SpecError

from budgetc.cli.arguments import (
    Json,
    Junit,
    LockFile,
    Markdown,
    OutFolder,
    Overrides,
    Quiet,
    Sarif,
    SpecFile,
    Targets,
    errors_in,
    named_files,
)
from budgetc.cli.current import Asked, request_of, up_to_date, write_depfile
from budgetc.cli.exits import signals_later
from budgetc.cli.terminal import Terminal, open_terminal, say
from budgetc.stamp import PAGE, Stamp, outputs_of, take_inputs, write_stamp

if TYPE_CHECKING:
    from budgetc_specs.spec import Spec

    from budgetc.result import Result


def compile_spec(
    spec: SpecFile,
    *,
    target: Targets = None,
    out: OutFolder = None,
    overrides: Overrides = None,
    depfile: Annotated[
        Path | None,
        typer.Option("--depfile", metavar="FILE", help="Write what was read, for make and ninja."),
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Build, whether or not anything has changed.")
    ] = False,
    junit: Junit = None,
    sarif: Sarif = None,
    markdown: Markdown = None,
    locked: Annotated[
        bool,
        typer.Option(
            "--locked",
            help="Build what the lock says, byte for byte, without search or measurement; exit 5 where the lock "
            "does not fit the spec, the model, the data or the tools.",
        ),
    ] = False,
    frozen: Annotated[
        bool,
        typer.Option(
            "--frozen",
            help="The same, taking the lock for the truth: neither spec, model nor data need be there.",
        ),
    ] = False,
    lock: LockFile = None,
    as_json: Json = False,
    quiet: Quiet = False,
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
    budget is met. Where nothing has changed since the last time, that is said, and nothing is done.
    """
    from budgetc_specs.document import load_spec

    if lock is not None and not (locked or frozen):
        raise SpecError.of(
            "--lock without --locked or --frozen",
            "add one of them; `budgetc lock` writes a lock.",
        )
    files = named_files(depfile=depfile, junit=junit, sarif=sarif, markdown=markdown)
    with errors_in(files, spec):
        if locked or frozen:
            from budgetc.cli.lock import compile_locked

            return compile_locked(
                spec,
                lock,
                target=target,
                out=out,
                overrides=overrides or (),
                files=files,
                frozen=frozen,
                as_json=as_json,
                quiet=quiet,
            )
        loaded = load_spec(spec, overrides or ())
        asked = Asked(
            request_of(spec, overrides or (), target or ()),
            out or Path("build") / loaded.output.name,
            files,
            as_json,
            quiet,
        )
        code = None if force else up_to_date(asked)
        return _build(loaded, spec, asked, verbose=verbose) if code is None else code


def _build(spec: "Spec", spec_file: Path, asked: Asked, *, verbose: bool) -> int:
    """Compile, report, and stamp the folder."""
    terminal = open_terminal()
    destination = asked.out.absolute()
    targets = asked.request.targets or tuple(spec.targets)
    folders = _Folders(destination / name for name in targets)
    from budgetc.cli.live import observed

    try:
        with observed(terminal, spec.longest, quiet=asked.quiet) as observer:
            with signals_later():  # here, after the first sign of life: it takes a second or more
                from budgetc.compile import compile as compile_
                from budgetc.compile import named_targets
                from budgetc.inputs import input_files

            named = named_targets(spec, asked.request.targets)
            inputs = take_inputs(input_files(spec, spec_file, named))
            if "depfile" in asked.files:
                write_depfile(asked.files["depfile"], asked.out, inputs)
            result = compile_(spec, targets=named, out=destination, observer=observer)
    except (Exception, KeyboardInterrupt) as error:
        folders.explain(error)
        raise
    outputs = outputs_of(destination, targets)
    write_stamp(destination, Stamp(asked.request, inputs, outputs, result.exit_code))
    print_result(terminal, result, as_json=asked.as_json, quiet=asked.quiet, verbose=verbose)
    if asked.files.keys() - {"depfile"}:
        from budgetc.ci.files import write_reports

        write_reports(asked.files, spec_file, result.to_json())
    if not asked.quiet:
        say(terminal.err, f"the report: {destination / PAGE}", "dim")
    return result.exit_code


def print_result(
    terminal: Terminal, result: "Result", *, as_json: bool, quiet: bool, verbose: bool
) -> None:
    """Print what came of a compilation: for people, and as JSON where that is asked for."""
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
