"""The capability sheet: complete, frozen, and its derived figures."""

import pytest
from budgetc_specs.capability import Capability
from pydantic import ValidationError

SHEET = Capability(
    target="x86-64",
    arch="x86_64",
    cpu="x86-64-v3",
    llvm_triple="x86_64-linux-gnu",
    zig_target="x86_64-linux-gnu.2.17",
    vector_bytes=32,
    vector_registers=16,
    int8_dot="maddubs256",
    weight_bits=7,
    native=True,
)


def test_a_channel_block_fills_a_vector_of_32_bit_lanes() -> None:
    assert SHEET.channel_block == 8


def test_a_sheet_goes_to_json_and_back() -> None:
    assert Capability.model_validate_json(SHEET.model_dump_json()) == SHEET


def test_a_sheet_cannot_be_changed_or_extended() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        SHEET.threads = 2
    with pytest.raises(ValidationError, match="Extra inputs"):
        Capability.model_validate({**SHEET.model_dump(), "gpu": True})
