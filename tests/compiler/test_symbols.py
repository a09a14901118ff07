"""The ELF reader agrees with what was compiled, with binutils where there are any, and refuses what is no ELF."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from budgetc.emit.relocatable import localise
from budgetc.emit.symbols import check_symbols, exported_symbols, section_sizes, undefined_symbols
from budgetc.emit.zig import Zig
from budgetc_specs.errors import InternalError

SOURCE = """
const char table[100] = {1};
int counter = 7;
char buffer[2000];
extern int outside(int);
static int inner(int a) { return outside(a) + table[a & 63]; }
int visible(int a) { buffer[a & 1023] = 1; return inner(a) + counter; }
__attribute__((visibility("hidden"))) int hidden(int a) { return a; }
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory, zig_cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("symbols")
    (folder / "a.c").write_text(SOURCE)
    (folder / "b.c").write_text("int outside(int a) { return a; }")
    zig = Zig(zig_cache / "zig")
    for name in ("a", "b"):
        flags = ("-target", "x86_64-linux-gnu.2.17", "-O2", "-g0", "-fPIC")
        zig.run("cc", *flags, "-c", f"{name}.c", "-o", f"{name}.o", cwd=folder)
    zig.run("ar", "rcsD", "both.a", "a.o", "b.o", cwd=folder)
    zig.run("ar", "rcsD", "odd.a", "a.o", cwd=folder)
    return folder


def test_an_object_offers_and_asks(compiled: Path) -> None:
    assert exported_symbols(compiled / "a.o") == {"table", "counter", "buffer", "visible"}
    assert undefined_symbols(compiled / "a.o") - {"_GLOBAL_OFFSET_TABLE_"} == {"outside"}


def test_members_of_an_archive_serve_each_other(compiled: Path) -> None:
    assert undefined_symbols(compiled / "both.a") - {"_GLOBAL_OFFSET_TABLE_"} == set()
    assert "outside" in exported_symbols(compiled / "both.a")


def test_sizes_are_told_apart(compiled: Path) -> None:
    sizes = section_sizes(compiled / "a.o")
    assert sizes.rodata == 100
    assert sizes.data == 4
    assert sizes.bss == 2000
    assert sizes.text > 0
    assert sizes.flash == sizes.text + 104
    assert sizes.static_ram == 2004


@pytest.mark.skipif(shutil.which("nm") is None, reason="binutils are not installed")
@pytest.mark.parametrize("arch", ["x86_64", "aarch64", "riscv64", "arm"])
def test_nm_agrees(arch: str, build_toy: Callable[..., Any]) -> None:
    toy = build_toy(f"agreed_{arch}", arch=arch, threads=2)

    def nm(option: str) -> set[str]:
        command = ["nm", "-D", option, "--format=posix", str(toy.library)]
        lines = subprocess.run(
            command, capture_output=True, text=True, check=True
        ).stdout.splitlines()
        return {line.split()[0].partition("@")[0] for line in lines}

    assert undefined_symbols(toy.library) == nm("--undefined-only")
    assert exported_symbols(toy.library) == nm("--defined-only")


def test_the_check_names_what_is_wrong(compiled: Path) -> None:
    with pytest.raises(InternalError, match=r"a\.o needs .*outside"):
        check_symbols(compiled / "a.o", ["visible"])
    with pytest.raises(InternalError, match=r"b\.o exports outside instead of other"):
        check_symbols(compiled / "b.o", ["other"])
    check_symbols(compiled / "b.o", ["outside"])


def test_localised_objects_still_link_and_run(
    compiled: Path, tmp_path: Path, zig_cache: Path
) -> None:
    data = localise((compiled / "a.o").read_bytes(), ["visible"])
    (tmp_path / "a.o").write_bytes(data)
    assert exported_symbols(tmp_path / "a.o") == {"visible"}
    (tmp_path / "main.c").write_text(
        "int visible(int); int table, counter = 1;\n"
        "int main(void) { return visible(5) != 12 || visible(0) != 8 || table || counter != 1; }"
    )
    command = ("main.c", "a.o", compiled / "b.o", "-o", "main")
    Zig(zig_cache / "zig").run("cc", "-target", "x86_64-linux-gnu.2.17", *command, cwd=tmp_path)
    assert subprocess.run([tmp_path / "main"], check=False).returncode == 0


def test_an_api_that_is_not_there_is_our_fault(compiled: Path) -> None:
    with pytest.raises(InternalError, match="does not define missing"):
        localise((compiled / "a.o").read_bytes(), ["missing"])


@pytest.mark.parametrize("cut", [0, 4, 40, 300])
def test_what_is_no_elf_is_refused(cut: int, compiled: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.o").write_bytes((compiled / "a.o").read_bytes()[:cut])
    with pytest.raises(InternalError, match="BUG"):
        section_sizes(tmp_path / "cut.o")


@pytest.fixture(scope="module")
def module(tmp_path_factory: pytest.TempPathFactory, zig_cache: Path) -> Path:
    folder = tmp_path_factory.mktemp("wasm")
    (folder / "a.c").write_text(
        '__attribute__((import_module("env"), import_name("outside"))) extern int outside(int);\n'
        "static const char table[100] = {1};\n"
        '__attribute__((export_name("visible"))) int visible(int a) '
        "{ return outside(a) + table[a & 63]; }\n"
    )
    flags = ("-target", "wasm32-freestanding", "-O2", "-g0", "-nostdlib", "-Wl,--no-entry", "-s")
    Zig(zig_cache / "zig").run("cc", *flags, "a.c", "-o", "a.wasm", cwd=folder)
    return folder / "a.wasm"


def test_a_module_of_webassembly_offers_and_asks(module: Path) -> None:
    assert undefined_symbols(module) == {"env.outside"}
    assert exported_symbols(module) == {"memory", "visible"}
    sizes = section_sizes(module)
    assert sizes.text > 0
    assert 1 <= sizes.static_ram <= 110
    assert sizes.flash == sizes.text + sizes.data


@pytest.mark.parametrize("cut", [6, 9, 30])
def test_a_module_that_is_cut_short_is_refused(cut: int, module: Path, tmp_path: Path) -> None:
    (tmp_path / "cut.wasm").write_bytes(module.read_bytes()[:cut])
    with pytest.raises(InternalError, match="BUG"):
        section_sizes(tmp_path / "cut.wasm")
