"""Files that are whole or absent: atomic writes, stores by content and by key, the swap of a folder."""

import contextlib
import ctypes
import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
from budgetc_specs.errors import EnvironmentError_, SpecError

MARKER = "manifest.json"
"""The file by which a folder is known as an artefact; no other folder is ever replaced."""

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_TOKEN_BYTES = 8
_POLL_S = 0.2
_ELSEWHERE = "choose another folder with --out."


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that at any moment it holds its old bytes or the new ones.

    A file that holds these bytes already is left as it is, with its time.
    """
    with contextlib.suppress(OSError):
        if path.read_bytes() == data:
            return
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(_TOKEN_BYTES)}.new")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            temporary.replace(path)
        except FileNotFoundError:
            if not path.parent.is_dir():
                raise
            write_atomic(path, data)  # another run has taken it for what a killed one had left
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def sweep(path: Path) -> None:
    """Remove what killed writers of a file have left beside it. Call it where nobody else writes that file."""
    for each in _unfinished(path):
        each.unlink(missing_ok=True)


def _unfinished(path: Path) -> list[Path]:
    """What killed writers of a file or folder have left beside it."""
    named = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{{2 * _TOKEN_BYTES}}}\.new")
    return [each for each in path.parent.iterdir() if named.fullmatch(each.name)]


@dataclass(frozen=True)
class Store:
    """Small files kept under the sha256 of their bytes; what is read back is checked against it."""

    root: Path

    def put(self, data: bytes) -> str:
        """Keep the bytes and return their digest in hex."""
        digest = hashlib.sha256(data).hexdigest()
        path = self.path(digest)
        if self.get(digest) is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, data)
        return digest

    def get(self, digest: str) -> bytes | None:
        """The bytes of a digest; None when they are not kept or no longer intact."""
        try:
            data = self.path(digest).read_bytes()
        except FileNotFoundError:
            return None
        return data if hashlib.sha256(data).hexdigest() == digest else None

    def path(self, digest: str) -> Path:
        """Where the bytes of a digest lie, if they are kept."""
        if re.fullmatch(r"[0-9a-f]{64}", digest) is None:
            raise AssertionError(f"BUG: {digest!r} is no sha256 digest")
        return self.root / digest[:2] / digest[2:]


@dataclass(frozen=True)
class Shelf:
    """JSON values kept under what they were found from, so that nothing is found twice.

    What is damaged, or was not written to its end, is as if it were not there.
    """

    root: Path

    def put(self, key: Any, value: Any) -> None:
        """Keep a JSON value under a JSON value that says all that it depends on."""
        path = self.path(key)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps({"value": value, "sha256": json_digest(value)}).encode())

    def get(self, key: Any) -> Any:
        """The value of a key; None where there is none, or none that is intact."""
        try:
            kept = json.loads(self.path(key).read_text(encoding="utf-8"))
            value = kept["value"]
            return value if kept["sha256"] == json_digest(value) else None
        except (OSError, KeyError, TypeError, ValueError):
            return None

    def path(self, key: Any) -> Path:
        """Where the value of a key lies, if it is kept."""
        digest = json_digest(key)
        return self.root / digest[:2] / f"{digest[2:]}.json"


def json_digest(value: Any) -> str:
    """sha256 of a JSON value in hex: equal values have equal ones, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_digest(path: Path) -> str:
    """sha256 of a file in hex, read in parts.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def locked_folder(destination: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the one lock of an output folder, and clear away what a killed run has left beside it.

    The lock is a hidden file beside the folder, because the folder itself is replaced as a whole. It goes when the
    lock is released, and so do parents that were made for it and stayed empty.

    Args:
        destination: the folder.
        waiting: called where another process holds the lock, before that is waited for; None does not wait.

    Raises:
        SpecError: what should be a parent of the folder is a file.
        EnvironmentError_: another process holds the lock, or the place is not writable.
    """
    destination = _real(destination)
    lock = filelock.FileLock(destination.parent / f".{destination.name}.lock", timeout=0)
    made = [parent for parent in destination.parents if not parent.exists()]
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
        _acquire(lock, waiting)
    except filelock.Timeout:
        raise EnvironmentError_(
            f"{destination}: another compilation is writing to this folder",
            "wait for it to end, or choose another folder with --out.",
        ) from None
    except OSError as error:
        for parent in destination.parents:
            if parent.is_file():
                raise SpecError.of(
                    "the output folder would lie in a file", _ELSEWHERE, str(parent)
                ) from error
        raise EnvironmentError_(
            f"{destination}: the folder's parent cannot be written to: {error.strerror}",
            _ELSEWHERE,
        ) from error
    try:
        recover(destination)
        yield
    finally:
        # Gone while it is still held: whoever opened it before finds that it has no name any more, and tries again.
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
        with contextlib.suppress(OSError):  # it is not empty, or another run has removed it
            for parent in made:
                parent.rmdir()


