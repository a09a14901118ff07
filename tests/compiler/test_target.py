"""What one search leaves to the next: its answers, as far as the next one can make something of them."""

import json
from pathlib import Path

import pytest
from budgetc.search.settings import Settings
from budgetc.search.space import Choice, Family, Space
from budgetc.target import KEPT_ANSWERS, _read, _remember, _settings


@pytest.fixture
def space() -> Space:
    """Two layers that can be quantised."""
    choices = tuple(Choice(n, ("float", "int8"), (n,), 10, 40, 10) for n in ("a", "b"))
    return Space((Family("quantize", "codes", choices),))


def settings_of(level: str) -> Settings:
    return Settings.of({"quantize": {"a": level}})


def test_the_latest_answers_come_first_each_once_and_the_oldest_go(tmp_path: Path) -> None:
    past = tmp_path / "searches" / "earlier.json"
    answers = [Settings.of({"quantize": {"a": f"{n}"}}) for n in range(KEPT_ANSWERS)]
    _remember(past, answers)
    assert _read(past) == [each.to_json() for each in answers]
    _remember(past, [settings_of("int8"), answers[2]])
    others = [each for each in answers if each != answers[2]]
    kept = [Settings.from_json(each) for each in _read(past)]
    assert kept == [settings_of("int8"), answers[2], *others][:KEPT_ANSWERS]


def test_answers_that_this_space_has_not_got_are_passed_over(space: Space) -> None:
    of_another = Settings.of({"prune": {"a": 0.5}})
    kept = [of_another.to_json(), settings_of("int8").to_json(), {"written": "by another version"}]
    assert _settings(kept, space) == [settings_of("int8")]


@pytest.mark.parametrize("text", ["", "{", json.dumps({"levels": {}})])
def test_a_damaged_file_of_answers_is_none(text: str, tmp_path: Path) -> None:
    past = tmp_path / "earlier.json"
    past.write_text(text)
    assert _read(past) == []
    assert _read(tmp_path / "missing.json") == []
