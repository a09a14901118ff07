"""Size and memory of a real library whose parts are known."""

import pytest
from budgetc.measure.memory import Memory, memory_of
from budgetc.measure.size import size_of

STATIC = """
#include <stdint.h>
static volatile float zeros[500];
static volatile float ones[300] = {1, 1, 1};
void add(const float *x, const float *w, float *y) {
    for (int i = 0; i < 60; i++)
        y[i] = x[i] + w[i] + zeros[i] + ones[i];
}
void double_plus_one(const float *x, float *y, int32_t begin, int32_t end) {
    for (int i = begin; i < end; i++)
        y[i] = 2 * x[i] + 1;
}
void add_border(const uint8_t *border, float *y) { y[0] += border[0]; }
"""


@pytest.fixture(scope="module", params=["shared", "static"])
def libraries(request, build_toy):
    """The toy library without and with 500 zeros and 300 other numbers as static data."""
    kind = request.param
    plain = build_toy(f"plain_{kind}", kind=kind).library
    return plain, build_toy(f"filled_{kind}", kind=kind, kernels=STATIC).library


def test_size_is_the_file(libraries, sheet):
    for library in libraries:
        size = size_of(library, sheet())
        assert size.deployed == len(library.read_bytes())
        assert size.rodata >= 240  # the weights: 60 floats
        assert size.text > 0
        assert size.overhead > 0
    assert 1200 <= size_of(libraries[1], sheet()).data - size_of(libraries[0], sheet()).data < 1300


def test_static_data_is_memory_and_zeros_too(libraries):
    plain, filled = (memory_of(library, 4096, stack=512) for library in libraries)
    assert 3200 <= filled.static - plain.static < 3400
    assert filled.total == 4096 + filled.static + 512
    assert memory_of(libraries[0], 4096).stack is None


def test_a_run_may_take_a_few_pages_more_and_no_more():
    pages = 8 * 4096
    assert Memory(1000, 0, 24, 1024 + pages).warning == ""
    assert Memory(1000, 0, 24, None).warning == ""
    assert Memory(1000, 0, 24, 1025 + pages).warning == (
        f"one inference was seen to take {1025 + pages} bytes, {pages + 1} more than its parts "
        "add up to"
    )
