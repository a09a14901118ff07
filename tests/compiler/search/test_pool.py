"""Pools: every task has its answer, whatever happens to those who work on it; and no process outlives its pool."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import CancelledError
from pathlib import Path

import pytest
from budgetc.search.pool import DaskPool, LocalPool, open_pool
from budgetc.search.tasks import Answer, Task
from budgetc.worker import Cancelled
from budgetc_specs.errors import EnvironmentError_, SpecError

HERE = "search_probes"


def task(name, *, files=None, made=(), **arguments):
    return Task(f"{HERE}:{name}", arguments, files or {}, made, timeout_s=120.0)


def squares(numbers, **options):
    return [task("square", number=number, **options) for number in numbers]


def ended(folder: Path) -> bool:
    """Whether every process that has left its number in the folder is gone."""
    for _ in range(200):
        if not any(Path(f"/proc/{path.name}").exists() for path in folder.iterdir()):
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def pids(tmp_path):
    folder = tmp_path / "pids"
    folder.mkdir()
    return folder


def wait_for(folder: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("executor", ["local", "local:1", "local:3"])
def test_every_task_is_answered(executor):
    heard = []
    with open_pool(executor) as pool:
        found = dict(pool.map(squares(range(5)), lambda p, m: heard.append((p, m["begun"]))))
        assert dict(pool.map([])) == {}
    assert found == {n: Answer(n * n) for n in range(5)}
    assert sorted(heard) == [(n, n) for n in range(5)]
    assert pool.notes == []


def test_how_many_work_at_once():
    with open_pool("local:3") as three, open_pool() as all_:
        assert (three.workers, three.name) == (3, "3 processes here")
        assert all_.workers == len(os.sched_getaffinity(0))


def test_answers_come_as_tasks_end():
    slow, quick = squares([1], seconds=20.0), squares([2])
    with open_pool("local:2") as pool:
        answers = pool.map(slow + quick)
        assert next(answers) == (1, Answer(4))
        answers.close()


def test_one_that_fails_costs_no_other():
    tasks = [task("refuse"), *squares([2]), task("crash"), *squares([3])]
    with open_pool("local:2") as pool:
        found = dict(pool.map(tasks))
    assert [found[n].result for n in range(4)] == [None, 4, None, 9]
    assert found[0].refusal == "the model is odd"
    assert found[2].refusal == "search_probes:crash was killed by SIGSEGV"


def test_an_error_ends_the_run_and_all_children(pids):
    tasks = [*squares([1], seconds=100.0, pids=str(pids)), task("find_the_spec_wrong")]
    begin = time.monotonic()
    with pytest.raises(SpecError, match="the spec is odd"), open_pool("local:2") as pool:
        list(pool.map([*tasks, *squares(range(20), seconds=100.0, pids=str(pids))]))
    assert time.monotonic() - begin < 60
    assert ended(pids)


def test_closing_ends_children(pids):
    pool = LocalPool(2)
    answers = pool.map(squares([1, 2, 3], seconds=100.0, pids=str(pids)))
    thread = threading.Thread(target=lambda: (wait_for(pids, 2), pool.close()))
    thread.start()
    with pytest.raises((Cancelled, CancelledError)):
        list(answers)
    thread.join()
    assert ended(pids)
    assert len(list(pids.iterdir())) == 2  # the third never began


def test_an_interrupt_ends_children(pids):
    thread = threading.Thread(
        target=lambda: (wait_for(pids, 2), os.kill(os.getpid(), signal.SIGINT))
    )
    thread.start()
    with pytest.raises(KeyboardInterrupt), open_pool("local:2") as pool:
        list(pool.map(squares([1, 2, 3], seconds=100.0, pids=str(pids))))
    thread.join()
    assert ended(pids)


def test_nobody_listens_where_no_scheduler_is():
    with pytest.raises(
        EnvironmentError_, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"
    ) as e:
        DaskPool("tcp://127.0.0.1:9", connect_s=1.0)
    assert e.value.exit_code == 4
    assert "dask scheduler" in e.value.repair


def test_without_dask(tmp_path):
    """In a process where the package cannot be imported."""
    (tmp_path / "distributed.py").write_text("raise ModuleNotFoundError('distributed')\n")
    code = """
