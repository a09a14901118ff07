"""`budgetc verify`: an artefact checked again, without its spec: its files, its header and its numbers."""

import json
from pathlib import Path
from typing import Annotated

import typer

from budgetc.cli.arguments import ArtefactFolder, Json
from budgetc.cli.exits import signals_later
from budgetc.cli.terminal import open_terminal, say


def verify_folder(
    folder: ArtefactFolder,
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data", metavar="FILE", help="An archive of real inputs, as specs name them."
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option("--seconds", min=0.1, help="Time for made-up inputs.")
    ] = 10.0,
    as_json: Json = False,
) -> int:
    """Check that every file is the one that was written, and that the library computes what its model says."""
    from budgetc_specs.errors import WrongNumbersError

    with signals_later():
        from budgetc.verify import verify

    terminal = open_terminal()
    report = verify(
        folder, data=data, seconds=seconds, say=lambda text: say(terminal.err, text, "dim")
    )
    if as_json:
        print(json.dumps({"budgetc": 1, **report.to_json()}, indent=2))
    else:
        say(terminal.out, f"{folder}: every file is the one that was written")
        say(terminal.out, str(report))
    return 0 if report.agrees else WrongNumbersError.exit_code
