"""Children that crash, hang, eat memory, exit or raise: each death has its name."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from budgetc.child import report_progress
from budgetc.worker import Cancelled, ChildDied, run_child
from budgetc_specs.errors import Diagnostic, ModelError, SpecError

HERE = "test_worker"


class OwnModelError(ModelError):
    """A subclass the parent does not know."""


def double(values):
    sys.stdout.write("noise on standard output\n")
    os.write(1, b'{"result": "forged"}\n')
    return {"values": [2 * v for v in values], "hash": hash("seeded")}


def steps(count):
    for i in range(count):
        report_progress({"step": i})
    return count


def what_comes_with_tvm():
    import tvm  # noqa: F401  it is asked what else that imports

    return [name for name in ("tvm_ffi", "torch") if name in sys.modules]


def torch_after_tvm():
    import torch
    import tvm  # noqa: F401

    return torch.ones(2).sum().item()


def crash():
    sys.stdout.write("about to crash\n")
    ctypes.string_at(0)


def hang(pid_file=None):
    grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    if pid_file:
        Path(pid_file).write_text(f"{os.getpid()} {grandchild.pid}\n")
    time.sleep(100)


def leave_a_grandchild(pid_file):
    grandchild = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(100)"], close_fds=False
    )
    Path(pid_file).write_text(str(grandchild.pid))
    return "left"


def hog():
    return len(bytearray(400 << 20))


def leave(code):
    sys.exit(code)


def kill_self():
    os.kill(os.getpid(), signal.SIGKILL)


def refuse():
    raise ModelError("the model is odd", "make it even.")


def refuse_own():
    raise OwnModelError("the model is odd")


def refuse_spec():
    raise SpecError([Diagnostic("a.yaml", 3, 5, "wrong", "right", "  x: 1", 2)])


def fail():
    raise ZeroDivisionError("by zero")


def unjsonable():
    return {1, 2}


@pytest.fixture(autouse=True)
def _importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))


def call(name, *, timeout_s=30.0, **options):
    arguments = options.pop("arguments", {})
    return run_child(f"{HERE}:{name}", arguments, timeout_s=timeout_s, **options)


def gone(pid):
    """Whether a process has ended; a zombie that nobody reaps has."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_result_survives_noise_and_hashing_is_seeded(tmp_path):
    log = tmp_path / "log"
    first = call("double", arguments={"values": [1, 2.5]}, log=log)
    assert first["values"] == [2, 5.0]
    assert call("double", arguments={"values": []})["hash"] == first["hash"]
    assert "noise on standard output" in log.read_text()


def test_progress_arrives_in_order():
    seen = []
    assert call("steps", arguments={"count": 300}, progress=seen.append) == 300
    assert seen == [{"step": i} for i in range(300)]


def test_progress_outside_a_child_is_silent():
    report_progress({"step": 1})


def test_segfault():
    with pytest.raises(ChildDied) as caught:
        call("crash")
    assert caught.value.cause == "signal"
    assert caught.value.detail == "SIGSEGV"
    assert str(caught.value).startswith(
        "test_worker:crash was killed by SIGSEGV\n  the end of its output:\n"
    )
    assert "Fatal Python error: Segmentation fault" in caught.value.tail
    assert caught.value.exit_code == 70


def test_timeout_kills_the_whole_group(tmp_path):
    pids = tmp_path / "pids"
    begin = time.monotonic()
    with pytest.raises(
        ChildDied, match=r"^test_worker:hang was stopped after its time limit of 2 s$"
    ):
        call("hang", arguments={"pid_file": str(pids)}, timeout_s=2)
    assert time.monotonic() - begin < 5
    assert all(gone(int(pid)) for pid in pids.read_text().split())


def test_grandchildren_do_not_outlive_a_result(tmp_path):
    pid = tmp_path / "pid"
    begin = time.monotonic()
    assert call("leave_a_grandchild", arguments={"pid_file": str(pid)}) == "left"
    assert time.monotonic() - begin < 10
    assert gone(int(pid.read_text()))


def test_memory_limit():
    assert call("hog") == 400 << 20
    with pytest.raises(ChildDied) as caught:
        call("hog", memory_bytes=300 << 20)
    assert (caught.value.cause, caught.value.detail) == ("memory", "MemoryError")
    assert str(caught.value) == "test_worker:hog ran out of memory (MemoryError)"


