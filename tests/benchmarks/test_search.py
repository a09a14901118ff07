"""The grid has every uniform point once, and verdicts say who was better."""

import sys
from pathlib import Path

import pytest
from budgetc.search.space import Choice, Family, Space

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.search import Answer, grid, table, verdict

SPACE = Space(
    (
        Family("prune", "structure", (Choice("c", (0.0, 0.5, 0.75), ("c",), 9, 36, 9),)),
        Family(
            "quantize",
            "codes",
            tuple(Choice(name, ("float", "int8"), (name,), 9, 36, 9) for name in "cd"),
            (("calibration", ("minmax", "mse")),),
        ),
    )
)
ANSWER = Answer("clean", 1000, 0.01)


def test_the_grid_is_every_uniform_point_once() -> None:
    points = grid(SPACE)
    assert len(points) == 3 * (1 + 2)
    assert sum("prune" not in text for text in points) == 3
    assert sum("calibration=mse" in text for text in points) == 3


@pytest.mark.parametrize(
    ("search", "best", "code", "said"),
    [
        (ANSWER, ANSWER, 0, "as good as the grid"),
        (ANSWER, Answer("", 900, 0.02), 0, "better than the grid"),
        (ANSWER, None, 0, "better than the grid"),
        (ANSWER, Answer("", 900, 0.009), 0, "MISSED: worse"),
        (None, None, 3, "proven out of reach"),
        (None, None, 1, "not found, and the nearest is named"),
        (None, None, 4, "MISSED: exit 4"),
        (None, ANSWER, 1, "MISSED: the grid keeps it"),
    ],
)
def test_verdicts(search: Answer | None, best: Answer | None, code: int, said: str) -> None:
    assert verdict(search, best, code, 1024) == said


def test_a_library_that_is_too_large_is_no_answer() -> None:
    assert verdict(ANSWER, ANSWER, 0, 999) == "MISSED: too large"


def test_the_table_has_a_row_for_each_budget() -> None:
    row = {
        "model": "net",
        "budget": 1024,
        "exit": 3,
        "search_size": None,
        "search_loss": None,
        "search_s": 60.0,
        "looked_at": 16,
        "built": 1,
        "grid_size": None,
        "grid_loss": None,
        "grid_points": 28,
        "grid_kept": 0,
        "verdict": "proven out of reach",
    }
    text = table([row], 40)
    assert "| net | 1 KiB |" in text
    assert "0 of 28 | proven out of reach (exit 3) |" in text
