"""Errors and rank correlations as they are counted, and candidates in an order that does not change."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks.prediction import FEW, STATES, candidates, summary, table


def row(latency: float, expected: float, **changed: float) -> dict[str, float]:
    states = {
        key: value
        for state in STATES
        for key, value in {
            state: expected,
            f"{state}_low": expected / 2,
            f"{state}_high": expected * 2,
        }.items()
    }
    sizes = {"size": 100, "size_predicted": 100, "arena": 64, "arena_predicted": 64}
    return {"latency": latency, "prediction_s": 0.1, **sizes, **states, **changed}


def test_right_predictions() -> None:
    found = summary([row(n, n) for n in (1.0, 2.0, 3.0)])
    assert found["size_error"] == found["arena_error"] == 0
    for state in STATES:
        assert found[f"{state}_rank"] == pytest.approx(1)
        assert found[f"{state}_error"] == pytest.approx(0)
        assert found[f"{state}_inside"] == 1


def test_wrong_predictions() -> None:
    rows = [row(1.0, 3.0), row(2.0, 2.0), row(3.0, 1.0, size_predicted=110, arena_predicted=0)]
    found = summary(rows)
    assert found["size_error"] == pytest.approx(0.1)
    assert found["arena_error"] == 64
    assert found["cold_rank"] == pytest.approx(-1)
    assert found["known_error"] == pytest.approx(2)
    assert found["learning_inside"] == pytest.approx(1 / 3)


def test_the_table_has_a_row_for_each_state() -> None:
    text = table({"net": summary([row(n, n) for n in (1.0, 2.0)])}, threads=2)
    assert "threads: 2" in text
    assert all(f"| net | {words} | 1.000 | 0% | 100% |" in text for words in STATES.values())
    assert "0.00%" in text
    assert "0 bytes" in text


def test_candidates_are_all_different_and_always_the_same() -> None:
    first = candidates(["one", "two"], FEW)
    assert first == candidates(["one", "two"], FEW)
    assert len(set(first)) == len(first) == 2 * 2 * len(FEW)
    assert sum("quantize" in c.recipe for c in first) == len(first) // 2
