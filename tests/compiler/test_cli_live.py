"""What the progress says: the position, the stage, the time; outcomes stay, stages go."""

import io
import time

import pytest
from budgetc.cli.live import _Line, observed
from budgetc.cli.terminal import Terminal
from budgetc.progress import Event, ignore
from rich.console import Console

STAGE = Event("stage", "pi", "clean | fuse", "lowering", 2, 10)
OUTCOME = Event("built", "pi", "clean | fuse", "infeasible: size: too big", 2, 10)
NOTE = Event("note", "pi", text="no int8 baseline: an [odd] model")


def console(*, terminal: bool = False) -> Console:
    return Console(
        file=io.StringIO(), width=100, force_terminal=terminal, color_system=None, markup=False
    )


def watched(*events: Event, live: bool, quiet: bool = False) -> str:
    err = console(terminal=live)
    with observed(Terminal(console(), err, live), 600, quiet=quiet) as observer:
        for event in events:
            observer(event)
    return err.file.getvalue()


def line(renderer: _Line) -> str:
    shown = console()
    shown.print(renderer.render())
    return " ".join(shown.file.getvalue().split()[1:])  # without the spinner


def test_plain_lines_tell_everything():
    lines = watched(STAGE, NOTE, OUTCOME, live=False).splitlines()
    assert [text[11:] for text in lines] == [
        "reading the model and the data",
        "pi 2/10: lowering",
        "pi: no int8 baseline: an [odd] model",
        "pi 2/10: clean | fuse: infeasible: size: too big",
    ]


def test_where_nobody_knows_how_many_there_will_be_they_are_counted_alone():
    event = Event("candidate", "pi", "clean", "expected: 8 kB", 41)
    assert watched(event, live=False).endswith("pi 41: clean: expected: 8 kB\n")
    shown = _Line(600)
    shown.take(event)
    assert line(shown).startswith("pi 41 clean")


def test_what_stays_on_a_terminal():
    text = watched(STAGE, NOTE, OUTCOME, live=True)
    assert "pi 2/10: clean | fuse: infeasible: size: too big\n" in text
    assert "pi: no int8 baseline: an [odd] model\n" in text
    assert "pi 2/10: lowering" not in text


def test_quiet_says_nothing():
    assert watched(STAGE, OUTCOME, live=True, quiet=True) == ""
    with observed(Terminal(console(), console(), live=False), 600, quiet=True) as observer:
        assert observer is ignore


def test_the_line_counts_down_once_a_search_has_begun():
    shown = _Line(600)
    assert line(shown) == "reading the model and the data 0:00"
    shown.take(Event("stage", "pi", text="measuring"))
    assert line(shown) == "pi measuring 0:00"
    shown.take(STAGE)
    assert line(shown) in {
        f"pi 2/10 lowering clean | fuse 0:00, {left} left" for left in ("10:00", "9:59")
    }
    shown.take(NOTE)
    assert "lowering" in line(shown)


def test_each_target_has_a_time_of_its_own():
    shown = _Line(7200)
    shown.take(STAGE)
    shown._search_begin -= 3600
    assert line(shown).endswith(", 59:59 left") or line(shown).endswith(", 1:00:00 left")
    shown.take(Event("target", "host", text="host, x86-64"))
    assert "left" not in line(shown)
    shown.take(Event("stage", "host", "clean", "lowering", 1, 1))
    assert line(shown).endswith(("2:00:00 left", "1:59:59 left"))


def test_when_time_is_up():
    shown = _Line(0.001)
    shown.take(STAGE)
    time.sleep(0.01)
    assert line(shown).endswith("time is up: this one is the last")


@pytest.mark.parametrize("live", [True, False])
def test_names_cannot_command_the_terminal(live):
    evil = Event("candidate", "pi", "a\x1b]0;gone\x07", "x\ny", 1, 1)
    text = watched(evil, live=live)
    assert "\x1b]" not in text
    assert "a\\x1b]0;gone\\x07" in text
