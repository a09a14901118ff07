"""The roofline: more work takes longer, and each of the two roofs binds in its place."""

from dataclasses import replace

import pytest
from budgetc.predict.roofline import CALL, CLOCK, HANDOVER, PIPES, roofline
from budgetc.predict.timings import Timing
from budgetc_specs.capability import Capability
from hypothesis import given
from hypothesis import strategies as st

SHEET = Capability(
    target="x",
    arch="x86_64",
    cpu="x86-64-v3",
    llvm_triple="x86_64-unknown-linux-gnu",
    zig_target="x86_64-linux-gnu",
    vector_bytes=32,
    vector_registers=16,
    int8_dot="maddubs256",
    weight_bits=7,
    native=False,
)
numbers = st.integers(0, 2**50)


def timing(work: int, moved: int, bits: int = 32, slots: int = 0) -> Timing:
    return Timing("convolution", bits, "", (), work, moved, slots, False, 1.0)


@given(numbers, numbers, numbers, numbers, numbers)
def test_more_is_never_faster(work: int, moved: int, more: int, bytes_: int, slots: int) -> None:
    less = roofline(timing(work, moved), SHEET)
    assert roofline(timing(work + more, moved + bytes_, slots=slots), SHEET) >= less >= CALL


def test_what_follows_a_product_takes_its_time_whatever_the_product_is_made_of() -> None:
    """GELU behind a small product of bytes takes longer than the product."""
    for bits in (8, 32):
        alone, with_it = (roofline(timing(10**6, 100, bits, s), SHEET) for s in (0, 10**6))
        assert with_it - alone == pytest.approx(10**6 / 8 / PIPES / CLOCK)


def test_each_roof_binds() -> None:
    assert roofline(timing(10**9, 100), SHEET) == roofline(timing(10**9, 200), SHEET)
    assert roofline(timing(100, 10**9), SHEET) == roofline(timing(200, 10**9), SHEET)


def test_bytes_multiply_faster() -> None:
    assert roofline(timing(10**9, 100, 8), SHEET) < roofline(timing(10**9, 100), SHEET)


def test_threads_share_the_work_and_cost_a_handover() -> None:
    two = SHEET.model_copy(update={"threads": 2})
    large, small = timing(10**9, 100), timing(1000, 100)
    shared = roofline(replace(large, parallel=True), two)
    assert roofline(large, two) / 2 < shared < roofline(large, two) / 1.9
    assert roofline(replace(small, parallel=True), two) > HANDOVER
