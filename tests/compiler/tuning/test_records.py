"""Records of tuning: what is kept is what was measured, and a file that is none counts for nothing."""

import json
from pathlib import Path

import pytest
from budgetc.registry import find_target
from budgetc.tuning.records import Record, Records
from budgetc_specs.capability import Capability
from hypothesis import given
from hypothesis import strategies as st

POINTS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 64)), max_size=3).map(tuple)
TIMES = st.dictionaries(POINTS, st.none() | st.floats(0.1, 1e9), max_size=6)
A, B, C = ((("pixels", n),) for n in (1, 2, 3))


@pytest.fixture
def sheet() -> Capability:
    return find_target("host").capability(None, 1)


@given(times=TIMES, data=st.data(), fruitless=st.integers(0, 99))
def test_a_record_survives_its_file(times, data, fruitless) -> None:
    point = data.draw(st.sampled_from([None, *times]))
    machines = tuple(data.draw(st.lists(st.text(max_size=9), max_size=2, unique=True)))
    record = Record("convolution", "0123456789ab", times, point, fruitless, machines)
    again = Record.from_json(json.loads(json.dumps(record.to_json())))
    assert again == record
    assert list(again.times) == list(record.times)


def test_what_is_measured_in_vain_is_counted() -> None:
    record = Record("convolution", "x", {}).measured({A: 5.0}, A, ["one"])
    assert (record.point, record.fruitless, record.nanoseconds) == (A, 0, 5.0)
    record = record.measured({B: 6.0}, None)
    assert (record.point, record.fruitless) == (A, 1)
    record = record.measured({A: 5.5, C: None}, None, ["two", "one"])
    assert record.machines == ("one", "two")
    assert (record.point, record.fruitless) == (A, 2)
    record = record.measured({(): 4.0}, ())
    assert (record.point, record.fruitless, record.nanoseconds) == ((), 0, 4.0)
    assert record.times == {A: 5.5, B: 6.0, C: None, (): 4.0}


def test_a_default_that_fails_leaves_the_kernel_without_a_time() -> None:
    record = Record("convolution", "x", {}).measured({A: None}, None)
    assert (record.point, record.nanoseconds) == (None, 0.0)


def test_each_sheet_has_its_own_records(tmp_path: Path, sheet: Capability) -> None:
    record = Record("convolution", "x", {A: 5.0}, A)
    Records(tmp_path, sheet).keep(record)
    assert Records(tmp_path, sheet).recall("convolution", "x") == record
    other = Records(tmp_path, sheet.model_copy(update={"threads": 2}))
    assert other.recall("convolution", "x") == Record("convolution", "x", {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"kernel": "convolution", "task": "x", "point": [["pixels", 1]]}',
        '{"kernel": "convolution", "task": "x", "point": 3, "times": [], "fruitless": 0}',
    ],
)
def test_a_file_that_is_no_record_counts_for_nothing(
    tmp_path: Path, sheet: Capability, text: str
) -> None:
    Records(tmp_path, sheet).keep(Record("convolution", "x", {A: 5.0}, A))
    (file,) = tmp_path.rglob("x.json")
    file.write_text(text)
    assert Records(tmp_path, sheet).recall("convolution", "x") == Record("convolution", "x", {})
