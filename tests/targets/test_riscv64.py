"""64-bit RISC-V: the sheets, what a machine says of itself, and the instructions that kernels are made of."""

from pathlib import Path

import pytest
from budgetc_targets import riscv64
from budgetc_targets.riscv64 import RiscV64, best_cpu
from conftest import InChild
from kernel_runner import SCALAR, VECTOR
from probes import text_of
from windows import Window, job_of

PRODUCT = Window(channels=8, filters=16, kernel=(1, 1), out=(1, 5), weight_range=127)


def test_vectors_are_pairs_of_registers() -> None:
    assert (VECTOR.vector_bytes, VECTOR.vector_registers) == (32, 16)
    assert (SCALAR.vector_bytes, SCALAR.channel_block) == (4, 1)
    assert RiscV64().capability(None, 1).cpu == "generic-rv64"


def test_a_machine_says_whether_it_has_vectors(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor : 0\nisa\t\t: rv64imafdcv_zicsr_zvfh\n")
    assert best_cpu(info) == "rv64gcv"
    older = tmp_path / "older"
    older.write_text("processor : 0\nisa\t\t: rv64imafdc_svpbmt\n")
    assert best_cpu(older) == "rv64gc"
    assert best_cpu(tmp_path / "missing") == "rv64gc"


def test_a_native_sheet_runs_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(riscv64.platform, "machine", lambda: "riscv64")
    monkeypatch.setattr(riscv64, "best_cpu", lambda: "rv64gc")
    natives = {name for name, sheet in RiscV64().sheets.items() if sheet["native"]}
    assert natives == {"rv64gc"}
    assert RiscV64().runner(RiscV64().capability("rv64gc", 1)).name == "local"
    assert RiscV64().runner(RiscV64().capability("rv64gcv", 1)).name == "qemu-user"


def test_a_product_is_one_instruction_of_a_vector_and_a_number(
    in_child: InChild, tmp_path: Path
) -> None:
    text = in_child(text_of, job_of("vector", PRODUCT, VECTOR), tmp_path)
    words = (int.from_bytes(text[at : at + 4], "little") for at in range(0, len(text) - 3, 2))
    vwmacc_vx = sum(word & 0xFE00707F == 0xF6006057 for word in words)
    assert vwmacc_vx >= 5
