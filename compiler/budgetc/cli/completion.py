"""What a shell completes: names and files that fit where the cursor is. Nothing large is imported for it."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import typer

SPEC_SUFFIXES = {".yaml", ".yml", ".json", ".toml"}
FIGURES = ("size", "memory", "latency")
"""What `budgetc why` takes apart."""


def spec_files(incomplete: str) -> list[str]:
    """Files that may be specs, and folders on the way to them."""
    return list(_files(incomplete, SPEC_SUFFIXES))


def model_files(incomplete: str) -> list[str]:
    """ONNX models, and folders on the way to them."""
    return list(_files(incomplete, {".onnx"}))


def archives(incomplete: str) -> list[str]:
    """Archives of samples, and folders on the way to them."""
    return list(_files(incomplete, {".npz"}))


def artefacts(incomplete: str) -> list[str]:
    """Locks, and folders."""
    return list(_files(incomplete, {".lock"}))


def folders(incomplete: str) -> list[str]:
    """Folders."""
    return list(_files(incomplete, set()))


def targets_of_the_spec(context: typer.Context, incomplete: str) -> list[str]:
    """The targets of the spec that stands on the command line already."""
    from budgetc_specs.document import load_spec
    from budgetc_specs.errors import BudgetcError

    # Where the cursor is behind --target, arguments before it have not been given to their parameters.
    named = context.params.get("spec") or next(iter(context.args), None)
    if named is None:
        return []
    try:
        return _beginning(incomplete, load_spec(Path(named)).targets)
    except BudgetcError:  # a spec that is being written
        return []


def pass_names(incomplete: str) -> list[str]:
    """Installed passes."""
    return _installed(incomplete, "budgetc.passes")


def metric_names(incomplete: str) -> list[str]:
    """Installed metrics."""
    return _installed(incomplete, "budgetc.metrics")


def hardware_names(incomplete: str) -> list[str]:
    """Kinds of targets, and boards."""
    from budgetc.boards import board_names

    return [*_installed(incomplete, "budgetc.targets"), *_beginning(incomplete, board_names())]


def figure_names(incomplete: str) -> list[str]:
    """What can be taken apart."""
    return _beginning(incomplete, FIGURES)


def topic_names(incomplete: str) -> list[str]:
    """What can be explained."""
    from budgetc.cli.topics import KINDS

    return _beginning(incomplete, (name for kind in KINDS for name in kind.names()))


def _installed(incomplete: str, group: str) -> list[str]:
    from budgetc.plugins import installed

    return _beginning(incomplete, installed(group))


def _beginning(incomplete: str, names: Iterable[str]) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def _files(incomplete: str, suffixes: set[str]) -> Iterator[str]:
    """What begins as it was written, folders with a slash; hidden ones only where that was asked for."""
    written, _, stem = incomplete.rpartition("/")
    parent = f"{written}/" if "/" in incomplete else ""
    try:
        entries = sorted(Path(parent or ".").expanduser().iterdir())
    except OSError:
        return
    for entry in entries:
        hidden = entry.name.startswith(".") and not stem.startswith(".")
        if hidden or not entry.name.startswith(stem):
            continue
        if entry.is_dir():
            yield f"{parent}{entry.name}/"
        elif entry.suffix.lower() in suffixes:
            yield f"{parent}{entry.name}"
