"""Care of the cache: what is in it, what of it can go, and whether it is what was written.

Every folder of the cache is a room with entries of one sort. Whatever goes is made again when it is needed; a lock
needs nothing of it. Entries that are files are read whole or found missing, so that they can go beside running builds;
what builds hold by its path (zig's cache, programs, searches) goes only while no build runs.
"""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from budgetc.cache import alone_with_cache
from budgetc.learning import FileCheckpoint
from budgetc.lower.kernel_objects import read_kernel
from budgetc.predict.timings import Timing
from budgetc.search.journal import whole_line
from budgetc.store import Store, json_digest
from budgetc.tuning.records import Record

WHOLE = frozenset({"zig"})
"""Rooms that are one entry: what is in them refers to each other in ways that only their owner knows."""

HELD = frozenset({"harness", "remote", "searches", "zig"})
"""Rooms whose entries a run holds by their paths."""

UNFINISHED_SECONDS = 3600.0
"""A file that has been unfinished for so long is nobody's any more."""

_UNFINISHED = re.compile(r"\..*\.new|\..*\.kernel\.[0-9a-f]+|\..*\.finished|\.making-.*")
_LOCK = re.compile(r"\..*|.*\.lock")


@dataclass(frozen=True)
class Entry:
    """A part of the cache that comes and goes as a whole.

    Attributes:
        room: the folder of the cache that it is in.
        path: the file or folder.
        size: bytes of all its files.
        used: when it was read or written last, in seconds of the system's clock.
        unfinished: whether it is what a killed process has left of a write.
    """

    room: str
    path: Path
    size: int
    used: float
    unfinished: bool = False


