"""The table of candidates that a search renews while it goes on: budgets on top, the best below, the last ones last."""

from collections.abc import Mapping

from budgetc_specs.budgets import Relative
from budgetc_specs.units import format_bytes, format_points, format_seconds
from rich.table import Table
from rich.text import Text

from budgetc.cli.shorthand import shorthand
from budgetc.figures import Figures, Limits
from budgetc.progress import Event
from budgetc.verdict import BudgetName

ROWS = 8
"""Candidates that are shown: those that come nearest to the budgets, and of these the best first."""

_WIDTH = 56
_COLUMNS: tuple[BudgetName, ...] = ("size", "memory", "latency", "quality")


class Board:
    """Candidates of the target that is searched for."""

    def __init__(self) -> None:
        self._limits: Limits | None = None
        self._figures: dict[str, Figures] = {}
        self._built: dict[str, str] = {}

    def take(self, event: Event) -> None:
        """Note what an event says of a candidate."""
        if event.kind == "target":
            self._limits = None  # another target, another table
            self._figures.clear()
            self._built.clear()
        elif event.kind == "search":
            self._limits = event.limits
        elif event.kind in {"candidate", "built"} and event.figures is not None:
            self._figures[event.candidate] = event.figures
            if event.kind == "built":
                self._built[event.candidate] = event.text.partition(":")[0]

    def render(self) -> Table | None:
        """The table as it is now; None where there is nothing to show."""
        limits = self._limits
        if limits is None or not self._figures:
            return None
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column(Text("candidate", "bold"), no_wrap=True)
        for name in _COLUMNS:
            table.add_column(Text(name, "bold"), justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        table.add_row(
            Text("budget", "dim"), *(Text(_limit(limits, name), "dim") for name in _COLUMNS), ""
        )
        for recipe in self._best(limits):
            table.add_row(*self._row(recipe, limits))
        return table

    def _best(self, limits: Limits) -> list[str]:
        def key(recipe: str) -> tuple[bool, float, float]:
            figures = self._figures[recipe]
            worst = max(limits.excess(figures).values(), default=0.0)
            return self._built.get(recipe) != "feasible", max(worst, 0.0), figures.loss

        return sorted(self._figures, key=key)[:ROWS]

    def _row(self, recipe: str, limits: Limits) -> list[Text]:
        figures = self._figures[recipe]
        excess = limits.excess(figures)
        built = self._built.get(recipe, "")
        style = "green" if built == "feasible" else ""
        cells = [
            Text(value, "red" if excess.get(name, 0.0) > 0 else style)
            for name, value in _values(figures).items()
        ]
        state = built or "expected"
        return [Text(shorthand(recipe, _WIDTH), style), *cells, Text(state, style or "dim")]


def _values(figures: Figures) -> Mapping[BudgetName, str]:
    return {
        "size": format_bytes(figures.size),
        "memory": format_bytes(figures.memory),
        "latency": "-" if figures.latency is None else format_seconds(figures.latency),
        "quality": "-" if figures.drop is None else f"-{format_points(figures.drop)}",
    }


def _limit(limits: Limits, name: BudgetName) -> str:
    budgets = limits.budgets
    if name == "size" and budgets.size:
        return format_bytes(budgets.size.max_bytes)
    if name == "memory" and budgets.memory:
        return format_bytes(budgets.memory.max_bytes)
    if name == "latency" and budgets.latency:
        limit = budgets.latency.max
        if isinstance(limit, Relative):
            seconds = limits.seconds
            return str(limit) if seconds is None else format_seconds(seconds)
        return format_seconds(limit)
    if name == "quality" and budgets.quality:
        quality = budgets.quality
        if quality.drop is not None:
            return f"-{format_points(quality.drop)}"
        return "-" if quality.min is None else f"{quality.min:.4g}"
    return "-"
