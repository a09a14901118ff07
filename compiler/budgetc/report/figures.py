"""How figures and foreign texts look on the page: units, dashes where nothing is known, nothing invisible."""

from collections.abc import Sequence

from budgetc_specs.errors import printable
from budgetc_specs.units import format_amount

ABSENT = "–"
_LONGEST = 4000


def amount(value: float | None, unit: str) -> str:
    """A value of a budget's unit as people write it; a dash where there is none.

    Args:
        value: what to show.
        unit: one of `format_amount`.
    """
    return ABSENT if value is None else format_amount(value, unit)


def limit_text(value: float | None, unit: str) -> str:
    """The same for what is allowed, which names the peer that it is relative to."""
    peer = peer_name(unit.removeprefix("x ")) if unit.startswith("x ") else ""
    return f"{amount(value, unit)} {peer}".strip()


def size(value: float | None) -> str:
    """A number of bytes."""
    return amount(value, "bytes")


def time(value: float | None) -> str:
    """A number of seconds."""
    return amount(value, "seconds")


def points(value: float | None) -> str:
    """A fraction of the metric, in percentage points."""
    return amount(value, "fraction")


def interval(ends: Sequence[float | None] | None, unit: str) -> str:
    """From the low end to the high one; nothing where one of them is unknown."""
    if ends is None or None in ends:
        return ""
    return " to ".join(amount(end, unit) for end in ends)


def count(value: float | None) -> str:
    """A whole number in groups of three digits."""
    return ABSENT if value is None else f"{value:,.0f}"


def percent(value: float | None) -> str:
    """A part of one as a percentage."""
    return ABSENT if value is None else f"{100 * value:.3g} %"


def change(before: float | None, after: float | None) -> str:
    """By how much of itself a figure changed, with its sign; nothing where that says nothing."""
    if not before or after is None:
        return ""
    part = after / before - 1
    if abs(part) < 0.0005:
        return "±0 %"
    return f"{'+' if part > 0 else '−'}{100 * abs(part):.3g} %"


def share(part: float | None, whole: float | None) -> float | None:
    """How much of the whole a part is, at least 0; None where that is unknown."""
    if part is None or whole is None or whole <= 0:
        return None
    return max(0.0, part / whole)


def peer_name(name: str) -> str:
    """How a peer is called on the page."""
    known = {"onnxruntime": "onnxruntime float", "onnxruntime-int8": "onnxruntime int8"}
    return known.get(name, name)


def listed(words: Sequence[str]) -> str:
    """`size`, `size and quality`, `size, memory and quality`."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def visible(text: str, most: int = _LONGEST) -> str:
    """The text in one line with invisible characters spelled out, among them those that turn text around."""
    shown = printable(text)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def lines(text: str) -> list[str]:
    """The lines of a text that say something."""
    return [line for line in text.splitlines() if line.strip()]
