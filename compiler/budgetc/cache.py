"""Where budgetc keeps what it can make again: zig's caches, measuring programs, tuning records."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

_IN_USE = ".in-use"


def cache_folder() -> Path:
    """BUDGETC_CACHE, or `budgetc` in the user's cache folder as XDG has it."""
    given = os.environ.get("BUDGETC_CACHE")
    if given:
        return Path(given).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "budgetc"


@contextlib.contextmanager
def using_cache() -> Iterator[None]:
    """Keep others from removing what a run holds for the length of the block; waits while somebody does.

    A cache that cannot be written to is nobody's to remove from, and is used without.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            stack.enter_context(_flocked(cache_folder(), fcntl.LOCK_SH))
        yield


@contextlib.contextmanager
def alone_with_cache(folder: Path) -> Iterator[bool]:
    """Whether no run holds the cache; where none does, none begins before the end of the block."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(_flocked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB))
            alone = True
        except BlockingIOError:
            alone = False
        yield alone


@contextlib.contextmanager
def _flocked(folder: Path, how: int) -> Iterator[None]:
    """Hold a lock that goes with the process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / _IN_USE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
