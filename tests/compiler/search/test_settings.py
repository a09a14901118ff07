"""Settings as values: equal where they mean the same, and JSON both ways."""

import json

from budgetc.search.settings import Settings
from hypothesis import given
from hypothesis import strategies as st

VALUES = st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text())
LEVELS = st.dictionaries(st.text(), st.dictionaries(st.text(), VALUES))


@given(LEVELS, LEVELS)
def test_there_and_back(levels: dict, options: dict) -> None:
    settings = Settings.of(levels, options)
    again = Settings.from_json(json.loads(json.dumps(settings.to_json())))
    assert again == settings
    assert hash(again) == hash(settings)


def test_the_order_does_not_count() -> None:
    one = Settings.of({"b": {"y": 1, "x": 2}, "a": {"z": 3}, "c": {}})
    assert one == Settings.of({"a": {"z": 3}, "b": {"x": 2, "y": 1}})
    assert Settings.of({}) == Settings()


def test_what_is_not_named_has_no_level() -> None:
    settings = Settings.of({"prune": {"a": 0.5}}, {"quantize": {"calibration": "mse"}})
    assert settings.level("prune", "a") == 0.5
    assert settings.level("prune", "b") is None
    assert settings.level("quantize", "a") is None
    assert settings.option("quantize", "calibration") == "mse"
    assert settings.option("prune", "norm") is None
