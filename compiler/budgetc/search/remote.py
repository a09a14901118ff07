"""A task on another machine: the files it reads travel once and are known there by their digest."""

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from budgetc_specs.errors import EnvironmentError_

from budgetc.cache import cache_folder
from budgetc.search.tasks import Answer, Task, run_task
from budgetc.store import Store


def run_remote(task: Task, made_by: str, suffixes: tuple[str, ...], *blobs: bytes) -> Answer:
    """Run a task whose files are not here; what a worker of the cluster is given.

    Args:
        task: its files' paths mean nothing here; their order is that of the blobs.
        made_by: the version of budgetc that made it.
        suffixes: how the files' names end.
        blobs: what the files hold.

    Raises:
        EnvironmentError_: the budgetc here is another one.
        SpecError: as `run_task`.
    """
    if version("budgetc") != made_by:
        raise EnvironmentError_(
            f"a worker has budgetc {version('budgetc')}, the search was started by {made_by}",
            f"install budgetc=={made_by} where the workers run, and start them again.",
        )
    files = {
        argument: _here(blob, suffix)
        for argument, suffix, blob in zip(task.files, suffixes, blobs, strict=True)
    }
    return run_task(replace(task, files=files))


def _here(blob: bytes, suffix: str) -> Path:
    """A file that holds the bytes; the same one each time."""
    store = Store(cache_folder() / "remote")
    path = store.path(store.put(blob))
    named = path.with_name(path.name + suffix)
    if not named.exists():
        named.unlink(missing_ok=True)
        named.hardlink_to(path)
    return named
