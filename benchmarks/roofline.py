"""A roofline chart as SVG: kernels by operations per byte and operations a second, under what one core can do.

Source of the model: Williams, Waterman and Patterson 2009.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.limits import Limits
from benchmarks.svg import FONT, GRID, INK, PALE, paper

_LEFT, _TOP, _WIDTH, _HEIGHT, _RIGHT, _FOOT = 70, 50, 620, 380, 150, 50
_COLOURS = {"float": "#0969da", "bf16": "#1a7f37", "int8": "#bf3989"}


@dataclass(frozen=True)
class Point:
    """A kernel: operations for each byte that it must move, and operations a second that it reached."""

    label: str
    precision: str
    intensity: float
    speed: float


def roofline(title: str, limits: Limits, points: Sequence[Point]) -> str:
    """The chart as text; both axes are logarithmic.

    Raises:
        ValueError: there is no point to draw.
    """
    if not points:
        raise ValueError("no kernel to draw")
    roofs = {precision: limits.peak(precision) for precision in _COLOURS}
    axes = _Axes(points, max(roofs.values()))
    drawn = [f"<text x='12' y='20' {FONT} font-weight='600' fill='{INK}'>{escape(title)}</text>"]
    drawn += axes.grid()
    for precision, roof in roofs.items():
        if roof:
            drawn.append(axes.line((axes.least_x, roof), (axes.most_x, roof), _COLOURS[precision]))
            drawn.append(axes.text(axes.most_x, roof, f"{precision} peak", _COLOURS[precision]))
    top = max(roofs.values())
    for level in limits.levels:  # a slope: bytes a second times operations per byte
        corner = min(axes.most_x, top / level.read)
        drawn.append(
            axes.line(
                (axes.least_x, level.read * axes.least_x), (corner, level.read * corner), PALE
            )
        )
        start = max(axes.least_x, axes.least_y / level.read)
        drawn.append(axes.text(start * 1.15, level.read * start * 1.15, level.name, PALE))
    for point in points:
        x, y = axes.at(point.intensity, point.speed)
        drawn.append(
            f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4' fill='{_COLOURS[point.precision]}' fill-opacity='0.75'>"
            f"<title>{escape(point.label)}, {point.precision}: {point.speed / 1e9:.1f} GOPS</title></circle>"
        )
    width, height = _LEFT + _WIDTH + _RIGHT, _TOP + _HEIGHT + _FOOT
    return paper(title, width, height, drawn)


class _Axes:
    """Where numbers lie on the paper."""

    def __init__(self, points: Sequence[Point], roof: float) -> None:
        self.least_x = 10 ** math.floor(math.log10(min(p.intensity for p in points)))
        self.most_x = 10 ** math.ceil(math.log10(max(p.intensity for p in points)))
        self.least_y = 10 ** math.floor(math.log10(min(p.speed for p in points)))
        self.most_y = 10 ** math.ceil(math.log10(max(roof, *(p.speed for p in points))))

    def at(self, x: float, y: float) -> tuple[float, float]:
        across = math.log(x / self.least_x) / math.log(self.most_x / self.least_x)
        up = math.log(y / self.least_y) / math.log(self.most_y / self.least_y)
        return _LEFT + _WIDTH * across, _TOP + _HEIGHT * (1 - up)

    def line(self, start: tuple[float, float], end: tuple[float, float], colour: str) -> str:
        """A line in both logarithms; what lies below the paper is cut off."""
        if start[1] < self.least_y < end[1]:
            start = (start[0] * self.least_y / start[1], self.least_y)
        (x, y), (u, v) = self.at(*start), self.at(*end)
        return f"<line x1='{x:.1f}' y1='{y:.1f}' x2='{u:.1f}' y2='{v:.1f}' stroke='{colour}'/>"

    def text(self, x: float, y: float, words: str, colour: str) -> str:
        left, top = self.at(x, y)
        return f"<text x='{left + 6:.1f}' y='{top - 4:.1f}' {FONT} fill='{colour}'>{escape(words)}</text>"

    def grid(self) -> list[str]:
        drawn = []
        for exponent in range(round(math.log10(self.least_x)), round(math.log10(self.most_x)) + 1):
            x, _ = self.at(10.0**exponent, self.least_y)
            drawn.append(
                f"<line x1='{x:.1f}' y1='{_TOP}' x2='{x:.1f}' y2='{_TOP + _HEIGHT}' stroke='{GRID}'/>"
                f"<text x='{x:.1f}' y='{_TOP + _HEIGHT + 16}' text-anchor='middle' {FONT} fill='{PALE}'>"
                f"{10.0**exponent:g}</text>"
            )
        for exponent in range(round(math.log10(self.least_y)), round(math.log10(self.most_y)) + 1):
            _, y = self.at(self.least_x, 10.0**exponent)
            drawn.append(
                f"<line x1='{_LEFT}' y1='{y:.1f}' x2='{_LEFT + _WIDTH}' y2='{y:.1f}' stroke='{GRID}'/>"
                f"<text x='{_LEFT - 8}' y='{y + 4:.1f}' text-anchor='end' {FONT} fill='{PALE}'>"
                f"{10.0 ** (exponent - 9):g}</text>"
            )
        drawn.append(
            f"<text x='{_LEFT}' y='{_TOP + _HEIGHT + 36}' {FONT} fill='{PALE}'>"
            "operations per byte that must be moved</text>"
            f"<text x='{_LEFT}' y='{_TOP - 10}' {FONT} fill='{PALE}'>10^9 operations a second</text>"
        )
        return drawn
