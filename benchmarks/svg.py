"""What SVG charts that are drawn by hand have in common: paper, font, colours."""

from collections.abc import Sequence
from html import escape

FONT = "font-family='system-ui, sans-serif' font-size='12'"
INK, PALE, GRID = "#24292f", "#57606a", "#d0d7de"


def paper(title: str, width: float, height: float, drawn: Sequence[str]) -> str:
    """A chart as text: what is drawn, on white.

    Args:
        title: what screen readers say of it.
        width: in pixels, as is the height.
        height: of it.
        drawn: elements, those behind others first.
    """
    head = (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{width:g}' height='{height:g}' "
        f"viewBox='0 0 {width:g} {height:g}' role='img' aria-label='{escape(title, quote=True)}'>"
    )
    ground = f"<rect width='{width:g}' height='{height:g}' fill='#ffffff'/>"
    return "\n".join([head, ground, *drawn, "</svg>"]) + "\n"
