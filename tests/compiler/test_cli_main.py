"""The command line as a whole: its verbs, usage errors, and how little it imports to start."""

import json
import subprocess
import sys
from importlib.metadata import version

import pytest
from budgetc.cli.main import app
from typer.testing import CliRunner

HEAVY = {"tvm", "onnx", "onnxruntime", "numpy", "onnx_ir", "networkx"}

IMPORTED = """
import json, sys
from budgetc.cli.main import main
sys.argv = ["budgetc", *json.loads(sys.argv[1])]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("\\n" + json.dumps(sorted(sys.modules)))
"""


@pytest.mark.parametrize(
    "arguments", [["--version"], ["--help"], ["compile", "--help"], ["schema"]]
)
def test_starts_without_heavy_imports(arguments):
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, json.dumps(arguments)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert not HEAVY & set(json.loads(done.stdout.splitlines()[-1]))


def test_version(budgetc_cli):
    done = budgetc_cli("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"budgetc {version('budgetc')}\n", "")


def test_help_lists_every_verb(budgetc_cli):
    done = budgetc_cli("--help")
    verbs = ("check", "compile", "layout", "bench", "targets", "passes", "schema", "doctor")
    assert done.returncode == 0
    for verb in verbs:
        line = next(line for line in done.stdout.splitlines() if line.startswith(f"  {verb} "))
        assert line.endswith("."), "cut off in an 80-column terminal"
    assert "130\n  interrupted" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["chek"], "Did you mean 'check'"),
        (["compile"], "Missing argument 'SPEC'"),
        (["compile", "spec.yaml", "--trgt", "x"], "No such option"),
        (["bench", "folder", "--runs", "0"], "Invalid value for '--runs'"),
        ([], "Usage: budgetc"),
    ],
)
def test_usage_errors(arguments, said):
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2
    assert said in done.output
