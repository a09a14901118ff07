"""`budgetc compile` from the outside: what it prints where, its exit codes, and what a signal leaves behind."""

import hashlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from budgetc.cli.compile import _Folders
from budgetc.stamp import MISSED, STAMP

# A target whose kernels are those of this machine but for the sign of their weights.
PLUGIN = '''
"""A target that computes the wrong numbers."""
from budgetc_targets.host import Host

class Negated:
    def __init__(self, family):
        self._family = family
    def __getattr__(self, name):
        return getattr(self._family, name)
    def pack(self, *arguments):
        return [-array for array in self._family.pack(*arguments)]

class Wrong(Host):
    kind = "wrong"
    def families(self):
        return tuple(Negated(family) for family in super().families())
'''


def contents(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_json_alone_is_on_stdout(compiled):
    out, done = compiled
    result = json.loads(done.stdout)
    (target,) = result["targets"]
    assert (result["exit_code"], target["exit_code"]) == (0, 0)
    assert target["folder"] == str(out / "host")
    assert [v["status"] for v in target["chosen"]["verdicts"]] == ["PASS", "PASS"]
    assert [v["unit"] for v in target["chosen"]["verdicts"]] == ["bytes", "fraction"]
    assert target["baseline"]["quality"] == 1.0
    manifest = json.loads((out / "host" / "manifest.json").read_text())
    assert manifest["verdicts"] == target["chosen"]["verdicts"]


def test_progress_and_report_are_on_stderr_beside_json(compiled):
    lines = compiled[1].stderr.splitlines()
    stages = (
        "reading the model",
        "host 1/1: pass clean",
        "host 1/1: lowering",
        "host 1/1: linking",
    )
    at = [next(i for i, line in enumerate(lines) if stage in line) for stage in stages]
    assert at == sorted(at)
    assert all(re.match(r" +\d+\.\d s  ", line) for line in lines[: at[-1]])
    words = [line.split() for line in lines]
    assert ["budget", "limit", "measured", "interval", "status"] in words
    (size,) = (w for w in words if w[:1] == ["size"] and w[-1] == "PASS")
    assert size[1:3] == ["64", "KiB"]
    assert f"written to {compiled[0] / 'host'}" in lines


REPORTS = {"report.html", "result.json"}


def test_only_the_artefact_is_there(compiled):
    names = {p.name for p in compiled[0].iterdir()}
    assert names == {"host", STAMP, *REPORTS}
    files = {p.name for p in (compiled[0] / "host").iterdir()}
    assert files == {"libtiny.so", "tiny.h", "optimised.onnx", "manifest.json"}


def test_a_missed_budget_and_quiet(budgetc_cli, tiny):
    done = budgetc_cli("compile", tiny, "-q", "--set", "budgets.size=1 KiB", cwd=tiny.parent)
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.splitlines()
    assert lines[0] == "host: no artefact was written: no candidate keeps every budget"
    assert re.match(r"  size binds: size: .* of 1 KiB", lines[1])
    verdicts = {row[0]: row[-1] for row in map(str.split, lines[3:])}
    assert verdicts == {"size": "FAIL", "quality": "PASS"}
    assert {p.name for p in (tiny.parent / "build" / "tiny").iterdir()} == {MISSED, *REPORTS}


def test_a_budget_out_of_reach_and_verbose(budgetc_cli, tiny):
    done = budgetc_cli("compile", tiny, "-v", "--set", "budgets.size=100 B", cwd=tiny.parent)
    assert done.returncode == 3
    assert "no candidate keeps every budget (proven before anything was built)" in done.stdout
    assert "nearest point: clean" in done.stdout
    assert re.search(r"^size +100 B +[\d.]+ KiB +- +FAIL *$", done.stdout, re.MULTILINE)
    assert "  clean: left as it was, weights 128 B" in done.stdout
    assert {p.name for p in (tiny.parent / "build" / "tiny").iterdir()} == {MISSED, *REPORTS}


def test_wrong_numbers(budgetc_cli, tiny, tmp_path):
    plugin = tmp_path / "plugin"
    (plugin / "wrong-1.dist-info").mkdir(parents=True)
    (plugin / "wrong.py").write_text(PLUGIN)
    (plugin / "wrong-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: wrong\n")
    (plugin / "wrong-1.dist-info" / "entry_points.txt").write_text(
        "[budgetc.targets]\nwrong = wrong:Wrong\n"
    )
    path = os.pathsep.join([str(plugin), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    done = budgetc_cli(
        *("compile", tiny, "--set", "targets={liar: {kind: wrong}}", "--out", tmp_path / "out"),
        env={"PYTHONPATH": path},
    )
    assert done.returncode == 6, done.stderr
    assert "the binary's numbers are wrong, which is a fault of budgetc" in done.stdout
    assert {p.name for p in (tmp_path / "out").iterdir()} == {MISSED, *REPORTS}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--target", "hots"], 2, 'did you mean "host"?'),
        (["--out", "spec.yaml"], 2, "the output folder would lie in a file"),
        (["--out", "."], 0, None),
    ],
)
def test_where_it_may_write(budgetc_cli, tiny, arguments, code, said):
    if code == 0:
        (tiny.parent / "host").mkdir()
        (tiny.parent / "host" / "thesis.txt").touch()
        code, said = 2, "is not empty and holds no manifest.json"
    done = budgetc_cli("compile", tiny, *arguments, cwd=tiny.parent)
    assert done.returncode == code
    assert said in done.stderr


def of_this_run(mark: str) -> list[str]:
    """Command lines of all live processes whose environment holds the mark."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if mark.encode() in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # no process, or one that has just ended
            continue
    return found


@pytest.mark.parametrize(
    ("number", "code", "stage"),
    [
        (signal.SIGINT, 130, "reading the model"),
        (signal.SIGINT, 130, "lowering"),
        (signal.SIGINT, 130, "linking"),
        (signal.SIGTERM, 143, "generating code"),
    ],
)
def test_an_interrupt_leaves_nothing_behind(
    compiled, tiny, tmp_path, cli_environment, number, code, stage
):
    out, temporary = tmp_path / "out", tmp_path / "temporary"
    temporary.mkdir()
    (out / "host").mkdir(parents=True)
    for name, data in ((p.name, p.read_bytes()) for p in (compiled[0] / "host").iterdir()):
        (out / "host" / name).write_bytes(data)
    before, mark = contents(out), f"MARK={tmp_path}"
    process = subprocess.Popen(
        [sys.executable, "-m", "budgetc.cli.main", "compile", tiny, "--out", out],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**cli_environment, "MARK": str(tmp_path), "TMPDIR": str(temporary)},
    )
    said = ""
    for line in process.stderr:
        said += line
        if stage in line:
            break
    time.sleep(0.3 if stage == "reading the model" else 0.05)
    assert of_this_run(mark), said
    process.send_signal(number)
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == code, said + rest
    word = "interrupted" if number == signal.SIGINT else "ended by SIGTERM"
    assert rest.splitlines()[-3:] == [
        word,
        f"left as it was: {out / 'host'}",
        "the next run starts from the beginning.",
    ]
    assert of_this_run(mark) == []
    assert contents(out) == before
    assert [p.name for p in out.iterdir()] == ["host"]
    assert not list(temporary.glob("*budgetc*"))


def test_an_interrupt_tells_what_is_already_written(tmp_path):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
    folders = _Folders(tmp_path / name for name in ("first", "second", "third"))
    (tmp_path / "first").rename(tmp_path / "old")
    (tmp_path / "first").mkdir()
    error = KeyboardInterrupt()
    folders.explain(error)
    assert error.__notes__ == [
        f"already written, and complete: {tmp_path / 'first'}",
        f"left as it was: {tmp_path / 'second'}",
        f"not written: {tmp_path / 'third'}",
        "the next run starts from the beginning.",
    ]


def on_a_terminal(arguments: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Run a command whose three streams are one terminal of 100 columns; its exit code and what it wrote."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "budgetc.cli.main", *arguments],
        stdin=child,
        stdout=child,
        stderr=child,
        env={**environment, "COLUMNS": "100", "TERM": "xterm-256color"},
    )
    os.close(child)
    written = b""
    while True:
        try:
            piece = os.read(parent, 1 << 16)
        except OSError:  # the terminal has no other end any more
            break
        if not piece:
            break
        written += piece
    os.close(parent)
    return process.wait(), written.decode()


def test_on_a_terminal_one_line_renews_itself(tiny, tmp_path, cli_environment):
    arguments = ["compile", str(tiny), "--out", str(tmp_path / "out")]
    code, written = on_a_terminal(arguments, cli_environment)
    assert code == 0
    assert "\x1b[2K" in written, "the line is wiped"
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written)
    stage = r"[a-z][a-z ]*?"  # whichever takes long enough to be drawn
    assert re.search(rf"host 1/1 {stage} +clean .* 0:\d\d, (9:\d\d|10:00) left", plain)
    assert "host 1/1: clean: feasible\r\n" in plain
    assert not re.search(r"\d+\.\d s  ", plain)
    assert not re.search(r"\x1b\[[0-9;]*3[0-9]m", written), "NO_COLOR"


def test_colours_without_no_color(cli_environment):
    plain = {k: v for k, v in cli_environment.items() if k != "NO_COLOR"}
    arguments = ["targets", "show", "nowhere"]
    assert "\x1b[1;31m" in on_a_terminal(arguments, plain)[1]
    assert "\x1b[1;31m" not in on_a_terminal(arguments, cli_environment)[1]
