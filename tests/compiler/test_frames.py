"""Frames of functions compiled for the purpose, held against what is known to lie on their stack."""

from pathlib import Path

import pytest
from budgetc.emit.frames import deepest_frame
from budgetc.emit.link import compile_source
from budgetc.emit.zig import Zig

SOURCE = """
void take(char *bytes);
void small(void) {{ char bytes[16]; take(bytes); }}
void large(void) {{ char bytes[{size}]; take(bytes); }}
int leaf(int i) {{ return i + 1; }}
"""


@pytest.mark.parametrize("arch", ["x86_64", "aarch64", "riscv64", "arm"])
@pytest.mark.parametrize("size", [100, 1000, 4000, 10000, 100000])
def test_the_largest_frame_is_found(arch, size, sheet, zig_cache, tmp_path: Path) -> None:
    (tmp_path / "frames.c").write_text(SOURCE.format(size=size))
    made = tmp_path / "frames.o"
    compile_source(tmp_path / "frames.c", made, sheet(arch), Zig(zig_cache / "zig"))
    data = made.read_bytes()
    assert size <= deepest_frame(data) <= size + 96
    assert 16 <= deepest_frame(data, {"small"}) <= 64
    assert deepest_frame(data, {"leaf"}) <= 16
    assert deepest_frame(data, {"nothing"}) == 0


@pytest.mark.parametrize("cpu", ["cortex_m4", "cortex_m0plus"])
@pytest.mark.parametrize("size", [100, 1000, 4000, 100000])
def test_frames_of_thumb_code(cpu, size, sheet, zig_cache, tmp_path: Path) -> None:
    (tmp_path / "frames.c").write_text(SOURCE.format(size=size))
    made = tmp_path / "frames.o"
    bare = {"zig_target": "thumb-freestanding-eabi", "zig_cpu": cpu}
    core = sheet("arm").model_copy(update=bare)
    compile_source(tmp_path / "frames.c", made, core, Zig(zig_cache / "zig"))
    data = made.read_bytes()
    assert size <= deepest_frame(data) <= size + 96
    assert 16 <= deepest_frame(data, {"small"}) <= 64
    assert deepest_frame(data, {"leaf"}) <= 16


def test_what_is_no_elf_has_no_frames() -> None:
    assert deepest_frame(b"\0asm\1\0\0\0") == 0
