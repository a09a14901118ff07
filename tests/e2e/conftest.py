"""Compiling and running C programs that use an artefact, as its user would."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from budgetc.emit.zig import Zig

CompileC = Callable[..., Path]


@pytest.fixture
def compile_c(tmp_path: Path, zig_cache: Path) -> CompileC:
    """Compiles and links a program: `compile_c(source, *arguments, compiler="zig cc")`.

    A missing compiler skips the test and says so.
    """

    def compile_(source: Path, *arguments: str | Path, compiler: str = "zig cc") -> Path:
        program = tmp_path / source.stem
        rest = [str(source), *map(str, arguments), "-o", str(program)]
        if compiler.startswith("zig"):
            language = ["-x", "c++"] if compiler.endswith("++") else []
            target = ["-target", "x86_64-linux-gnu.2.17"]
            Zig(zig_cache / "zig").run("cc", *target, *_ordered(language, rest))
        elif shutil.which(compiler) is None:
            pytest.skip(f"{compiler} is not installed")
        else:
            subprocess.run([compiler, *rest], check=True)
        return program

    return compile_


def _ordered(language: Sequence[str], rest: Sequence[str]) -> list[str]:
    """`-x` is about the source alone; libraries come after its end."""
    return [*language, rest[0], "-x", "none", *rest[1:]] if language else list(rest)
