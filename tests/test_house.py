"""The rules of the house that no tool checks: every file says what it is, stays small and knows its place."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("compiler", "passes", "specs", "targets", "tests", "docs", "benchmarks", ".ci")
TEXT = {".py", ".c", ".h", ".md", ".toml", ".yaml", ".json", ".svg", ""}
PACKAGES = ("budgetc", "budgetc_passes", "budgetc_specs", "budgetc_targets")

MOST_LINES = 500
VAGUE = re.compile(r"(^|_)(utils?|common|helpers?|misc|shared)(_|$)")
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:root|home|tmp|work|opt)/\w")

# What the compiler may know of passes and targets; the rest comes through entry points.
CONTRACTS = {
    "budgetc_passes.contract",
    "budgetc_passes.offer",
    "budgetc_targets.contract",
    "budgetc_targets.expression",
    "budgetc_targets.recurrence",
    "budgetc_targets.task",
}


def texts() -> Iterator[Path]:
    """Everything people wrote, in folders and at the top."""
    for path in sorted(ROOT.iterdir()):
        if path.is_file() and path.suffix in TEXT and path.name != ".coverage":
            yield path
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            hidden = any(
                p.startswith((".", "__pycache__")) for p in path.parts[len(ROOT.parts) + 1 :]
            )
            if path.is_file() and path.suffix in TEXT and not hidden:
                yield path


def modules() -> Iterator[tuple[Path, ast.Module]]:
    """Every Python file, parsed."""
    for path in texts():
        if path.suffix == ".py":
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def sources() -> Iterator[tuple[Path, str, ast.Module]]:
    """The modules of the four packages, with their dotted names."""
    for path, tree in modules():
        parts = path.relative_to(ROOT).with_suffix("").parts[1:]
        if parts and parts[0] in PACKAGES:
            yield path, ".".join(parts).removesuffix(".__init__"), tree


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    """Every imported module, or name of a module, wherever the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node, node.module


def said(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_there_is_something_to_check() -> None:
    names = {said(path) for path in texts()}
    assert {"Makefile", ".ci/run", "README.md", "compiler/budgetc/compile.py"} <= names


def test_the_first_line_of_a_module_says_what_lives_there() -> None:
    def says(path: Path) -> bool:
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        sentence = first.removeprefix('"""').removesuffix('"""')
        return first.startswith('"""') and sentence.endswith(".") and len(sentence.split()) > 2

    assert [said(path) for path, _ in modules() if not says(path)] == []


def test_no_file_is_too_long() -> None:
    code = (path for path in texts() if path.suffix in {".py", ".c", ".h"})
    lengths = {said(path): len(path.read_bytes().splitlines()) for path in code}
    assert {name: count for name, count in lengths.items() if count > MOST_LINES} == {}


def test_no_module_is_a_drawer_for_everything() -> None:
    vague = {
        said(p) for p, _ in modules() for part in p.with_suffix("").parts if VAGUE.search(part)
    }
    assert vague == set()


def test_no_path_of_somebodys_machine() -> None:
    found = {
        f"{said(path)}:{number}"
        for path in texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if MACHINE_PATH.search(line)
    }
    assert found == set()


def test_a_package_says_one_sentence_and_exports_nothing() -> None:
    """But for `budgetc` itself, which offers the public names, each imported on first use."""
    long = [
        said(path)
        for path, name, tree in sources()
        if path.name == "__init__.py" and name != "budgetc" and len(tree.body) > 1
    ]
    assert long == []


def test_no_module_imports_its_own_package() -> None:
    found = [
        f"{said(path)}: {target}"
        for path, name, tree in sources()
        for _, target in imports(tree)
        if target == name.partition(".")[0] and path.name != "__init__.py"
    ]
    assert found == []


def test_the_compiler_knows_contracts_only() -> None:
    foreign = ("budgetc_passes", "budgetc_targets")
    found = {
        f"{said(path)}: {target}"
        for path, name, tree in sources()
        for _, target in imports(tree)
        if name.partition(".")[0] == "budgetc" and target.startswith(foreign)
        if target not in CONTRACTS
    }
    assert found == set()


def test_passes_and_specs_name_no_target() -> None:
    """A pass reads the capability sheet it is handed."""
    kinds = {'"host"', '"aarch64"', '"x86-64"'}
    found = {
        said(p) for p, n, _ in sources() if n.startswith("budgetc_passes") if kinds & quoted(p)
    }
    assert found == set()


def quoted(path: Path) -> set[str]:
    return set(re.findall(r'"[^"\n]*"', path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("module", ["budgetc.compile", "budgetc.cli.main", "budgetc_targets.host"])
def test_the_parent_process_imports_nothing_that_takes_long(module: str) -> None:
    program = f"import sys, {module}; sys.exit(bool({{'tvm', 'scipy.stats'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_torch_is_imported_where_a_pass_learns_and_nowhere_else() -> None:
    program = (
        "import sys, budgetc.compile, budgetc.optimise; from budgetc.registry import *;"
        "[find_pass(name) for name in installed(PASSES)]; find_searchable();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_the_loader_needs_numpy_only() -> None:
    program = (
        "import sys, budgetc; budgetc.load;"
        "print(*sorted({'tvm', 'onnx', 'onnxruntime', 'pydantic', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"\n"
