"""Sheets as files: what is said, what another CPU says, and what is wrong, with its line."""

from pathlib import Path

import pytest
from budgetc_specs.capability import Capability
from budgetc_specs.document import load_sheet
from budgetc_specs.errors import SpecError
from budgetc_specs.sheet import Sheet
from budgetc_specs.toml_text import toml_text

PLAIN = """like = "cortex-m4"
features = ["+dsp"]
l1 = "16 KiB"
l2 = "none"
[machine]
name = "mps2-an500"
rom = 0x10000000
rom_size = "4 MiB"
ram = 0x20000000
ram_size = "128 KiB"
"""


def _load(text: str, folder: Path) -> Sheet:
    (folder / "cpu.toml").write_text(text)
    return load_sheet(folder / "cpu.toml")


def test_what_is_said_becomes_fields_of_the_capability_sheet(tmp_path: Path) -> None:
    sheet = _load(PLAIN, tmp_path)
    assert sheet.fields() == {"llvm_features": ("+dsp",), "l1_bytes": 16 * 1024, "l2_bytes": 0}
    assert sheet.machine
    assert (sheet.machine.rom, sheet.machine.ram_size) == (0x1000_0000, 128 * 1024)


def test_the_rest_is_the_other_ones_but_for_its_machine(tmp_path: Path) -> None:
    sheet = _load(PLAIN, tmp_path)
    other = Sheet(cpu="cortex-m4", l1=4096, weight_bits=8)
    made = sheet.over(other)
    assert (made.cpu, made.l1, made.weight_bits, made.like) == ("cortex-m4", 16 * 1024, 8, None)
    assert made.machine == sheet.machine
    assert Sheet(cpu="cortex-m7").over(sheet).machine == sheet.machine


def test_everything_wrong_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        _load('vector_bytes = "wide"\nint8_dot = "sdot127"\ncolour = "red"\n', tmp_path)
    assert [d.line for d in caught.value.diagnostics] == [1, 2, 3]


def test_a_sheet_is_read_back_from_its_text(tmp_path: Path, sheet) -> None:  # type: ignore[no-untyped-def]
    capability: Capability = sheet("x86_64", 1)
    written = Sheet.of(capability)
    assert _load(toml_text(written), tmp_path) == written
    made = Capability(target=capability.target, native=capability.native, **written.fields())
    assert made == capability
