"""Where tasks of the search run: child processes of this machine, or the workers of a Dask cluster."""

import contextlib
import functools
import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, Protocol

from budgetc_specs.errors import BudgetcError, EnvironmentError_

from budgetc.search.remote import Maker, run_remote
from budgetc.search.tasks import Answer, Task, run_task

_POLL_S = 1.0
ALONE_S = 30.0
"""A cluster may be without workers for so long before its tasks are taken back."""

CONNECT_S = 10.0

Heard = Callable[[int, dict[str, Any]], None]


def _unheard(_position: int, _message: dict[str, Any]) -> None:
    """Nobody listens."""


class Pool(Protocol):
    """Runs tasks, several at once.

    Attributes:
        name: for people.
        notes: what happened to it that its user should know.
        workers: how many tasks run at once, as far as is known.
    """

    name: str
    notes: list[str]
    workers: int

    def map(self, tasks: Sequence[Task], heard: Heard = _unheard) -> Iterator[tuple[int, Answer]]:
        """Run all and yield the position and the answer of each as it ends, in any order.

        Args:
            tasks: which.
            heard: called, maybe from another thread, with the position of a task and what its child reports, where
                that can be told before it ends.

        Raises:
            SpecError, EnvironmentError_: what a task raised; the others are given up.
        """
        ...


@contextlib.contextmanager
def open_pool(executor: str = "local") -> Iterator[Pool]:
    """The pool that `search.executor` names; what runs in it ends with the block.

    Args:
        executor: `local` for as many processes as this one may use processors, `local:N` for N, or the address of a
            Dask scheduler, such as `tcp://10.0.0.1:8786`.

    Raises:
        EnvironmentError_: Dask is not installed, or no scheduler answers at the address.
    """
    if executor == "local" or executor.startswith("local:"):
        count = executor.partition(":")[2]
        local = LocalPool(int(count) if count else len(os.sched_getaffinity(0)))
        with contextlib.closing(local):
            yield local
    else:
        remote = DaskPool(executor)
        with contextlib.closing(remote):
            yield remote


class LocalPool:
    """Supervised child processes of this machine: each task is one, and each is awaited by a thread."""

    def __init__(self, processes: int) -> None:
        self.name = f"{processes} process{'es' if processes > 1 else ''} here"
        self.notes: list[str] = []
        self.workers = processes
        self._cancelled = threading.Event()
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="budgetc-task")

    def map(self, tasks: Sequence[Task], heard: Heard = _unheard) -> Iterator[tuple[int, Answer]]:
        """See `Pool`."""
        futures = {
            self._threads.submit(
                run_task,
                task,
                cancelled=self._cancelled,
                progress=functools.partial(heard, position),
            ): position
            for position, task in enumerate(tasks)
        }
        yield from _as_they_end(futures)

    def close(self) -> None:
        """End what is still running."""
        self._cancelled.set()
        self._threads.shutdown(cancel_futures=True)


