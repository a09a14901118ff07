"""Units: what is read, what is refused and why, and that what is written can be read again."""

from collections.abc import Callable

import pytest
from budgetc_specs.errors import Refusal
from budgetc_specs.units import (
    format_amount,
    format_bytes,
    format_percent,
    format_points,
    format_seconds,
    parse_bytes,
    parse_percent,
    parse_points,
    parse_seconds,
)
from hypothesis import given
from hypothesis import strategies as st

SIZE = 'a size is a number with a unit, such as "48 KiB" or "4 MB" (1 KiB = 1024 B, 1 KB = 1000 B).'
TIME = 'a time is a number with a unit, such as "10 ms" or "250 us".'
POINTS = 'a loss of quality is a number of percentage points, such as "0.5 pp".'
PERCENT = 'a growth is a number of percent, such as "2 %".'


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("48 KiB", 49152),
        ("4 MB", 4_000_000),
        ("4 MiB", 4_194_304),
        ("1KB", 1000),
        ("1 kB", 1000),
        (" 7  B ", 7),
        ("0.5 KiB", 512),
        ("1.3 MiB", 1_363_148),
        ("0.1 GB", 100_000_000),
        ("2 GiB", 2**31),
    ],
)
def test_bytes(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("200 us", 200e-6),
        ("200 µs", 200e-6),
        ("200 μs", 200e-6),
        ("10 ms", 0.01),
        ("2 s", 2.0),
        ("10 min", 600.0),
        ("1.5 h", 5400.0),
        ("5 ns", 5e-9),
    ],
)
def test_seconds(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


def test_points() -> None:
    assert parse_points("0.5 pp") == 0.005
    assert parse_points("0 pp") == 0
    assert parse_points("100 pp") == 1


def test_percent() -> None:
    assert parse_percent("2 %") == 0.02
    assert parse_percent("0%") == 0
    assert parse_percent("150 %") == 1.5
    assert (format_percent(0.025), format_percent(1 / 3)) == ("2.5 %", "33.3 %")
    assert parse_percent(format_percent(1 / 3, exact=True)) == 1 / 3


@pytest.mark.parametrize(
    ("parse", "value", "message", "repair"),
    [
        (parse_bytes, 10, '"10" has no unit', SIZE),
        (parse_bytes, "10", '"10" has no unit', SIZE),
        (parse_bytes, "", '"" is not a size', SIZE),
        (parse_bytes, True, '"true" is not a size', SIZE),
        (parse_bytes, [1], "a list is not a size", SIZE),
        (parse_bytes, "ten KiB", '"ten KiB" is not a size', SIZE),
        (parse_bytes, "1e9 B", '"1e9 B" is not a size', SIZE),
        (parse_bytes, "-4 KiB", '"-4 KiB" is less than one byte', SIZE),
        (parse_bytes, "0.9 B", '"0.9 B" is less than one byte', SIZE),
        (parse_bytes, "9" * 16 + " B", '"9999999999999999 B" is not a size', SIZE),
        (parse_bytes, "8 mb", '"mb" is not a unit of size', f'did you mean "MB"?\n{SIZE}'),
        (
            parse_bytes,
            "8 furlong",
            '"furlong" is not a unit of size',
            f"the units are B, KB, KiB, MB, MiB, GB, GiB.\n{SIZE}",
        ),
        (parse_seconds, 0.5, '"0.5" has no unit', TIME),
        (parse_seconds, "0 ms", '"0 ms" is not above zero', TIME),
        (
            parse_seconds,
            "5 KiB",
            '"KiB" is not a unit of time',
            f"the units are ns, us, ms, s, min, h.\n{TIME}",
        ),
        (parse_seconds, "1 mins", '"mins" is not a unit of time', f'did you mean "min"?\n{TIME}'),
        (
            parse_points,
            "0.5 %",
            '"%" is not a unit of quality',
            f"the units are pp.\n{POINTS}",
        ),
        (parse_percent, "2 pp", '"pp" is not a unit of growth', f"the units are %.\n{PERCENT}"),
        (parse_percent, 2, '"2" has no unit', PERCENT),
        (parse_percent, "-1 %", '"-1 %" is below zero', PERCENT),
        (parse_points, 0.5, '"0.5" has no unit', POINTS),
        (parse_points, "-1 pp", '"-1 pp" is not between 0 and 100 percentage points', POINTS),
        (parse_points, "101 pp", '"101 pp" is not between 0 and 100 percentage points', POINTS),
    ],
)
def test_refusals(
    parse: Callable[[object], float], value: object, message: str, repair: str
) -> None:
    with pytest.raises(Refusal) as caught:
        parse(value)
    assert (caught.value.message, caught.value.repair) == (message, repair)


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (49152, "48 KiB"), (63_270, "61.8 KiB"), (3 * 2**30, "3 GiB")],
)
def test_bytes_for_people(count: int, text: str) -> None:
    assert format_bytes(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (2e-10, "0.2 ns"),
        (1.5e-8, "15 ns"),
        (0.0002, "200 us"),
        (0.00125, "1.25 ms"),
        (0.0123456, "12.3 ms"),
        (59.0, "59 s"),
        (600.0, "10 min"),
        (7200.0, "2 h"),
        (7201.0, "7201 s"),
    ],
)
def test_seconds_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text


def test_points_for_people() -> None:
    assert format_points(0.005) == "0.5 pp"
    assert format_points(-0.0123456) == "-1.23 pp"
    assert format_points(0) == "0 pp"


@given(st.integers(1, 10**14))
def test_exact_bytes_are_read_back(count: int) -> None:
    assert parse_bytes(format_bytes(count, exact=True)) == count


@given(st.floats(1e-9, 1e9))
def test_exact_seconds_are_read_back(seconds: float) -> None:
    assert parse_seconds(format_seconds(seconds, exact=True)) == seconds


@given(st.floats(1e-9, 1))
def test_exact_points_are_read_back(fraction: float) -> None:
    assert parse_points(format_points(fraction, exact=True)) == fraction


def test_exact_text_is_short_where_a_short_one_will_do() -> None:
    assert format_seconds(0.0002, exact=True) == "200 us"
    assert format_seconds(600.0, exact=True) == "10 min"
    assert format_bytes(63_270, exact=True) == "63270 B"
    assert format_points(0.005, exact=True) == "0.5 pp"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (48 * 1024, "bytes", "48 KiB"),
        (200e-6, "seconds", "200 us"),
        (0.005, "fraction", "0.5 pp"),
        (0.97654, "metric", "0.9765"),
        (0.23456, "x onnxruntime", "0.235 x"),
    ],
)
def test_a_figure_is_written_by_what_it_counts(value, unit, text):
    assert format_amount(value, unit) == text
