"""Shell completion, asked for as the shells ask: names, files, targets of a spec; and quickly."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = {"tvm", "onnx", "onnxruntime", "onnx_ir"}
COMMAND = [sys.executable, "-c", "from budgetc.cli.start import main; main()"]
SPEC = """model: tiny.onnx
targets:
  host: {}
  pi: {board: raspberry-pi-4}
"""


@pytest.fixture
def complete(tmp_path, cli_environment):
    """What bash is told at the end of a line, in a folder with a spec, a model and a folder."""
    (tmp_path / "spec.yaml").write_text(SPEC)
    (tmp_path / "tiny.onnx").touch()
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "other.toml").touch()

    def complete(line):
        words = line.split(" ")
        asked = {
            "COMP_WORDS": line,
            "COMP_CWORD": str(len(words) - 1),
            "_BUDGETC_COMPLETE": "complete_bash",
        }
        done = run(COMMAND, cwd=tmp_path, env={**cli_environment, **asked})
        return done.stdout.split()

    return complete


def run(command, **options):
    # The name of the program decides the variable that it is asked by.
    named = [sys.executable, "-c", f"import sys; sys.argv[0] = 'budgetc'; {command[2]}"]
    done = subprocess.run(named, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("budgetc comp", ["compile"]),
        ("budgetc compile --fro", ["--frozen"]),
        ("budgetc compile ", ["build/", "spec.yaml"]),
        ("budgetc check build/", ["build/other.toml"]),
        ("budgetc compile spec.yaml --target ", ["host", "pi"]),
        ("budgetc compile spec.yaml -t p", ["pi"]),
        ("budgetc compile -t p", []),
        ("budgetc why m", ["memory"]),
        ("budgetc verify b", ["build/"]),
        ("budgetc passes qua", ["quantize"]),
        ("budgetc targets show raspberry-pi-5", ["raspberry-pi-5"]),
        ("budgetc explain mean", ["mean-iou"]),
        ("budgetc schema r", ["result"]),
    ],
)
def test_in_bash(complete, line, words):
    assert complete(line) == words


@pytest.mark.parametrize(
    ("shell", "options"),
    [
        ("zsh", {"_TYPER_COMPLETE_ARGS": "budgetc passes quan"}),
        (
            "fish",
            {
                "_TYPER_COMPLETE_FISH_ACTION": "get-args",
                "_TYPER_COMPLETE_ARGS": "budgetc passes quan",
            },
        ),
    ],
)
def test_in_other_shells(shell, options, cli_environment):
    asked = {**options, "_BUDGETC_COMPLETE": f"complete_{shell}"}
    done = run(COMMAND, env={**cli_environment, **asked})
    assert "quantize" in done.stdout


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")
def test_the_script_works_in_a_bash(tmp_path, cli_environment):
    """`eval "$(_BUDGETC_COMPLETE=source_bash budgetc)"`, and a word is completed by what it defines."""
    program = tmp_path / "budgetc"
    program.write_text(f"#!{sys.executable}\nfrom budgetc.cli.start import main\nmain()\n")
    program.chmod(0o755)
    script = """
eval "$(_BUDGETC_COMPLETE=source_bash budgetc)"
COMP_WORDS=(budgetc expl); COMP_CWORD=1
_budgetc_completion budgetc
echo "${COMPREPLY[@]}"
"""
    path = f"{tmp_path}{os.pathsep}{cli_environment['PATH']}"
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env={**cli_environment, "PATH": path},
    )
    assert done.stdout.split() == ["explain"]


@pytest.mark.parametrize(
    "line", ["budgetc comp", "budgetc compile s", "budgetc passes qua", "budgetc explain bud"]
)
def test_nothing_large_is_imported(line, cli_environment, tmp_path):
    (tmp_path / "spec.yaml").touch()
    program = (
        "import atexit, json, sys; atexit.register(lambda: print(json.dumps(sorted(sys.modules))));"
        "sys.argv[0] = 'budgetc'; from budgetc.cli.start import main; main()"
    )
    asked = {
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
        "_BUDGETC_COMPLETE": "complete_bash",
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**cli_environment, **asked},
    )
    first, *_, last = done.stdout.splitlines()
    assert Path(first).name
    assert not HEAVY & set(json.loads(last))
