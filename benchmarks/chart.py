"""A bar chart of ratios as SVG, by hand: one group of bars a row, on a logarithmic axis around 1."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.svg import FONT, paper

_LABEL, _PLOT, _RIGHT = 240, 460, 70
_BAR, _GAP, _HEAD, _FOOT = 11, 9, 52, 44


@dataclass(frozen=True)
class Series:
    """Bars of one colour: a ratio for each row, None where there is none."""

    name: str
    colour: str
    values: Sequence[float | None]


def bars(title: str, rows: Sequence[str], series: Sequence[Series], axis: str) -> str:
    """The chart as text.

    Args:
        title: above it.
        rows: names of the groups.
        series: at least one, each with a value for each row, all above 0.
        axis: what the numbers are, below it.

    Raises:
        ValueError: there is nothing to draw, or a series does not fit the rows.
    """
    values = [v for s in series for v in s.values if v is not None]
    if not values or any(len(s.values) != len(rows) for s in series):
        raise ValueError("nothing to draw, or a series that does not fit the rows")
    low, high = _bounds(values)
    group = _BAR * len(series) + _GAP
    bottom = _HEAD + group * len(rows)
    width, height = _LABEL + _PLOT + _RIGHT, bottom + _FOOT

    def at(value: float) -> float:
        return _LABEL + _PLOT * (math.log(value / low) / math.log(high / low))

    drawn = [f"<text x='12' y='20' {FONT} font-weight='600' fill='#24292f'>{escape(title)}</text>"]
    left = 12.0
    for each in series:
        drawn.append(_box(left, 30, 10, 10, each.colour))
        drawn.append(
            f"<text x='{left + 15:.0f}' y='39' {FONT} fill='#57606a'>{escape(each.name)}</text>"
        )
        left += 40 + 6.5 * len(each.name)
    for tick in _ticks(low, high):
        x, strong = at(tick), tick == 1
        stroke = "#24292f" if strong else "#d0d7de"
        drawn.append(
            f"<line x1='{x:.1f}' y1='{_HEAD}' x2='{x:.1f}' y2='{bottom}' stroke='{stroke}'/>"
        )
        drawn.append(
            f"<text x='{x:.1f}' y='{bottom + 16}' text-anchor='middle' {FONT} fill='#57606a'>{tick:g}</text>"
        )
    for index, row in enumerate(rows):
        top = _HEAD + group * index + _GAP / 2
        middle = top + _BAR * len(series) / 2 + 4
        drawn.append(
            f"<text x='{_LABEL - 8}' y='{middle:.1f}' text-anchor='end' {FONT} fill='#24292f'>{escape(row)}</text>"
        )
        for place, each in enumerate(series):
            value = each.values[index]
            if value is None:
                continue
            start, end = sorted((at(1), at(value)))
            y = top + _BAR * place
            drawn.append(_box(start, y, end - start, _BAR - 1, each.colour))
            drawn.append(
                f"<text x='{end + 4:.1f}' y='{y + _BAR - 2:.1f}' {FONT.replace('12', '10')} fill='#57606a'>"
                f"{value:.2f}</text>"
            )
    drawn.append(
        f"<text x='{_LABEL}' y='{bottom + 34}' {FONT} fill='#57606a'>{escape(axis)}</text>"
    )
    return paper(title, width, height, drawn)


def _box(x: float, y: float, width: float, height: float, colour: str) -> str:
    return (
        f"<rect x='{x:.1f}' y='{y:.1f}' width='{width:.1f}' height='{height:.1f}' fill='{colour}'/>"
    )


def _bounds(values: Sequence[float]) -> tuple[float, float]:
    """The axis: from a bit below the least to a bit above the greatest, always with some of both sides of 1."""
    return min(0.8, min(values) * 0.9), max(1.25, max(values) * 1.1)


def _ticks(low: float, high: float) -> list[float]:
    steps = [m * 10.0**e for e in range(-4, 5) for m in (1, 1.5, 2, 3, 5, 7)]
    return [s for s in steps if low <= s <= high]
