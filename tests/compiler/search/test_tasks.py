"""A task runs in a child with a folder of its own; every way for it to end is told apart."""

import pickle
import threading
import time

import pytest
from budgetc.search.tasks import Answer, Task, run_task
from budgetc.worker import Cancelled
from budgetc_specs.errors import EnvironmentError_, SpecError

HERE = "search_probes"


def task(name, *, files=None, made=(), timeout_s=60.0, **arguments):
    return Task(f"{HERE}:{name}", arguments, files or {}, made, timeout_s)


def test_files_go_in_and_come_out(tmp_path):
    (tmp_path / "given.npz").write_bytes(b"abc")
    answer = run_task(task("copy_file", files={"given": tmp_path / "given.npz"}, made=["made.bin"]))
    assert answer == Answer({"suffix": ".npz", "empty": True}, {"made.bin": b"cba"})


def test_what_it_reports_is_heard_and_its_folder_goes(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    heard = []
    assert run_task(task("square", number=3), progress=heard.append).result == 9
    assert heard == [{"begun": 3}]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("refuse", "the model is odd"),
        ("crash", "search_probes:crash was killed by SIGSEGV"),
        ("missing", "AttributeError"),
    ],
)
def test_the_fault_of_a_candidate_is_a_refusal(name, said):
    answer = run_task(task(name))
    assert answer.result is None
    assert said in answer.refusal


def test_a_file_that_was_not_made_is_our_fault():
    with pytest.raises(AssertionError, match=r"BUG: search_probes:make_nothing left no made.bin"):
        run_task(task("make_nothing", made=["made.bin"]))


def test_its_time_is_limited():
    refusal = run_task(task("square", number=1, seconds=60.0, timeout_s=1.0)).refusal
    assert refusal == "search_probes:square was stopped after its time limit of 1 s"


@pytest.mark.parametrize(
    ("name", "error"),
    [("find_the_spec_wrong", SpecError), ("find_the_machine_wrong", EnvironmentError_)],
)
def test_the_fault_of_spec_or_machine_ends_the_run(name, error):
    with pytest.raises(error, match="is odd") as raised:
        run_task(task(name))
    again = pickle.loads(pickle.dumps(raised.value))  # as it comes back from another machine
    assert (type(again), str(again)) == (error, str(raised.value))


def test_cancelled():
    event = threading.Event()
    threading.Timer(0.5, event.set).start()
    begin = time.monotonic()
    with pytest.raises(Cancelled):
        run_task(task("square", number=1, seconds=60.0), cancelled=event)
    assert time.monotonic() - begin < 30