class DaskPool:
    """The workers of a Dask cluster. A worker that is lost costs its tasks a second start, on another one.

    Where no worker is left, or the scheduler is gone, tasks are run here.

    Args:
        address: of the scheduler.
        alone_s: seconds that it may be without workers before its tasks are taken back.
        connect_s: seconds that the scheduler has to answer.

    Raises:
        EnvironmentError_: Dask is not installed, or no scheduler answers.
    """

    def __init__(
        self, address: str, *, alone_s: float = ALONE_S, connect_s: float = CONNECT_S
    ) -> None:
        try:
            from distributed import Client  # noqa: PLC0415  an extra
        except ImportError as error:
            raise EnvironmentError_(
                f"search.executor: {address} needs Dask, which is not installed",
                'pip install "budgetc[dask]", here and where the workers run.',
            ) from error
        try:
            self._client: Any = Client(address, timeout=connect_s, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise EnvironmentError_(
                f"search.executor: no Dask scheduler answers at {address}: {error}",
                "start one with `dask scheduler`, and workers with `dask worker ADDRESS`.",
            ) from error
        self.name = f"Dask at {address}"
        self.notes: list[str] = []
        self._alone_s, self._connect_s = alone_s, connect_s
        self._maker = Maker.here()
        self._crew: dict[str, int] = {}
        self._lost: list[str] = []
        self.workers = 1
        self._muster()
        self._executor: Executor = self._client.get_executor(pure=False)
        self._sent: dict[tuple[Path, int, int], Any] = {}
        self._local: LocalPool | None = None

    def map(self, tasks: Sequence[Task], heard: Heard = _unheard) -> Iterator[tuple[int, Answer]]:
        """See `Pool`; what is done elsewhere is heard of when it has ended."""
        open_ = dict(enumerate(tasks))
        if self._local is None:
            self._muster()
            for position, answer in self._there(tasks):
                del open_[position]
                yield position, answer
            self._muster()
        if open_:
            positions = list(open_)
            left = [open_[p] for p in positions]
            for index, answer in self._here().map(left, lambda i, m: heard(positions[i], m)):
                yield positions[index], answer

    def close(self) -> None:
        """Let the cluster go; what still runs there is not awaited."""
        if self._local is not None:
            self._local.close()
        with contextlib.suppress(Exception):  # whatever a lost connection makes Dask raise
            self._executor.shutdown(wait=False)
        with contextlib.suppress(Exception):
            self._client.close(timeout=self._connect_s)

    def _there(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Answer]]:
        """Answers from the cluster, as long as it gives any."""
        try:
            futures = {self._submit(task): position for position, task in enumerate(tasks)}
        except Exception as error:  # whatever a broken connection makes Dask raise
            self._give_up(f"tasks could not be sent: {type(error).__name__}")
            return
        try:
            for future, position in _ended(futures, self._deserted, self._alone_s):
                try:
                    answer = future.result()
                except BudgetcError:
                    raise
                except Exception as error:  # KilledWorker, CancelledError, a lost connection
                    self._retire(f"{type(error).__name__}: {error}")
                    continue
                yield position, answer
        except _DesertedError:
            self._give_up("it has no workers any more")
        finally:
            for future in futures:
                with contextlib.suppress(Exception):  # the connection may be lost
                    future.cancel()

    def _submit(self, task: Task) -> "Future[Answer]":
        suffixes = tuple(path.suffix for path in task.files.values())
        blobs = [self._blob(path) for path in task.files.values()]
        return self._executor.submit(run_remote, task, self._maker, suffixes, *blobs)

    def _blob(self, path: Path) -> Any:
        """A file's bytes as they lie on the cluster; each file is sent once."""
        status = path.stat()
        key = (path, status.st_size, status.st_mtime_ns)
        if key not in self._sent:
            self._sent[key] = self._client.scatter(path.read_bytes(), direct=False, hash=True)
        return self._sent[key]

    def _muster(self) -> None:
        """See who is there; a worker that was there before and is gone is worth a note."""
        try:
            there: dict[str, int] = self._client.nthreads()
        except (
            Exception
        ):  # whatever a broken connection makes Dask raise; `_deserted` deals with it
            return
        self._lost += [name for name in self._crew if name not in there]
        self._crew = there
        self.workers = max(1, sum(there.values()))
        self.notes = [note for note in self.notes if not note.startswith(self._loss)]
        if self._lost:
            count = f"{len(self._lost)} worker{'' if len(self._lost) == 1 else 's'}"
            self.notes.append(f"{self._loss} {count}: what was done there was done again")

    @property
    def _loss(self) -> str:
        return f"{self.name} has lost"

    def _deserted(self) -> bool:
        """Whether there is nobody who could answer."""
        if self._client.status != "running":
            return True
        return not self._client.scheduler_info().get("workers")

    def _retire(self, why: str) -> None:
        """A task did not come back: it will be run here."""
        note = f"{self.name} lost tasks, which are run here: {why.splitlines()[0].rstrip(': ')}"
        if note not in self.notes:
            self.notes.append(note)

    def _give_up(self, why: str) -> None:
        self.notes.append(f"{self.name} is given up, the search goes on here: {why}")
        self._here()

    def _here(self) -> LocalPool:
        if self._local is None:
            self._local = LocalPool(len(os.sched_getaffinity(0)))
        return self._local


class _DesertedError(Exception):
    """Nobody is left who could answer."""


def _as_they_end(futures: "dict[Future[Answer], int]") -> Iterator[tuple[int, Answer]]:
    try:
        for future, position in _ended(futures, lambda: False, math.inf):
            yield position, future.result()
    finally:
        for future in futures:
            future.cancel()


def _ended(
    futures: "dict[Future[Answer], int]", deserted: Callable[[], bool], alone_s: float
) -> Iterator[tuple["Future[Answer]", int]]:
    """Futures as they end.

    Raises:
        _DesertedError: `deserted` held for so many seconds, and nothing ended.
    """
    pending = set(futures)
    since: float | None = None
    while pending:
        done, pending = wait(pending, _POLL_S, FIRST_COMPLETED)
        for future in done:
            yield future, futures[future]
        if done or not deserted():
            since = None
        elif since is None:
            since = time.monotonic()
        elif time.monotonic() - since > alone_s:
            raise _DesertedError
