"""Firmware: linked by zig alone, started on an emulated board, and what a library adds to its image."""

import subprocess
from pathlib import Path

import pytest
from budgetc.cache import cache_folder
from budgetc.emit.firmware.image import firmware_sources, image_sizes, link_firmware
from budgetc.emit.link import compile_source
from budgetc.emit.zig import Zig
from budgetc_specs.errors import InternalError
from budgetc_targets.cortex_m import CortexM
from budgetc_targets.runners.qemu_system import QemuSystem

TARGET = CortexM()
RUNNERS = {name: TARGET.runner(sheet) for name, sheet in TARGET.cpus().items()}
BOARDS = ["cortex-m4", "cortex-m7", "cortex-m55"]
WHY_NOT = RUNNERS["cortex-m4"].why_not
needs_board = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT or "runs here")

ECHO = """
#include "board.h"
static uint32_t zeros[4], ones = 1;
static volatile double half = 0.5;
int main(void) {
    uint8_t bytes[64];
    const int in = open_host("in.bin", FROM_FILE), out = open_host("out.bin", TO_FILE);
    const size_t count = read_host(in, bytes, sizeof bytes);
    for (size_t i = 0; i < count; i++)
        bytes[i] ^= 255;
    if (!write_host(out, bytes, count))
        return 1;
    close_host(out);
    return zeros[3] == 0 && ones == 1 && half * 4 == 2 && open_host("absent", FROM_FILE) < 0 ? 7 : 2;
}
"""
COUNT = """
#include "board.h"
int main(void) {
    const uint64_t start = ticks();
    for (int i = 0; i < 100; i++)
        twenty_thousand_nops();
    const uint64_t middle = ticks();
    twenty_thousand_nops();
    const uint64_t once = ticks() - middle, hundred = middle - start;
    return hundred > 99 * once && hundred < 101 * once ? 0 : 1;
}
"""
LIBRARY = """
#include <stdint.h>
const uint8_t table[1000] = {1, 2, 3};
static uint32_t counter = 5, state[32];
int reached(int x) { state[x & 31] += counter++; return table[x] + (int)state[3]; }
int forgotten(int x) { return x * 3 + 17; }
"""


def _linked(cpu: str, source: str, folder: Path) -> tuple[QemuSystem, Path]:
    runner = RUNNERS[cpu]
    assert isinstance(runner, QemuSystem)
    (folder / "test.c").write_text(source)
    sheet, program = TARGET.capability(cpu, 1), folder / "test.elf"
    zig = Zig(cache_folder() / "zig")
    link_firmware([folder / "test.c"], [], sheet, runner.memory_map, program, zig)
    return runner, program


def _run(cpu: str, source: str, folder: Path) -> int:
    runner, program = _linked(cpu, source, folder)
    command = runner.command(program)
    assert command
    ended = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, timeout=60, check=False)
    return ended.returncode


@needs_board
@pytest.mark.parametrize("cpu", BOARDS)
def test_a_firmware_reads_and_writes_files_and_ends_with_its_code(cpu: str, tmp_path: Path) -> None:
    (tmp_path / "in.bin").write_bytes(bytes(range(40)))
    assert _run(cpu, ECHO, tmp_path) == 7
    assert (tmp_path / "out.bin").read_bytes() == bytes(255 - i for i in range(40))


@needs_board
def test_ticks_go_with_instructions_beyond_the_timers_range(tmp_path: Path) -> None:
    assert _run("cortex-m4", COUNT, tmp_path) == 0


@needs_board
def test_a_fault_ends_a_firmware(tmp_path: Path) -> None:
    crash = (
        "int main(void) { return *(volatile int *)0xE0000001u + ((int (*)(void))0xF0000000u)(); }"
    )
    assert _run("cortex-m4", crash, tmp_path) == 139


def test_what_does_not_link_is_our_fault(tmp_path: Path) -> None:
    with pytest.raises(InternalError, match="undefined symbol"):
        _linked("cortex-m4", "int missing(void); int main(void) { return missing(); }", tmp_path)


def test_the_image_holds_what_the_functions_reach(tmp_path: Path) -> None:
    sheet, zig = TARGET.capability("cortex-m4", 1), Zig(cache_folder() / "zig")
    (tmp_path / "library.c").write_text(LIBRARY)
    compile_source(tmp_path / "library.c", tmp_path / "library.o", sheet, zig)
    sizes = image_sizes(tmp_path / "library.o", ["reached"], sheet, zig)
    assert 1000 <= sizes.rodata <= 1016
    assert 20 <= sizes.text <= 100
    assert sizes.data == 4
    assert 128 - 16 <= sizes.bss <= 128 + 16  # sections end at a multiple of 16
    both = image_sizes(tmp_path / "library.o", ["reached", "forgotten"], sheet, zig)
    assert both.text > sizes.text
    assert sizes.flash == sizes.text + sizes.rodata + sizes.data


def test_a_kept_firmware_depends_on_all_of_its_sources() -> None:
    assert b"SYSTICK" in firmware_sources()
    assert b"command_run" in firmware_sources()
