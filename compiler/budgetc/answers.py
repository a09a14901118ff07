"""What the last compilation of a spec came to: taken by runs of the same that had to wait for it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from budgetc_specs.errors import BudgetcError
from budgetc_specs.spec import Spec
from pydantic import TypeAdapter, ValidationError

from budgetc.artefact import read_artefact
from budgetc.load import MANIFEST
from budgetc.lock import spec_values
from budgetc.machine import machine_fingerprint
from budgetc.provenance import code_digest
from budgetc.result import Result
from budgetc.store import Shelf, file_digest

_RESULT: TypeAdapter[Result] = TypeAdapter(Result)


def question(
    spec: Spec, digests: Mapping[str, str], targets: Sequence[str], destination: Path
) -> dict[str, Any]:
    """All that decides what a compilation comes to, and where that is written."""
    return {
        "spec": spec_values(spec),
        "sources": dict(digests),
        "targets": sorted(targets),
        "destination": str(destination.resolve()),
        "code": code_digest(),
        "machine": machine_fingerprint(),
    }


class Answers:
    """The results of compilations.

    Args:
        folder: where they are kept.
    """

    def __init__(self, folder: Path) -> None:
        self._shelf = Shelf(folder)

    def keep(self, asked: Mapping[str, Any], result: Result) -> None:
        """Write down a result whose artefacts are in their places."""
        value = {
            "result": _RESULT.dump_python(result.without_arrays(), mode="json"),
            "manifests": _manifests(result),
        }
        self._shelf.put(asked, value)

    def recall(self, asked: Mapping[str, Any], since: float) -> Result | None:
        """The result of the same question, written after `since` in seconds of the system's clock.

        None where there is none, or where an artefact is not the one that was written.
        """
        try:
            if self._shelf.path(asked).stat().st_mtime < since:
                return None
            value = self._shelf.get(asked)
            result = _RESULT.validate_python(value["result"])
            whole = _manifests(result) == value["manifests"]
        except (OSError, KeyError, TypeError, ValidationError, BudgetcError):
            return None
        return result if whole else None


def _manifests(result: Result) -> dict[str, str]:
    """sha256 of the manifest of each artefact, which is whole."""
    found = {}
    for target in result.targets:
        if target.folder is not None:
            read_artefact(target.folder)
            found[target.target] = file_digest(target.folder / MANIFEST)
    return found
