"""Writing a result, or the error that stands in its place, into the files that a command line names."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from budgetc_specs.errors import BudgetcError, SpecError

from budgetc.ci.junit import junit
from budgetc.ci.markdown import markdown
from budgetc.ci.sarif import sarif
from budgetc.ci.verdicts import Finding, findings_of_error, findings_of_result


def write_reports(files: Mapping[str, Path], spec: Path, result: Mapping[str, Any]) -> None:
    """Write what is asked for of a result.

    Args:
        files: by `junit`, `sarif` and `markdown`; others are left alone.
        spec: the spec's file, as it was named.
        result: what `result.json` holds.

    Raises:
        SpecError: a file cannot be written.
    """
    _write(files, str(result["name"]), result, (), findings_of_result(result, str(spec)))


def write_error(files: Mapping[str, Path], spec: Path, error: BudgetcError) -> None:
    """Write what is asked for of an error that ended a run: the same files, so that a reader finds them."""
    found = findings_of_error(error, str(spec))
    _write(files, spec.stem, None, found, found)


def write_clean(files: Mapping[str, Path], spec: Path) -> None:
    """Write that a check has found nothing."""
    _write(files, spec.stem, None, (), ())


def _write(
    files: Mapping[str, Path],
    name: str,
    result: Mapping[str, Any] | None,
    errors: Sequence[Finding],
    findings: Sequence[Finding],
) -> None:
    texts: dict[str, Callable[[], str]] = {
        "junit": lambda: junit(name, result, errors),
        "markdown": lambda: markdown(name, result, errors),
        "sarif": lambda: sarif(findings, Path.cwd()),
    }
    for kind, text in texts.items():
        if kind in files:
            write_text(files[kind], text(), f"--{kind}")


def write_text(path: Path, text: str, option: str) -> None:
    """Write a file that a command line names, with the folders above it.

    Raises:
        SpecError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SpecError.of(
            f"{path} cannot be written: {error.strerror}", "name another file.", option
        ) from error