from budgetc.search.pool import open_pool
from budgetc.worker import Cancelled
from budgetc_specs.errors import EnvironmentError_
try:
    with open_pool("tcp://127.0.0.1:9"):
        pass
except EnvironmentError_ as error:
    print(error.exit_code, error)
"""
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    first, repair = done.stdout.splitlines()
    assert first == "4 search.executor: tcp://127.0.0.1:9 needs Dask, which is not installed"
    assert repair == '  pip install "budgetc[dask]", here and where the workers run.'


@pytest.fixture
def dask(dask_cluster, tmp_path, monkeypatch):
    """Two workers, each with one thread, and a pool of them that is patient for two seconds."""
    monkeypatch.setenv("BUDGETC_CACHE", str(tmp_path / "cache"))
    cluster = dask_cluster(dict(os.environ), workers=2)
    pool = DaskPool(cluster.address, alone_s=2.0)
    try:
        yield cluster, pool
    finally:
        pool.close()


def test_a_cluster_answers_as_this_machine_does(dask, tmp_path):
    cluster, pool = dask
    given = tmp_path / "given.npz"
    given.write_bytes(b"abc")
    tasks = [
        *squares(range(4)),
        task("refuse"),
        task("crash"),
        task("copy_file", files={"given": given}, made=("made.bin",)),
    ]
    with open_pool("local:2") as local:
        expected = dict(local.map(tasks))
    assert dict(pool.map(tasks)) == expected
    assert (pool.workers, pool.notes, pool.name) == (2, [], f"Dask at {cluster.address}")
    # An error comes across with its class, its words and its repair.
    with pytest.raises(EnvironmentError_, match="the machine is odd") as raised:
        list(pool.map([task("find_the_machine_wrong")]))
    assert raised.value.repair == "take another."
    # Files that change are sent again.
    given.write_bytes(b"abcd")
    assert dict(pool.map(tasks[-1:]))[0].files == {"made.bin": b"dcba"}


def test_what_nobody_waits_for_is_ended_there_too(dask, pids):
    pool = dask[1]
    answers = pool.map([*squares([3]), *squares([1, 2], seconds=100.0, pids=str(pids))])
    assert next(answers) == (0, Answer(9))
    wait_for(pids, 2)
    answers.close()
    assert ended(pids)


def test_a_worker_is_lost_midway(dask, pids):
    cluster, pool = dask
    found = {}
    for position, answer in pool.map(squares(range(6), seconds=1.0, pids=str(pids))):
        found[position] = answer
        if len(found) == 1:
            cluster.kill(0)
    assert found == {n: Answer(n * n) for n in range(6)}
    lost = f"Dask at {cluster.address} has lost 1 worker: what was done there was done again"
    assert pool.notes == [lost]
    assert ended(pids)
    assert pool.workers == 1


@pytest.mark.parametrize("scheduler", [False, True], ids=["workers", "scheduler"])
def test_all_is_lost_and_the_run_goes_on_here(dask, scheduler, capfd):
    cluster, pool = dask
    found, heard = {}, []
    tasks = squares(range(5), seconds=1.0)
    for position, answer in pool.map(tasks, lambda p, m: heard.append((p, m["begun"]))):
        found[position] = answer
        if len(found) == 1:
            if scheduler:
                cluster.scheduler.kill()
            else:
                cluster.kill(0)
                cluster.kill(1)
    assert found == {n: Answer(n * n) for n in range(5)}
    assert any("the search goes on here" in note or "run here" in note for note in pool.notes)
    assert all(p == begun for p, begun in heard)  # from then on it can be heard
    assert heard
    assert dict(pool.map(squares([7]))) == {0: Answer(49)}
    assert capfd.readouterr().err == ""
