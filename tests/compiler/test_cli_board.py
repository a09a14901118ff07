"""The table of candidates while a search goes on: budgets on top, the nearest below, what is missed in red."""

import io

from budgetc.cli.board import ROWS, Board
from budgetc.cli.shorthand import shorthand
from budgetc.figures import Figures, Limits
from budgetc.progress import Event
from budgetc_specs.budgets import Budgets, LatencyBudget, QualityBudget, SizeBudget
from rich.console import Console

LIMITS = Limits(
    Budgets(
        size=SizeBudget(max_bytes=2048),
        latency=LatencyBudget(max=1e-4),
        quality=QualityBudget(drop=0.005),
    )
)


def shown(board: Board) -> list[str]:
    console = Console(file=io.StringIO(), width=140, color_system=None)
    table = board.render()
    assert table is not None
    console.print(table)
    return [" ".join(line.split()) for line in console.file.getvalue().splitlines()]


def seen(recipe: str, figures: Figures | None, kind: str = "candidate", text: str = "") -> Event:
    return Event(kind, "host", recipe, text, figures=figures)


def test_nothing_is_shown_before_there_is_anything():
    board = Board()
    assert board.render() is None
    board.take(Event("search", "host", limits=LIMITS))
    assert board.render() is None


def test_budgets_stand_above_candidates_and_the_nearest_come_first():
    board = Board()
    board.take(Event("search", "host", limits=LIMITS))
    board.take(seen("clean | fuse | clean", Figures(8192, 100, 2e-4, drop=0.0)))
    board.take(seen("clean | fuse | clean | quantize", Figures(1024, 50, 5e-5, drop=0.01)))
    board.take(seen("prune", None))
    lines = shown(board)
    assert lines[0] == "candidate size memory latency quality"
    assert lines[1] == "budget 2 KiB - 100 us -0.5 pp"
    assert lines[2] == "quantize 1 KiB 50 B 50 us -1 pp expected"
    assert lines[3] == "float 8 KiB 100 B 200 us -0 pp expected"


def test_what_was_built_and_keeps_all_stands_first_and_a_new_target_begins_anew():
    board = Board()
    board.take(Event("search", "host", limits=LIMITS))
    for number in range(2 * ROWS):
        board.take(seen(f"prune{{ratio={number}}}", Figures(1000, 1, 5e-5, drop=number / 1e4)))
    assert len(shown(board)) == ROWS + 2
    last = f"prune{{ratio={2 * ROWS - 1}}}"
    board.take(seen(last, Figures(1000, 1, 5e-5, drop=0.004), "built", "feasible"))
    assert shown(board)[2] == f"{last} 1000 B 1 B 50 us -0.4 pp feasible"
    board.take(Event("target", "pi"))
    assert board.render() is None


def test_a_recipe_in_few_words():
    assert shorthand("clean | fuse | clean") == "float"
    assert shorthand("clean | fuse | clean | prune{ratio=0.5} | clean | quantize") == (
        "prune{ratio=0.5} | quantize"
    )
    assert shorthand("clean") == "clean"
    assert shorthand("") == "as it is"
    assert shorthand("clean | fuse | clean | prune | clean") == "prune"
    long = shorthand("quantize{skip=" + "x" * 90 + "}", 20)
    assert len(long) == 20
    assert long.startswith("quantize{s")
    assert long.endswith("xxxx}")
    assert shorthand("quan\x1b[31mtize") == "quan\\x1b[31mtize"
