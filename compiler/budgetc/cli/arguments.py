"""Arguments that several verbs take, declared once."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from budgetc.cli.completion import folders, spec_files, targets_of_the_spec

SpecFile = Annotated[
    Path,
    typer.Argument(
        metavar="SPEC",
        help="The spec: a YAML, JSON or TOML file.",
        autocompletion=spec_files,
    ),
]
Targets = Annotated[
    list[str] | None,
    typer.Option(
        "--target",
        "-t",
        metavar="NAME",
        help="Only this target of the spec. May be repeated.",
        autocompletion=targets_of_the_spec,
    ),
]
ArtefactFolder = Annotated[
    Path,
    typer.Argument(metavar="FOLDER", help="The folder of one target.", autocompletion=folders),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help='Replace one value of the spec, such as "budgets.size=8 KiB". May be repeated.',
    ),
]
Junit = Annotated[
    Path | None,
    typer.Option(
        "--junit", metavar="FILE", help="Write JUnit XML: a target a suite, a budget a test case."
    ),
]
Sarif = Annotated[
    Path | None,
    typer.Option(
        "--sarif", metavar="FILE", help="Write findings as SARIF 2.1.0, with lines of the spec."
    ),
]
Markdown = Annotated[
    Path | None,
    typer.Option(
        "--markdown", metavar="FILE", help="Write a summary for a comment on a pull request."
    ),
]
OutFolder = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        help="Folder with one folder for each target; by default build/<name>.",
    ),
]
LockFile = Annotated[
    Path | None,
    typer.Option(
        "--lock",
        metavar="FILE",
        help="The lock; by default beside the spec: spec.lock for spec.yaml.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors and missed budgets only.")]
Json = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON, and nothing else, to stdout.")
]


def named_files(**files: Path | None) -> dict[str, Path]:
    """The files that a command line names, by kind."""
    return {kind: path for kind, path in files.items() if path is not None}


@contextmanager
def errors_in(files: Mapping[str, Path], spec: Path) -> Iterator[None]:
    """Write an error that ends the block into the files that somebody will look at, and let it go on."""
    from budgetc_specs.errors import BudgetcError

    try:
        yield
    except BudgetcError as error:
        from budgetc.ci.files import write_error

        write_error(files, spec, error)
        raise
