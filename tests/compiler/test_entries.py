"""Names of entry points: nothing for the first, the varying shapes for the others, no two alike."""

from dataclasses import dataclass

from budgetc.entries import entry_names, model_file
from budgetc.lower.lowered import Port
from hypothesis import given
from hypothesis import strategies as st

SHAPES = st.lists(st.integers(1, 12), max_size=3).map(tuple)


@dataclass(frozen=True)
class Entry:
    inputs: tuple[Port, ...]


def entries(*shapes: tuple[tuple[int, ...], ...]) -> list[Entry]:
    return [Entry(tuple(Port("x", "float32", s) for s in each)) for each in shapes]


def test_only_what_varies_is_in_a_name() -> None:
    named = entry_names(entries(((1, 28), (3,), (2,)), ((4, 28), (3,), (5,))))
    assert named == ("", "4x28_5")
    assert [model_file(n) for n in named] == ["optimised.onnx", "optimised_4x28_5.onnx"]


def test_a_single_entry_has_no_name() -> None:
    assert entry_names(entries(((1, 28),))) == ("",)


@given(st.lists(st.tuples(SHAPES, SHAPES), min_size=1, max_size=5, unique=True))
def test_names_differ(shapes: list[tuple[tuple[int, ...], ...]]) -> None:
    ranks = {tuple(len(s) for s in each) for each in shapes}
    if len(ranks) == 1:  # an input has one rank in all of its shapes
        assert len(set(entry_names(entries(*shapes)))) == len(shapes)