def _acquire(lock: filelock.BaseFileLock, waiting: Callable[[], None] | None) -> None:
    try:
        lock.acquire()
    except filelock.Timeout:
        if waiting is None:
            raise
        waiting()
    while not lock.is_locked:
        try:
            lock.acquire(timeout=-1, poll_interval=_POLL_S)
        except FileNotFoundError:  # whoever held it has removed the parents that it had made
            Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)


def staging_folder(destination: Path) -> Path:
    """Make an empty folder beside the destination, on its file system, for its next content."""
    destination = _real(destination)
    destination.parent.mkdir(parents=True, exist_ok=True)
    folder = destination.parent / f".{destination.name}.{secrets.token_hex(_TOKEN_BYTES)}.new"
    folder.mkdir()
    return folder


def replace_folder_atomically(new: Path, destination: Path) -> None:
    """Put the folder `new` in the destination's place; what was there before is gone afterwards.

    Killed at any moment, the destination holds the old content or the new one, complete. Where the
    file system can not exchange two names, there is a moment in which it holds neither; the next
    `locked_folder` puts the old content back then.

    Args:
        new: a folder of `staging_folder`, finished; it must hold the marker.
        destination: may be absent, empty, or an artefact of an earlier run.

    Raises:
        SpecError: the destination is something else, which is left alone.
    """
    destination = _real(destination)
    if not (new / MARKER).is_file():
        raise AssertionError(f"BUG: {new} has no {MARKER}")
    check_replaceable(destination)
    _sync_tree(new)
    if not destination.exists():
        new.rename(destination)
    elif not _exchange(new, destination):
        previous = _previous(destination)
        destination.rename(previous)
        new.rename(destination)
        new = previous
    _sync_folder(destination.parent)
    shutil.rmtree(new, ignore_errors=True)  # what is left of it, the next run clears away


def keep_times(new: Path, destination: Path) -> None:
    """Give files of a folder the times of those that they are equal to, so that build systems see no change."""
    for path in sorted(new.iterdir()):
        old = destination / path.name
        try:
            status = old.stat()
            same = status.st_size == path.stat().st_size and old.read_bytes() == path.read_bytes()
        except OSError:  # it is new
            continue
        if same:
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def check_replaceable(destination: Path) -> None:
    """Refuse an output folder that holds anything but an artefact.

    Raises:
        SpecError: it is a file, or a folder with content but without the marker.
    """
    if not destination.exists():
        return
    if not destination.is_dir():
        raise SpecError.of("the output folder is a file", _ELSEWHERE, str(destination))
    if not (destination / MARKER).is_file() and any(destination.iterdir()):
        raise SpecError.of(
            f"the output folder is not empty and holds no {MARKER}, so it is not an artefact",
            "a compilation replaces its output folder as a whole; choose another one with --out.",
            str(destination),
        )


def recover(destination: Path) -> None:
    """Undo what a killed run left half done beside the destination. Call it with the lock held."""
    destination = _real(destination)
    previous = _previous(destination)
    if previous.exists():
        if destination.exists():
            shutil.rmtree(previous, ignore_errors=True)
        else:
            previous.rename(destination)
    for path in _unfinished(destination):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def _real(destination: Path) -> Path:
    """The folder itself where the destination is a link to it: the link stays."""
    return destination.resolve()


def _previous(destination: Path) -> Path:
    return destination.with_name(f".{destination.name}.previous")


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "renameat2"):
        return False
    status = libc.renameat2(
        _AT_FDCWD,
        os.fsencode(one),
        _AT_FDCWD,
        os.fsencode(other),
        ctypes.c_uint(_RENAME_EXCHANGE),
    )
    if status == 0:
        return True
    number = ctypes.get_errno()
    if number in {errno.ENOSYS, errno.EINVAL, errno.ENOTSUP}:
        return False
    raise OSError(number, os.strerror(number), str(one), None, str(other))


def _sync_tree(folder: Path) -> None:
    """Bring every file and folder below to the disk, before a name is given to them."""
    for parent, _, files in os.walk(folder, topdown=False):
        for name in files:
            descriptor = os.open(Path(parent) / name, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        _sync_folder(Path(parent))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
