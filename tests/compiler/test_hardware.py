"""A target of a spec becomes a sheet and budgets; a board's memories are budgets that need not be written."""

import os

import pytest
from budgetc.hardware import hardware_of, remarks
from budgetc_specs.errors import SpecError
from budgetc_specs.spec import Spec

BOARD = """
summary = "A small one"
kind = "aarch64"
cpu = "cortex-a53"
cores = 2
flash = "100 KB"
ram = "20 KB"
l2 = "128 KiB"
features = ["+crc"]
"""


@pytest.fixture
def hardware(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(BOARD, encoding="utf-8")

    def resolve(for_all=None, **target):
        targets = {"it": {"board": path, **target}}
        spec = {"model": "m.onnx", "budgets": for_all or {}, "targets": targets}
        return hardware_of(Spec.model_validate(spec), "it")

    return resolve


def limits(hardware):
    size, memory = hardware.budgets.size, hardware.budgets.memory
    return size and size.max_bytes, memory and memory.max_bytes


def test_the_sheet_is_that_of_the_cpu_with_what_the_board_has(hardware):
    found = hardware(threads=2)
    assert found.kind == "aarch64"
    assert found.capability.cpu == "cortex-a53"
    assert found.capability.l2_bytes == 128 * 1024
    assert found.capability.llvm_features == ("+crc",)
    assert found.capability.threads == 2
    assert found.words == "aarch64, cortex-a53"


def test_flash_and_ram_are_budgets(hardware):
    assert limits(hardware()) == (100_000, 20_000)


def test_a_budget_for_all_targets_binds_where_it_is_narrower(hardware):
    found = hardware({"size": "50 KB", "memory": "30 KB", "latency": "1 ms"})
    assert limits(found) == (50_000, 20_000)
    assert found.budgets.latency.max == 1e-3


def test_the_targets_own_budget_counts_alone(hardware):
    assert limits(hardware(budgets={"size": "200 KB"})) == (200_000, 20_000)


def test_more_threads_than_cores(hardware):
    with pytest.raises(SpecError, match=r"targets.it.threads: 3 threads, and .* has 2 cores"):
        hardware(threads=3)


def test_without_a_board():
    spec = Spec.model_validate(
        {
            "model": "m.onnx",
            "budgets": {"size": "1 MB"},
            "targets": {"pi": {"kind": "aarch64", "budgets": {"memory": "1 KB"}}},
        }
    )
    found = hardware_of(spec, "pi")
    assert found.board is None
    assert limits(found) == (10**6, 1000)


def test_a_device_is_where_kernels_are_tuned(hardware):
    found = hardware(runner="rpc+tracker://127.0.0.1:9190/a53")
    assert found.device == "rpc+tracker://127.0.0.1:9190/a53"
    assert not found.capability.native


def test_a_firmware_runs_on_no_device():
    targets = {"it": {"kind": "cortex-m", "runner": "rpc://127.0.0.1:9090"}}
    with pytest.raises(SpecError, match="devices run programs for Linux, and cortex-m is for none"):
        hardware_of(Spec.model_validate({"model": "m.onnx", "targets": targets}), "it")


def test_threads_that_wait_for_each_other_are_said_to():
    here = len(os.sched_getaffinity(0))

    def said(**target):
        spec = {"model": "m.onnx", "targets": {"it": {"kind": "host", **target}}}
        return remarks(hardware_of(Spec.model_validate(spec), "it"))

    assert said(threads=here) == []
    (remark,) = said(threads=here + 1)
    assert remark.startswith(f"{here + 1} threads are timed on {here} processor")
    assert said(threads=here + 1, runner="ssh://pi@localhost") == []
