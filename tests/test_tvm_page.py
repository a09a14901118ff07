"""What docs/tvm.md says of TVM as a package, and that it lists every trap with a test and no other."""

import re
import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_page_names_every_trap() -> None:
    page = (ROOT / "docs" / "tvm.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    files = [each for name in ("tvm", "rpc") for each in (ROOT / "tests").glob(f"test_{name}_*.py")]
    tests = [path.read_text(encoding="utf-8") for path in files]
    ours = {name for text in tests for name in re.findall(r"^def test_(\w+)\(", text, re.MULTILINE)}
    assert named == ours - {"the_page_names_every_trap"}


def test_tvm_lets_any_later_ffi_in() -> None:
    (needed,) = (r for r in requires("apache-tvm") or () if r.startswith("apache-tvm-ffi"))
    assert not re.search(r"==|<|~=", needed), "the pin of apache-tvm-ffi in pyproject.toml can go"


def test_importing_tvm_imports_torch() -> None:
    pytest.importorskip("torch")
    script = "import sys, tvm; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout == b"True\n", "the finder in compiler/budgetc/child.py can go"
