"""Each way to end has its exit code, its words on standard error, and no traceback that nobody asked for."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from budgetc.cli.exits import Terminated, catch_signals, exit_code, guarded, signals_later
from budgetc.measure.conversation import BinaryError
from budgetc.worker import ChildDied
from budgetc_specs import errors
from typer.testing import CliRunner

CODES = {
    "SpecError": 2,
    "InfeasibleError": 3,
    "EnvironmentError_": 4,
    "LockError": 5,
    "WrongNumbersError": 6,
    "ModelError": 7,
    "TargetUnreachableError": 8,
    "InternalError": 70,
}


def command(verb):
    """A command line with one verb."""
    app = typer.Typer(rich_markup_mode=None)
    app.command()(guarded(verb))
    return app


def ending(error):
    """What a command says and returns when this is raised in it."""

    def verb(*, verbose: bool = False) -> int:
        raise error

    return command(verb)


def test_every_class_of_the_tree_has_its_code():
    classes = {
        c.__name__: c
        for c in errors.BudgetcError.__subclasses__()
        if c.__module__ == errors.__name__
    }
    assert set(classes) == set(CODES)
    for name, cls in classes.items():
        error = cls.of("x") if cls is errors.SpecError else cls("x")
        assert exit_code(error) == CODES[name]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ChildDied("m:f", "signal", "SIGSEGV"), 70),
        (BinaryError("the compiled model crashed", "SIGSEGV"), 6),
        (KeyboardInterrupt(), 130),
        (Terminated(signal.SIGTERM), 143),
        (Terminated(signal.SIGHUP), 129),
        (MemoryError(), 4),
        (ModuleNotFoundError("No module named 'onnx'"), 4),
        (OSError(errno.ENOSPC, "No space left on device"), 4),
        (OSError(errno.EIO, "Input/output error"), 70),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 70),  # of a pipe that is not our output
        (RuntimeError("x"), 70),
        (AssertionError("BUG: x"), 70),
    ],
)
def test_other_endings(error, code):
    assert exit_code(error) == code


def test_a_result_is_the_exit_code():
    def verb() -> int:
        return 1

    assert CliRunner().invoke(command(verb), []).exit_code == 1


def test_a_named_error_is_its_words():
    done = CliRunner().invoke(ending(errors.ModelError("m.onnx: it is odd", "make it even.")), [])
    assert (done.exit_code, done.stdout) == (7, "")
    assert done.stderr == "m.onnx: it is odd\n  make it even.\n"


def test_words_cannot_command_the_terminal():
    done = CliRunner().invoke(ending(errors.ModelError("[bold]a\x1b[2Jb[/]")), [])
    assert done.stderr == "[bold]a\\x1b[2Jb[/]\n"


def test_the_cause_is_told_to_who_asks():
    error = errors.ModelError("it is odd")
    error.__cause__ = ValueError("3 is odd")
    assert "3 is odd" not in CliRunner().invoke(ending(error), []).stderr
    assert "ValueError: 3 is odd" in CliRunner().invoke(ending(error), ["--verbose"]).stderr


def test_a_bug_is_kept_in_a_file(tmp_path, monkeypatch):
    monkeypatch.setenv("BUDGETC_CACHE", str(tmp_path))
    done = CliRunner().invoke(ending(RuntimeError("no such thing")), [])
    (log,) = (tmp_path / "logs").iterdir()
    assert done.exit_code == 70
    assert done.stderr.startswith("BUG: RuntimeError: no such thing\n")
    assert f"report it with {log}" in done.stderr
    assert "Traceback" not in done.stderr
    assert "Traceback" in log.read_text()
    assert "Traceback" in CliRunner().invoke(ending(RuntimeError("x")), ["--verbose"]).stderr


def test_a_bug_where_no_file_can_be_kept(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("BUDGETC_CACHE", str(tmp_path / "file" / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    done = CliRunner().invoke(ending(AssertionError("BUG: x")), [])
    assert done.exit_code == 70
    assert done.stderr.startswith("BUG: x\nTraceback")


def test_notes_are_told():
    error = KeyboardInterrupt()
    error.add_note("left as it was: out")
    done = CliRunner().invoke(ending(error), [])
    assert (done.exit_code, done.stderr) == (130, "interrupted\nleft as it was: out\n")


def test_signals_unwind(monkeypatch):
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        catch_signals()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        with pytest.raises(Terminated, match="SIGTERM"):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def test_nobody_reads_the_output(cli_environment):
    script = f'{sys.executable} -m budgetc.cli.main schema | true; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env=cli_environment, check=True
    )
    assert (done.stdout, done.stderr) == ("141\n", "")


def test_a_full_disk(cli_environment):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    with full.open("w") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "budgetc.cli.main", "schema"],
            stdout=stream,
            stderr=subprocess.PIPE,
            text=True,
            env=cli_environment,
            check=False,
        )
    assert done.returncode == 4
    assert "No space left on device" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_an_import_waits_for_its_end(number):
    before = signal.getsignal(signal.SIGTERM)
    catch_signals()
    done = []

    def imported():
        with signals_later():
            signal.raise_signal(number)
            done.append("imported")

    try:
        with pytest.raises(KeyboardInterrupt):
            imported()
        assert done == ["imported"]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    finally:
        signal.signal(signal.SIGTERM, before)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
