"""Quality against size as SVG, by hand: a mark for each point, and strategies as ways from mark to mark."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmarks.svg import FONT, GRID, INK, PALE, paper

_LEFT, _WIDTH, _RIGHT = 64, 620, 24
_TOP, _HEIGHT, _FOOT = 40, 360, 52
_LINE = 18
_COLOURS = ("#0969da", "#bc4c00", "#1a7f37")
_BESIDE = (-7, 16, 4)
"""Numbers of stops beside their marks, those of each move elsewhere: moves meet."""

_ROOM = 0.06


@dataclass(frozen=True)
class Point:
    """A mark.

    Attributes:
        size: bytes.
        quality: a share, 0 to 1.
        label: what is said where somebody points at it.
        filled: filled marks and hollow ones.
        square: squares and circles.
        small: small marks and large ones.
    """

    size: float
    quality: float
    label: str
    filled: bool = True
    square: bool = False
    small: bool = False


@dataclass(frozen=True)
class Move:
    """A way through the points: its name, what each stop is called, and where it is."""

    name: str
    stops: Sequence[tuple[str, Point]]


def ladder(title: str, points: Sequence[Point], moves: Sequence[Move], keys: Sequence[str]) -> str:
    """The chart as text; sizes are on a logarithmic axis.

    Args:
        title: above it.
        points: at least one, of sizes above 0.
        moves: at most three.
        keys: what marks mean, a line each, below it.

    Raises:
        ValueError: there is nothing to draw, or there are more moves than colours.
    """
    if not points or len(moves) > len(_COLOURS):
        message = (
            f"{len(points)} points and {len(moves)} moves; at least one, at most {len(_COLOURS)}"
        )
        raise ValueError(message)
    axes = _Axes(points)
    drawn = [_text(12, 22, title, INK, "start", " font-weight='600'"), *axes.grid()]
    for colour, beside, move in zip(_COLOURS, _BESIDE, moves, strict=False):
        places = [axes.at(point.size, point.quality) for _, point in move.stops]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        drawn.append(
            f"<polyline points='{path}' fill='none' stroke='{colour}' stroke-width='2' stroke-opacity='0.8'/>"
        )
        for number, (x, y) in enumerate(places, 1):
            drawn.append(
                _text(x + 9, y + beside, str(number), colour, "start", " font-weight='600'")
            )
    drawn += [_mark(point, *axes.at(point.size, point.quality)) for point in points]
    bottom = _TOP + _HEIGHT + _FOOT
    for colour, move in zip(_COLOURS, moves, strict=False):
        stops = ", ".join(f"{number} {name}" for number, (name, _) in enumerate(move.stops, 1))
        drawn.append(_text(_LEFT, bottom, f"{move.name}: {stops}", colour, "start"))
        bottom += _LINE
    for key in keys:
        drawn.append(_text(_LEFT, bottom, key, PALE, "start"))
        bottom += _LINE
    return paper(title, _LEFT + _WIDTH + _RIGHT, bottom, drawn)


class _Axes:
    """Where bytes and shares lie."""

    def __init__(self, points: Sequence[Point]) -> None:
        sizes = [point.size for point in points]
        self._least, self._most = min(sizes) * 0.8, max(sizes) * 1.25
        low, high = (f(point.quality for point in points) for f in (min, max))
        room = max(high - low, 0.01) * _ROOM
        self._low, self._high = low - room, high + room

    def at(self, size: float, quality: float) -> tuple[float, float]:
        across = math.log(size / self._least) / math.log(self._most / self._least)
        up = (quality - self._low) / (self._high - self._low)
        return _LEFT + _WIDTH * across, _TOP + _HEIGHT * (1 - up)

    def grid(self) -> list[str]:
        """Lines at round numbers, with what they stand for."""
        drawn = []
        for size in (m * 10**e for e in range(10) for m in (1, 2, 5)):
            if self._least <= size <= self._most:
                x, _ = self.at(size, self._low)
                drawn.append(_line((x, _TOP), (x, _TOP + _HEIGHT)))
                drawn.append(_text(x, _TOP + _HEIGHT + 16, f"{size / 1000:g}", PALE, "middle"))
        step = next(
            s for s in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2) if (self._high - self._low) / s <= 8
        )
        for number in range(math.ceil(self._low / step), math.floor(self._high / step) + 1):
            _, y = self.at(self._least, number * step)
            drawn.append(_line((_LEFT, y), (_LEFT + _WIDTH, y)))
            drawn.append(_text(_LEFT - 8, y + 4, f"{number * step:g}", PALE, "end"))
        axis = "top-1 (up) against kB of weights (right)"
        return [*drawn, _text(_LEFT, _TOP + _HEIGHT + 34, axis, PALE, "start")]


def _mark(point: Point, x: float, y: float) -> str:
    size = 3.5 if point.small else 5.5
    paint = f"fill='{INK if point.filled else '#ffffff'}' stroke='{INK}' stroke-width='1.5'"
    title = f"<title>{escape(point.label)}</title>"
    if point.square:
        box = f"x='{x - size:.1f}' y='{y - size:.1f}' width='{2 * size:g}' height='{2 * size:g}'"
        return f"<rect {box} {paint}>{title}</rect>"
    return f"<circle cx='{x:.1f}' cy='{y:.1f}' r='{size:g}' {paint}>{title}</circle>"


def _line(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x, y), (u, v) = start, end
    return f"<line x1='{x:.1f}' y1='{y:.1f}' x2='{u:.1f}' y2='{v:.1f}' stroke='{GRID}'/>"


def _text(x: float, y: float, words: str, colour: str, anchor: str, more: str = "") -> str:
    place = f"x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'"
    return f"<text {place} {FONT}{more} fill='{colour}'>{escape(words)}</text>"
