"""Predictions travel as JSON and come back as they were."""

import json

from budgetc.lower.lowered import Layer
from budgetc.predict.prediction import Entry, Expected, Prediction
from hypothesis import given
from hypothesis import strategies as st

seconds = st.floats(0, 10)
layers = st.builds(
    Layer,
    layer=st.text(),
    operator=st.text(),
    kernel=st.text(),
    bits=st.sampled_from([8, 32]),
    sparsity=st.floats(0, 1),
    weight_bytes=st.integers(0, 2**40),
    macs=st.integers(0, 2**60),
    work=st.integers(0, 2**60),
    moved=st.integers(0, 2**40),
    filled=st.integers(0, 2**20),
    form=st.text(),
    point=st.lists(st.tuples(st.text(), st.integers(0, 9))).map(tuple),
    parallel=st.booleans(),
)
expected = st.builds(
    Expected, layers, seconds, seconds, st.sampled_from(["measured", "learnt", "roofline"])
)
entries = st.builds(
    Entry,
    st.integers(0, 2**40),
    seconds,
    st.tuples(seconds, seconds),
    st.lists(expected, max_size=3).map(tuple),
)
predictions = st.builds(
    Prediction,
    size=st.integers(0, 2**40),
    static=st.integers(0, 2**20),
    stack=st.integers(0, 2**20),
    grown=st.booleans(),
    entries=st.lists(entries, min_size=1, max_size=2).map(tuple),
    compiled=st.integers(0, 99),
    seconds=seconds,
)


@given(predictions)
def test_json_there_and_back(prediction: Prediction) -> None:
    assert Prediction.from_json(json.loads(json.dumps(prediction.to_json()))) == prediction


@given(predictions)
def test_memory_is_that_of_the_largest_entry(prediction: Prediction) -> None:
    rest = prediction.static + prediction.stack
    assert prediction.memory == max(entry.arena for entry in prediction.entries) + rest
    assert prediction.to_json()["memory"] == prediction.memory
    assert prediction.latency == prediction.entries[0].latency
    assert prediction.interval == prediction.entries[0].interval