@dataclass(frozen=True)
class Removed:
    """What was removed.

    Attributes:
        entries: of the cache.
        size: bytes of these.
        kept: rooms that were left alone since a run holds the cache.
    """

    entries: tuple[Entry, ...]
    kept: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes that are free again."""
        return sum(entry.size for entry in self.entries)


@dataclass(frozen=True)
class Damage:
    """An entry that is not what was written, and why."""

    entry: Entry
    why: str


def entries(cache: Path) -> tuple[Entry, ...]:
    """All entries of a cache, by room and path; what vanishes meanwhile is left out."""
    if not cache.is_dir():
        return ()
    rooms = sorted(p for p in cache.iterdir() if p.is_dir() and not p.name.startswith("."))
    found = (_entry(room.name, path) for room in rooms for path in _paths(room))
    return tuple(entry for entry in found if entry is not None)


def collect(
    cache: Path,
    *,
    most_bytes: int | None = None,
    older_seconds: float | None = None,
    now: float | None = None,
) -> Removed:
    """Remove what has not been used for long, then what was used least recently until the rest is small enough.

    Args:
        cache: the folder.
        most_bytes: what may be left at most; None sets no limit.
        older_seconds: what has not been used for so long goes in any case; None keeps it.
        now: the time, in seconds of the system's clock.
    """
    now = time.time() if now is None else now
    with alone_with_cache(cache) as alone:
        if alone:
            for away in cache.glob(".*.finished"):  # what a run like this one was killed at
                shutil.rmtree(away, ignore_errors=True)
        known = sorted(entries(cache), key=lambda e: (e.used, str(e.path)))
        left = sum(entry.size for entry in known)
        removed = []
        kept = set()
        for entry in known:
            age = now - entry.used
            old = older_seconds is not None and age > older_seconds
            dead = entry.unfinished and age > UNFINISHED_SECONDS
            if not (old or dead or (most_bytes is not None and left > most_bytes)):
                continue
            if entry.room in HELD and not alone:
                kept.add(entry.room)
                continue
            _remove(cache, entry)
            left -= entry.size
            removed.append(entry)
    return Removed(tuple(removed), tuple(sorted(kept)))


def verify_cache(cache: Path, *, repair: bool = False) -> tuple[Damage, ...]:
    """Read all that can be checked: kernels, findings, records, timings, journals.

    What a killed process has left of a write is no damage: nobody reads it.

    Args:
        cache: the folder.
        repair: remove what is damaged; it is made again when it is needed.
    """
    found = []
    for entry in entries(cache):
        check = _CHECKS.get(entry.room)
        if entry.unfinished or check is None:
            continue
        try:
            why = check(entry.path)
        except FileNotFoundError:  # it went meanwhile
            continue
        except (OSError, AttributeError, KeyError, TypeError, ValueError) as error:
            why = f"it is damaged, or of another version: {error!r}"
        if why:
            found.append(Damage(entry, why))
            if repair:
                _remove(cache, entry)
    return tuple(found)


def _paths(room: Path) -> Iterator[Path]:
    """The entries of a room."""
    if room.name in WHOLE:
        yield room
    elif room.name in {"searches", "bugs", "harness"}:
        yield from (p for p in sorted(room.iterdir()) if not _is_lock(p))
    else:
        yield from (p for p in sorted(room.rglob("*")) if p.is_file() and not _is_lock(p))


def _is_lock(path: Path) -> bool:
    return bool(_LOCK.fullmatch(path.name)) and not _UNFINISHED.fullmatch(path.name)


def _entry(room: str, path: Path) -> Entry | None:
    try:
        files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
        states = [file.stat() for file in files] or [path.stat()]
    except FileNotFoundError:
        return None
    size = sum(state.st_size for state in states) if files else 0
    used = max(max(state.st_atime, state.st_mtime) for state in states)
    return Entry(room, path, size, used, bool(_UNFINISHED.fullmatch(path.name)))


def _remove(cache: Path, entry: Entry) -> None:
    """Remove an entry; a folder goes out of its place at once, so that nobody finds a part of it."""
    if entry.path.is_dir():
        away = cache / f".{entry.room}-{entry.path.name}.finished"
        shutil.rmtree(away, ignore_errors=True)
        entry.path.rename(away)
        shutil.rmtree(away, ignore_errors=True)
    else:
        entry.path.unlink(missing_ok=True)


def _kernel(path: Path) -> str:
    return "" if read_kernel(path) else "its code is not what was compiled"


def _finding(path: Path) -> str:
    kept = json.loads(path.read_text(encoding="utf-8"))
    whole = kept["sha256"] == json_digest(kept["value"])
    return "" if whole else "its value has not the digest that was written with it"


def _record(path: Path) -> str:
    Record.from_json(json.loads(path.read_text(encoding="utf-8")))
    return ""


def _timings(path: Path) -> str:
    for line in path.read_text(encoding="utf-8").splitlines():
        Timing.from_json(json.loads(line))
    return ""


def _search(path: Path) -> str:
    """An answer of earlier searches, or a journal, whose last line a kill may have cut off."""
    if path.is_file():
        return "" if isinstance(json.loads(path.read_text(encoding="utf-8")), list) else "no list"
    journal = path / "journal.jsonl"
    lines: Sequence[bytes] = (
        journal.read_bytes().splitlines(keepends=True) if journal.exists() else ()
    )
    bad = [n for n, line in enumerate(lines, 1) if whole_line(line) is None]
    return f"line {bad[0]} is damaged" if bad and bad != [len(lines)] else ""


def _by_content(path: Path) -> str:
    digest = (path.parent.name + path.name)[:64]  # some have a suffix beside
    kept = Store(path.parents[1]).get(digest) if re.fullmatch(r"[0-9a-f]{64}", digest) else None
    return "" if kept is not None else "its bytes have not the digest of its name"


def _checkpoint(path: Path) -> str:
    whole = FileCheckpoint(path).load() is not None
    return "" if whole else "it has not the digest that was written with it"


def _program(path: Path) -> str:
    return "" if path.stat().st_size else "it is empty"


_CHECKS: dict[str, Callable[[Path], str]] = {
    "answers": _finding,
    "checkpoints": _checkpoint,
    "harness": _program,
    "judged": _finding,
    "kernels": _kernel,
    "learned": _finding,
    "learned-models": _by_content,
    "records": _record,
    "remote": _by_content,
    "searches": _search,
    "simulated": _finding,
    "simulations": _finding,
    "timings": _timings,
}
