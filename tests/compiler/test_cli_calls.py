"""The table of calls, in words."""

import io

from budgetc.cli.calls import print_calls
from budgetc.lower.lowered import Layer
from budgetc.predict.profile import Call
from rich.console import Console


def printed(calls, reason=""):
    console = Console(file=io.StringIO(), width=200)
    print_calls(console, calls, reason)
    return [line.split() for line in console.file.getvalue().splitlines()]


def layer(name, macs):
    return Layer(name, "convolution", "convolution_1", 8, 0.0, 10, macs, macs, 100)


def test_times_shares_and_speed():
    calls = [Call(layer("first", 3000), 3.6e-6, 0.0), Call(layer("second", 0), 0.7e-6, 0.5e-6)]
    lines = printed(calls)
    assert ["3.6", "us", "75.0%", "0.833", "8", "convolution", "first"] in lines
    assert ["1.2", "us", "25.0%", "8", "convolution", "second"] in lines


def test_why_there_is_no_table():
    assert printed(None, "no time") == [["no", "time"]]


def test_nothing_takes_no_time():
    assert printed([])[-1][:4] == ["all", "calls", "together", "0"]
