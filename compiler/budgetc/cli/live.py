"""The progress of a compilation: one line that renews itself on a terminal, plain lines elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from budgetc_specs.errors import printable
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from budgetc.cli.terminal import Terminal, say
from budgetc.progress import Event, Observer, ignore

_FRAMES_PER_SECOND = 8
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
        line = _Line(search_seconds)
        with Live(
            console=terminal.err,
            get_renderable=line.render,
            refresh_per_second=_FRAMES_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        ):
            yield _tee(line.take, terminal)
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
        if event.kind == "note":
            return
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
            Text("" if event.kind == "candidate" else printable(event.text)),
            Text(printable(event.candidate), "dim"),
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
        if event.kind != "stage":
            say(terminal.err, _sentence(event), _style(event))

    return observe


def _plain(terminal: Terminal) -> Observer:
    begin = time.monotonic()
    say(terminal.err, f"{0.0:7.1f} s  {_OPENING}")

    def observe(event: Event) -> None:
        say(terminal.err, f"{time.monotonic() - begin:7.1f} s  {_sentence(event)}")

    return observe


def _sentence(event: Event) -> str:
    parts = [_position(event)]
    if event.kind == "candidate":
        parts.append(event.candidate)
    return ": ".join(part for part in (*parts, event.text) if part)


def _position(event: Event) -> str:
    return f"{event.target} {event.step}/{event.steps}" if event.step else event.target


def _style(event: Event) -> str:
    if event.kind != "candidate":
        return "dim" if event.kind == "note" else "bold"
    return "green" if event.text.startswith("feasible") else ""


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
