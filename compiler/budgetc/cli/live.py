"""The progress of a compilation: one line that renews itself on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from budgetc_specs.errors import printable
from rich.console import Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from budgetc.cli.board import Board
from budgetc.cli.shorthand import shorthand
from budgetc.cli.terminal import Terminal, say
from budgetc.progress import Event, Observer, ignore

_FRAMES_PER_SECOND = 8
_TRANSIENT = frozenset({"stage", "search", "candidate"})
"""What the table and the line show for as long as it is news; all else leaves a line behind."""

_OUTCOMES = frozenset({"candidate", "built"})
_OPENING = "reading the model and the data"


@contextmanager
def observed(terminal: Terminal, search_seconds: float, *, quiet: bool) -> Iterator[Observer]:
    """Yield the observer to compile with; its display is gone when the block ends.

    Args:
        terminal: where to show it.
        search_seconds: how long the search of one target may take.
        quiet: whether to show nothing.
    """
    if quiet:
        yield ignore
    elif terminal.live:
        line, board = _Line(search_seconds), Board()

        def take(event: Event) -> None:
            line.take(event)
            board.take(event)

        def render() -> Group:
            table = board.render()
            return Group(line.render()) if table is None else Group("", table, "", line.render())

        with Live(
            console=terminal.err,
            get_renderable=render,
            refresh_per_second=_FRAMES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            yield _tee(take, terminal)
    else:
        yield _plain(terminal)


class _Line:
    """What is under way, as one line: position, stage, recipe, elapsed, and the rest of the search time."""

    def __init__(self, search_seconds: float) -> None:
        self._search_seconds = search_seconds
        self._begin = time.monotonic()
        self._search_begin: float | None = None
        self._target = ""
        self._event = Event("stage", "", text=_OPENING)
        self._spinner = Spinner("dots")

    def take(self, event: Event) -> None:
        """Show this from now on."""
        if event.kind in {"note", "search"}:
            return
        if event.step == 0 and event.target == self._target:  # what is built keeps the count
            event = replace(event, step=self._event.step, steps=self._event.steps)
        if event.target != self._target:
            self._target, self._search_begin = event.target, None
        if event.step and self._search_begin is None:
            self._search_begin = time.monotonic()
        self._event = event

    def render(self) -> Table:
        """The line as it is now."""
        event, now = self._event, time.monotonic()
        table = Table.grid(padding=(0, 1), expand=True)
        for _ in range(3):
            table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column(no_wrap=True, justify="right")
        table.add_row(
            self._spinner,
            Text(_position(event), "bold"),
            Text("" if event.kind in _OUTCOMES else printable(event.text)),
            Text(shorthand(event.candidate) if event.candidate else "", "dim"),
            Text(f"{_clock(now - self._begin)}{self._left(now)}"),
        )
        return table

    def _left(self, now: float) -> str:
        if self._search_begin is None:
            return ""
        left = self._search_begin + self._search_seconds - now
        return f", {_clock(left)} left" if left > 0 else ", time is up: this one is the last"


def _tee(take: Observer, terminal: Terminal) -> Observer:
    """Show an event, and leave a line behind where it is an outcome."""

    def observe(event: Event) -> None:
        take(event)
        if event.kind not in _TRANSIENT:
            say(terminal.err, _sentence(event), _style(event))

    return observe


def _plain(terminal: Terminal) -> Observer:
    begin = time.monotonic()
    say(terminal.err, f"{0.0:7.1f} s  {_OPENING}")

    def observe(event: Event) -> None:
        if event.kind != "search":
            say(terminal.err, f"{time.monotonic() - begin:7.1f} s  {_sentence(event)}")

    return observe


def _sentence(event: Event) -> str:
    parts = [_position(event)]
    if event.kind in _OUTCOMES:
        parts.append(shorthand(event.candidate))
    return ": ".join(part for part in (*parts, event.text) if part)


def _position(event: Event) -> str:
    """The target, and which of its candidates: `host 3/40`, or `host 3` where nobody knows how many there will be."""
    if not event.step:
        return event.target
    return f"{event.target} {event.step}" + (f"/{event.steps}" if event.steps else "")


def _style(event: Event) -> str:
    if event.kind not in _OUTCOMES:
        return "dim" if event.kind == "note" else "bold"
    return "green" if event.text.startswith("feasible") else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
