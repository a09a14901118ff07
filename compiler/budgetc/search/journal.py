"""What a search has measured, written down at once: a run that was killed goes on where it was."""

import contextlib
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
from budgetc.store import file_digest, write_atomic

_TRIAL: TypeAdapter[Trial] = TypeAdapter(Trial)
_TRIAL_KIND = "trial"
_DIGEST = 16
_POLL_S = 0.2


class Journal:
    """The journal of one search: a file of lines, and a folder with each library that may be handed over.

    A line is a kind, a key, a value and their digest. A line that a kill has cut off, or that is damaged, is not there
    when the journal is read again; the others are. Only one run at a time has the journal: where another one does the
    same search, this one waits for it to let go. Both would measure at once, and disturb each other; and what the
    first one has simulated serves the second, so that it is through much sooner.

    Args:
        folder: of this search; made if it is not there.
        waiting: called where another run has the journal, before that is waited for.

    Raises:
        EnvironmentError_: the folder cannot be written to.
    """

    def __init__(self, folder: Path, waiting: Callable[[], None] = lambda: None) -> None:
        self._folder = folder
        self._file = folder / "journal.jsonl"
        self._lock = filelock.FileLock(folder.with_name(f".{folder.name}.lock"))
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                waiting()
                self._lock.acquire(poll_interval=_POLL_S)
            shutil.rmtree(self._finished, ignore_errors=True)
            folder.mkdir(exist_ok=True)
        except OSError as error:
            self._lock.release()
            raise EnvironmentError_(
                f"{folder}: what the search finds cannot be written down: {error.strerror}",
                "let BUDGETC_CACHE name a folder that can be written to.",
            ) from error
        self._known: dict[tuple[str, str], Any] = {}
        self._read()
        self.resumed = bool(self._known)

    @property
    def measured(self) -> int:
        """Candidates that are written down."""
        return sum(kind == _TRIAL_KIND for kind, _ in self._known)

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
        value = self.value(_TRIAL_KIND, key)
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
            "trial": _TRIAL.dump_python(trial.without_arrays(), mode="json"),
            "kept": None if built is None else self._described(built),
        }
        self.write(_TRIAL_KIND, key, value)
        return built

    def close(self) -> None:
        """Let the search go, with all that is written."""
        self._lock.release()

    def finish(self) -> None:
        """Forget the search: its answer is handed over. Where another run has taken it up, it is left to that one."""
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            return
        with contextlib.suppress(FileNotFoundError):
            self._folder.rename(self._finished)  # at once, so that nobody goes on with a part of it
        shutil.rmtree(self._finished, ignore_errors=True)
        # Gone while it is still held: whoever opened it before finds that it has no name any more, and tries again.
        Path(self._lock.lock_file).unlink(missing_ok=True)
        self._lock.release(force=True)

    @property
    def _finished(self) -> Path:
        return self._folder.with_name(f".{self._folder.name}.finished")

    def _read(self) -> None:
        """Take every whole line; the rest is removed, or the next line would be glued to what was cut off."""
        if not self._file.exists():
            return
        written = self._file.read_bytes()
        whole = []
        for line in written.splitlines(keepends=True):
            entry = whole_line(line)
            if entry is not None:
                kind, key, value = entry
                self._known[kind, key] = value
                whole.append(line)
        if b"".join(whole) != written:
            write_atomic(self._file, b"".join(whole))

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
            "compact": built.compact,
            "points": [dict(each) for each in built.points],
            "tuned": dict(built.tuned),
            "files": {p.name: file_digest(p) for p in sorted(built.folder.iterdir())},
        }

    def _library(self, key: str, value: Mapping[str, Any]) -> Built | None:
        kept, folder = value["kept"], self._folder / key
        files = {p.name: file_digest(p) for p in sorted(folder.iterdir())}
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
            compact=kept["compact"],
            points=tuple(kept["points"]),
            tuned=kept["tuned"],
        )


def whole_line(line: bytes) -> tuple[str, str, Any] | None:
    """Kind, key and value of a line of a journal; None where it is damaged or cut off."""
    digest, _, text = line.decode(errors="replace").partition(" ")
    if not text.endswith("\n") or digest != _digest(text.removesuffix("\n")):
        return None
    kind, key, value = json.loads(text)
    return kind, key, value


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]
