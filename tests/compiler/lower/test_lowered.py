"""The call list goes to JSON and back unchanged."""

import json

from budgetc.lower.lowered import Call, Fill, Lowered, Pointer, Port
from hypothesis import given
from hypothesis import strategies as st

counts = st.integers(0, 2**40)
names = st.text(max_size=8)
ports = st.builds(Port, names, st.sampled_from(["float32", "uint8"]), st.lists(counts).map(tuple))
pointers = st.builds(
    Pointer, st.sampled_from(["input", "output", "arena", "weights"]), counts, counts
)
fills = st.builds(Fill, counts, counts, counts, counts, st.integers(0, 255))
calls = st.builds(
    Call,
    kernel=names,
    arguments=st.lists(pointers, max_size=3).map(tuple),
    label=names,
    fills=st.lists(fills, max_size=2).map(tuple),
    tasks=counts,
    macs=counts,
)
models = st.builds(
    Lowered,
    inputs=st.lists(ports, max_size=2).map(tuple),
    outputs=st.lists(ports, max_size=2).map(tuple),
    calls=st.lists(calls, max_size=3).map(tuple),
    arena_bytes=counts,
    arena_lower_bound=counts,
    weight_bytes=counts,
    alignment=counts,
)


@given(models)
def test_there_and_back(lowered):
    assert Lowered.from_json(json.loads(json.dumps(lowered.to_json()))) == lowered
