"""Numbers with units: bytes, durations and percentage points, from text and back."""

import re
from collections.abc import Mapping
from decimal import Decimal, localcontext
from fractions import Fraction

from budgetc_specs.errors import Refusal, did_you_mean, quoted

BYTES: Mapping[str, int] = {
    "B": 1,
    "KB": 10**3,
    "KiB": 2**10,
    "MB": 10**6,
    "MiB": 2**20,
    "GB": 10**9,
    "GiB": 2**30,
}
"""Units of size, in bytes."""

SECONDS: Mapping[str, Fraction] = {
    "ns": Fraction(1, 10**9),
    "us": Fraction(1, 10**6),
    "ms": Fraction(1, 10**3),
    "s": Fraction(1),
    "min": Fraction(60),
    "h": Fraction(3600),
}
"""Units of time, in seconds."""

_SYNONYMS = {"kB": "KB", "µs": "us", "μs": "us"}  # SI writes kB; micro sign and Greek mu look alike

# The digits are bounded, so that no text can ask for a number of a million digits.
NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,30})?"
_QUANTITY = re.compile(rf"([+-]?{NUMBER})\s*([^\W\d_]*|%)")

SIZE_HELP = (
    'a size is a number with a unit, such as "48 KiB" or "4 MB" (1 KiB = 1024 B, 1 KB = 1000 B).'
)
DURATION_HELP = 'a time is a number with a unit, such as "10 ms" or "250 us".'
POINTS_HELP = 'a loss of quality is a number of percentage points, such as "0.5 pp".'
PERCENT_HELP = 'a growth is a number of percent, such as "2 %".'


def parse_bytes(value: object) -> int:
    """A size in bytes from text such as `48 KiB`; a fraction of a byte is dropped.

    Raises:
        Refusal: the text is no size, has no unit, or is less than one byte.
    """
    units = {unit: Fraction(count) for unit, count in BYTES.items()}
    count = int(_quantity(value, units, "size", SIZE_HELP))
    if count < 1:
        raise Refusal(f"{quoted(value)} is less than one byte", SIZE_HELP)
    return count


def parse_seconds(value: object) -> float:
    """A duration in seconds from text such as `200 us`.

    Raises:
        Refusal: the text is no duration, has no unit, or is not above zero.
    """
    seconds = float(_quantity(value, SECONDS, "time", DURATION_HELP))
    if seconds <= 0:
        raise Refusal(f"{quoted(value)} is not above zero", DURATION_HELP)
    return seconds


def parse_points(value: object) -> float:
    """Percentage points as a fraction: `0.5 pp` is 0.005.

    Raises:
        Refusal: the text is no number of percentage points between 0 and 100.
    """
    fraction = _quantity(value, {"pp": Fraction(1, 100)}, "quality", POINTS_HELP)
    if not 0 <= fraction <= 1:
        raise Refusal(f"{quoted(value)} is not between 0 and 100 percentage points", POINTS_HELP)
    return float(fraction)


def parse_percent(value: object) -> float:
    """A growth as a fraction: `2 %` is 0.02.

    Raises:
        Refusal: the text is no number of percent from 0 on.
    """
    fraction = _quantity(value, {"%": Fraction(1, 100)}, "growth", PERCENT_HELP)
    if fraction < 0:
        raise Refusal(f"{quoted(value)} is below zero", PERCENT_HELP)
    return float(fraction)


def format_bytes(count: int, *, exact: bool = False) -> str:
    """A size for people: `48 KiB`, `61.8 KiB`; with `exact`, text that parses back to it."""
    units = ("GiB", "MiB", "KiB", "B")
    unit = next((unit for unit in units if abs(count) >= BYTES[unit]), "B")
    if count % BYTES[unit] == 0:
        return f"{count // BYTES[unit]} {unit}"
    return f"{count} B" if exact else f"{count / BYTES[unit]:.1f} {unit}"


def format_seconds(seconds: float, *, exact: bool = False) -> str:
    """A time for people: `200 us`, `1.25 ms`; with `exact`, text that parses back to it."""
    whole = [
        u for u in ("h", "min") if seconds >= SECONDS[u] and Fraction(seconds) % SECONDS[u] == 0
    ]
    fitting = [u for u in ("s", "ms", "us", "ns") if abs(seconds) >= SECONDS[u]]
    unit = next(iter(whole + fitting), "ns" if seconds else "s")
    if exact:
        return f"{_exact(Fraction(seconds) / SECONDS[unit], SECONDS[unit])} {unit}"
    return f"{_short(seconds / float(SECONDS[unit]))} {unit}"


def format_points(fraction: float, *, exact: bool = False) -> str:
    """A fraction as percentage points: `0.5 pp`; with `exact`, text that parses back to it."""
    if exact:
        return f"{_exact(Fraction(fraction) * 100, Fraction(1, 100))} pp"
    return f"{_short(fraction * 100)} pp"


def format_percent(fraction: float, *, exact: bool = False) -> str:
    """A fraction as percent: `2 %`; with `exact`, text that parses back to it."""
    if exact:
        return f"{_exact(Fraction(fraction) * 100, Fraction(1, 100))} %"
    return f"{_short(fraction * 100)} %"


def format_amount(value: float, unit: str) -> str:
    """A figure for people, by what it counts.

    Args:
        value: the figure.
        unit: `bytes`, `seconds`, `fraction` (of a metric), `metric`, or `x PEER` for multiples of a peer.
    """
    if unit == "bytes":
        return format_bytes(round(value))
    if unit == "seconds":
        return format_seconds(value)
    if unit == "fraction":
        return format_points(value)
    return f"{value:.3g} x" if unit.startswith("x ") else f"{value:.4g}"


def _quantity(value: object, units: Mapping[str, Fraction], what: str, help_: str) -> Fraction:
    """The number in the text times its unit, exactly."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise Refusal(f"{quoted(value)} has no unit", help_)
    match = _QUANTITY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise Refusal(f"{quoted(value)} is not a {what}", help_)
    number, unit = match.groups()
    if not unit:
        raise Refusal(f"{quoted(value)} has no unit", help_)
    factor = units.get(_SYNONYMS.get(unit, unit))
    if factor is None:
        hint = did_you_mean(unit, units) or f"the units are {', '.join(units)}."
        raise Refusal(f"{quoted(unit)} is not a unit of {what}", f"{hint}\n{help_}")
    return Fraction(number) * factor


def _exact(value: Fraction, factor: Fraction) -> str:
    """The shortest decimal of the value that, times the factor, gives the same double again."""
    for digits in range(1, 18):
        with localcontext(prec=digits):
            text = f"{Decimal(value.numerator) / Decimal(value.denominator):f}"
        if float(Fraction(text) * factor) == float(value * factor):
            break
    return text


def _short(value: float) -> str:
    """Three significant digits, or all of them before the point; no trailing zeros."""
    if abs(value) < 1:
        return f"{value:.3g}"
    text = f"{value:.{max(0, 3 - len(str(int(abs(value)))))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
