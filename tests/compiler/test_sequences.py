"""Edit distances: against the textbook's recursion, blanks, repetitions, padding."""

from functools import cache

import numpy as np
import pytest
from budgetc.measure.metrics import resolve_metric
from budgetc.measure.sequences import edit_distance, edits
from budgetc_specs.errors import SpecError
from hypothesis import given
from hypothesis import strategies as st

WORDS = st.lists(st.integers(0, 2), max_size=6)


def by_definition(first, second):
    @cache
    def between(i, j):
        if i == 0 or j == 0:
            return i + j
        same = first[i - 1] == second[j - 1]
        return min(between(i - 1, j) + 1, between(i, j - 1) + 1, between(i - 1, j - 1) + (not same))

    return between(len(first), len(second))


def padded(words):
    return np.array([[*word, *[-1] * (7 - len(word))] for word in words])


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5))
def test_edits_against_their_definition(pairs):
    first, second = zip(*pairs, strict=True)
    found = edits(padded(first), padded(second))
    assert found.tolist() == [by_definition(tuple(a), tuple(b)) for a, b in pairs]


def steps(*words):
    return {"y": np.eye(4, dtype=np.float32)[np.array(words)]}


def test_every_step_counts():
    outputs = steps([1, 1, 2, 0], [3, 3, 3, 3])
    labels = np.array([[1, 2, 0], [3, -1, -1]])
    assert edit_distance(outputs, labels, outputs).tolist() == [[1, 3], [3, 1]]
    assert edit_distance.value(edit_distance(outputs, labels, outputs)) == 1.0


def test_blanks_and_what_is_held_on():
    ctc = resolve_metric("edit-distance{blank=0}")
    outputs = steps([1, 1, 0, 1, 2, 2], [0, 3, 3, 0, 0, 0])
    labels = np.array([[1, 1, 2], [3, 2, -1]])
    assert ctc(outputs, labels, outputs).tolist() == [[0, 3], [1, 2]]
    assert ctc.value(ctc(outputs, labels, outputs)) == 0.2


def test_labels_that_do_not_fit():
    outputs = steps([1, 2])
    for labels in (np.array([1]), np.array([[1.0, 2.0]]), np.array([[1], [2]])):
        with pytest.raises(SpecError, match="needs an output of shape"):
            edit_distance(outputs, labels, outputs)
