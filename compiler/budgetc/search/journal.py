"""What a search has measured, written down at once: a run that was killed goes on where it was."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import filelock
from budgetc_specs.errors import EnvironmentError_
from budgetc_specs.recipe import parse_recipe
from pydantic import TypeAdapter, ValidationError

from budgetc.build import Built, Optimised
from budgetc.load import Interface
from budgetc.lower.lowered import Lowered
from budgetc.model import parse_model
from budgetc.result import Trial

_TRIAL: TypeAdapter[Trial] = TypeAdapter(Trial)
_DIGEST = 16


class Journal:
    """The journal of one search: a file of lines, and a folder with each library that may be handed over.

    A line is a kind, a key, a value and their digest. What a kill has cut off is not there when it is read again.

    Args:
        folder: of this search; made if it is not there.

    Raises:
        EnvironmentError_: another run of the same search is under way.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = filelock.FileLock(folder / ".lock", timeout=0)
        try:
            self._lock.acquire()
        except filelock.Timeout:
            raise EnvironmentError_(
                "another run is searching for the same spec and target",
                "wait for it to end; both would measure at once, and disturb each other.",
            ) from None
        self._file = folder / "journal.jsonl"
        self._known: dict[tuple[str, str], Any] = {}
        self._read()
        self.resumed = bool(self._known)

    def value(self, kind: str, key: str) -> Any:
        """What was written under a key; None where nothing was."""
        return self._known.get((kind, key))

    def write(self, kind: str, key: str, value: Any) -> None:
        """Write a JSON value; it is on the disk when this returns."""
        text = json.dumps([kind, key, value])
        line = f"{_digest(text)} {text}\n".encode()
        with self._file.open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        self._known[kind, key] = json.loads(text)[2]

    def once(self, kind: str, find: Callable[[], Any]) -> Any:
        """What `find` says, asked once for all runs of this search; a JSON value."""
        if (kind, "") not in self._known:
            self.write(kind, "", find())
        return self._known[kind, ""]

    def trial(self, key: str) -> tuple[Trial, Built | None] | None:
        """A candidate that was measured, and its library where that was kept and is whole."""
        value = self.value("trial", key)
        if value is None:
            return None
        try:
            trial = _TRIAL.validate_python(value["trial"])
            built = self._library(key, value) if value["kept"] else None
        except (KeyError, OSError, TypeError, ValueError, ValidationError):
            return None
        return trial, built

    def keep(self, key: str, trial: Trial, built: Built | None) -> Built | None:
        """Write down a candidate, with its library where there is one; returns the library as it is kept."""
        if built is not None:
            built = self._moved(key, built)
        value = {
            "trial": _TRIAL.dump_python(_without_arrays(trial), mode="json"),
            "kept": None if built is None else self._described(built),
        }
        self.write("trial", key, value)
        return built

    def close(self) -> None:
        """Let the search go, with all that is written."""
        self._lock.release()

    def finish(self) -> None:
        """The search has an answer: nothing of it is to be taken up again."""
        for path in self._folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
        self._file.unlink(missing_ok=True)
        self.close()
        (self._folder / ".lock").unlink(missing_ok=True)

    def _read(self) -> None:
        if not self._file.exists():
            return
        whole = 0
        for line in self._file.read_bytes().splitlines(keepends=True):
            digest, _, text = line.decode(errors="replace").partition(" ")
            if not text.endswith("\n") or digest != _digest(text.rstrip("\n")):
                break
            kind, key, value = json.loads(text)
            self._known[kind, key] = value
            whole += len(line)
        os.truncate(self._file, whole)  # or the next line would be glued to what was cut off

    def _moved(self, key: str, built: Built) -> Built:
        """The library in a folder of the journal, with what a hand-over needs and no more."""
        folder = self._folder / key
        shutil.rmtree(folder, ignore_errors=True)
        staging = self._folder / f"{key}.new"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        for path in (built.library, built.header, built.folder / "lowered.json"):
            shutil.copyfile(path, staging / path.name)
        for number, model in enumerate(built.optimised.model.entries):
            (staging / f"optimised_{number}.onnx").write_bytes(model.data)
        staging.rename(folder)
        return replace(
            built,
            folder=folder,
            library=folder / built.library.name,
            header=folder / built.header.name,
        )

    def _described(self, built: Built) -> dict[str, Any]:
        return {
            "library": built.library.name,
            "header": built.header.name,
            "interface": built.interface.to_json(),
            "source": str(built.optimised.model.path),
            "recipe": str(built.optimised.recipe),
            "ledger": [dict(entry) for entry in built.optimised.ledger],
            "schedules": [dict(each) for each in built.schedules],
            "seconds": dict(built.seconds),
            "grown": built.grown,
            "files": {p.name: _file_digest(p) for p in sorted(built.folder.iterdir())},
        }

    def _library(self, key: str, value: Mapping[str, Any]) -> Built | None:
        kept, folder = value["kept"], self._folder / key
        files = {p.name: _file_digest(p) for p in sorted(folder.iterdir())}
        if files != kept["files"]:
            return None
        count = sum(name.startswith("optimised_") for name in files)
        model, *further = (
            parse_model((folder / f"optimised_{n}.onnx").read_bytes(), kept["source"])
            for n in range(count)
        )
        lowered = json.loads((folder / "lowered.json").read_text())
        return Built(
            entries=tuple(Lowered.from_json(each) for each in lowered),
            library=folder / kept["library"],
            header=folder / kept["header"],
            interface=Interface.from_json(kept["interface"]),
            folder=folder,
            optimised=Optimised(
                parse_recipe(kept["recipe"]),
                replace(model, further=tuple(further)),
                tuple(kept["ledger"]),
            ),
            schedules=tuple(kept["schedules"]),
            seconds=kept["seconds"],
            grown=kept["grown"],
        )


def _without_arrays(trial: Trial) -> Trial:
    """The same without the inputs that were found to fail, which are saved for a bug report elsewhere."""
    report = trial.agreement
    if report is None:
        return trial
    cases = tuple(replace(case, failing=None) for case in report.cases)
    return replace(trial, agreement=replace(report, cases=cases))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
