"""zig's failures are told apart: the machine's, and ours."""

import sys
from pathlib import Path

import pytest
from budgetc.emit.zig import Zig, zig_executable
from budgetc_specs.errors import EnvironmentError_, InternalError


def test_code_that_does_not_compile_is_our_fault(tmp_path: Path, zig_cache: Path) -> None:
    (tmp_path / "bad.c").write_text("int f( {")
    with pytest.raises(InternalError, match=r"(?s)BUG: zig cc refused.*error: expected"):
        Zig(zig_cache / "zig").run("cc", "-c", "bad.c", "-o", "bad.o", cwd=tmp_path)


def test_a_cache_that_cannot_be_made_is_the_machines_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentError_, match="cannot be made"):
        Zig(tmp_path / "file" / "cache").run("version")


def test_a_command_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int a;")
    with pytest.raises(EnvironmentError_, match="took longer than"):
        Zig(tmp_path / "cache", seconds=0.001).run("cc", "-c", "a.c", cwd=tmp_path)


def test_a_missing_wheel_names_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "ziglang", None)
    with pytest.raises(EnvironmentError_, match="pip install ziglang"):
        zig_executable()


def test_caches_stay_in_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    (tmp_path / "a.c").write_text("int a;")
    Zig(tmp_path / "cache").run("cc", "-c", "a.c", "-o", "a.o", cwd=tmp_path)
    assert list(home.iterdir()) == []
    assert any((tmp_path / "cache").iterdir())