@pytest.mark.parametrize("code", [0, 3])
def test_exit(code):
    with pytest.raises(ChildDied) as caught:
        call("leave", arguments={"code": code})
    assert str(caught.value) == f"test_worker:leave ended without a result (exit code {code})"


def test_killed():
    with pytest.raises(ChildDied) as caught:
        call("kill_self")
    assert caught.value.detail == "SIGKILL, which the system sends when it is out of memory"


@pytest.mark.parametrize(
    ("name", "text"),
    [("refuse", "the model is odd\n  make it even."), ("refuse_own", "the model is odd")],
)
def test_errors_come_across_by_class(name, text):
    with pytest.raises(ModelError) as caught:
        call(name)
    assert type(caught.value) is ModelError
    assert str(caught.value) == text


def test_spec_errors_keep_their_places():
    with pytest.raises(SpecError) as caught:
        call("refuse_spec")
    assert caught.value.diagnostics == (Diagnostic("a.yaml", 3, 5, "wrong", "right", "  x: 1", 2),)


def test_other_exceptions_are_deaths():
    with pytest.raises(ChildDied) as caught:
        call("fail")
    assert (caught.value.cause, caught.value.detail) == ("exception", "ZeroDivisionError: by zero")
    assert caught.value.tail.endswith("ZeroDivisionError: by zero")
    with pytest.raises(ChildDied, match="TypeError: Object of type set is not JSON serializable"):
        call("unjsonable")
    with pytest.raises(ChildDied, match="ModuleNotFoundError: No module named 'absent'"):
        run_child("absent:f", {}, timeout_s=30)


def test_the_working_directory_is_not_imported_from(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path)
    assert call("steps", arguments={"count": 1}) == 1


def test_children_die_with_the_parent(tmp_path):
    pids = tmp_path / "pids"
    call = f"run_child('{HERE}:hang', {{'pid_file': {str(pids)!r}}}, timeout_s=60)"
    code = f"from budgetc.worker import run_child; {call}"
    parent = subprocess.Popen([sys.executable, "-c", code])
    while not (pids.exists() and pids.read_text().endswith("\n")):
        assert parent.poll() is None
        time.sleep(0.05)
    child, grandchild = map(int, pids.read_text().split())
    parent.kill()
    parent.wait()
    assert gone(child)
    os.kill(grandchild, signal.SIGKILL)


def test_interrupting_the_parent_kills_the_group(tmp_path):
    pids = tmp_path / "pids"

    def interrupt():
        while not (pids.exists() and pids.read_text().endswith("\n")):
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        call("hang", arguments={"pid_file": str(pids)})
    thread.join()
    assert all(gone(int(pid)) for pid in pids.read_text().split())


def test_calls_run_side_by_side():
    results = []
    threads = [
        threading.Thread(target=lambda n=n: results.append(call("steps", arguments={"count": n})))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 1, 2, 3]


def test_cancelled_before_and_meanwhile(tmp_path):
    pids, event = tmp_path / "pids", threading.Event()

    def cancel():
        while not (pids.exists() and pids.read_text().endswith("\n")):
            time.sleep(0.05)
        event.set()

    thread = threading.Thread(target=cancel)
    thread.start()
    with pytest.raises(Cancelled):
        call("hang", arguments={"pid_file": str(pids)}, cancelled=event)
    thread.join()
    assert all(gone(int(pid)) for pid in pids.read_text().split())
    with pytest.raises(Cancelled):
        call("steps", arguments={"count": 1}, cancelled=event)


def test_an_event_that_is_not_set_changes_nothing():
    assert call("steps", arguments={"count": 2}, cancelled=threading.Event()) == 2


def test_tvm_comes_without_torch() -> None:
    assert run_child(f"{HERE}:what_comes_with_tvm", {}, timeout_s=60) == ["tvm_ffi"]


def test_who_wants_torch_beside_tvm_gets_it() -> None:
    pytest.importorskip("torch")
    assert run_child(f"{HERE}:torch_after_tvm", {}, timeout_s=60) == 2.0
