"""A task on another machine: the files it reads travel once and are known there by their digest."""

import contextlib
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from budgetc_specs.errors import EnvironmentError_

from budgetc.cache import cache_folder
from budgetc.provenance import code_digest
from budgetc.search.tasks import Answer, Task, run_task
from budgetc.store import Store

_POLL_S = 1.0
_TRIES = 10  # of what ends only when another task does the same at the same moment


@dataclass(frozen=True)
class Maker:
    """Who made a task: answers of other code are other answers, and would be kept as those of this one."""

    version: str
    code: str

    @staticmethod
    def here() -> "Maker":
        """This process."""
        return Maker(version("budgetc"), code_digest())


def run_remote(task: Task, made_by: Maker, suffixes: tuple[str, ...], *blobs: bytes) -> Answer:
    """Run a task whose files are not here; what a worker of the cluster is given.

    Args:
        task: its files' paths mean nothing here; their order is that of the blobs.
        made_by: who sent it.
        suffixes: how the files' names end.
        blobs: what the files hold.

    Raises:
        EnvironmentError_: the budgetc here is another one, or what it is built on is.
        SpecError: as `run_task`.
        Cancelled: whoever sent it has gone, or does not want it any more.
    """
    here = Maker.here()
    if here.version != made_by.version:
        raise EnvironmentError_(
            f"a worker has budgetc {here.version}, the search was started by {made_by.version}",
            f"install budgetc=={made_by.version} where the workers run, and start them again.",
        )
    if here != made_by:
        raise EnvironmentError_(
            f"a worker has budgetc {here.version} as well, but other sources, plugins or libraries under it",
            "install the same everywhere, with the versions of `pip freeze`, and start the workers again.",
        )
    files = {
        argument: _here(blob, suffix)
        for argument, suffix, blob in zip(task.files, suffixes, blobs, strict=True)
    }
    with _unwanted() as cancelled:
        return run_task(replace(task, files=files), cancelled=cancelled)


def _here(blob: bytes, suffix: str) -> Path:
    """A file that holds the bytes; the same one each time."""
    store = Store(cache_folder() / "remote")
    path = store.path(store.put(blob))
    named = path.with_name(path.name + suffix)
    if not (named.exists() and named.samefile(path)):
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        _link(temporary, path)
        temporary.replace(named)
        temporary.unlink(missing_ok=True)  # it stays where another task has just done the same
    return named


def _link(name: Path, path: Path) -> None:
    """Give a file a second name, while other tasks may be replacing it by the same bytes."""
    for _ in range(_TRIES - 1):
        # Linux finds no file where the one that it has just looked up lost its last name before the link was made.
        with contextlib.suppress(FileNotFoundError):
            return name.hardlink_to(path)
    return name.hardlink_to(path)


@contextlib.contextmanager
def _unwanted() -> Iterator[threading.Event]:
    """An event that is set once the worker in whose task this is has been told to forget the task."""
    from distributed import get_worker  # noqa: PLC0415  an extra

    event, ended = threading.Event(), threading.Event()
    worker = get_worker()
    key = worker.get_current_task()

    def watch() -> None:
        while not ended.wait(_POLL_S):
            state = worker.state.tasks.get(key)
            if state is None or state.state in {"cancelled", "released", "forgotten"}:
                event.set()
                return

    watcher = threading.Thread(target=watch, name="budgetc-unwanted", daemon=True)
    watcher.start()
    try:
        yield event
    finally:
        ended.set()
        watcher.join()
