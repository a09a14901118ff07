"""Everything that can be explained is, by what the code says; what is near an unknown word is suggested."""

import re

import pytest
from budgetc.cli.topics import KINDS, explained, fields
from budgetc.registry import find_pass
from budgetc_specs.errors import SpecError

TOPICS = [(kind.title, name) for kind in KINDS for name in kind.names()]


@pytest.mark.parametrize(("title", "name"), TOPICS, ids=lambda part: part)
def test_everything_that_is_listed_is_explained(title, name):
    found = explained(name)
    assert found
    for topic in found:
        assert topic.name == name
        assert len(topic.text) > 20
        assert not re.search(r"\bNone\b|\.\.", topic.text), topic.text


def test_an_exit_code_says_what_to_do():
    (code,) = explained("5")
    assert code.kind == "exit code"
    assert "budgetc lock SPEC" in code.text


def test_a_field_is_found_by_the_end_of_its_path():
    assert [topic.name for topic in explained("latency")] == ["budgets.latency"]
    assert explained("worst_slice") == explained("budgets.quality.worst_slice")
    (field,) = explained("search.candidates")
    assert "Default: 40." in field.text
    (statistic,) = explained("statistic")
    assert "p50, p90, p99 or mean" in statistic.text
    (budget,) = explained("budgets.size")
    assert "stripped library" in budget.text
    assert budget.example == "budgets: {size: 48 KiB}"
    assert not [path for path in fields() if path.startswith("targets.NAME.budgets.")]


def test_a_pass_is_explained_by_its_class():
    (topic,) = explained("quantize")
    assert (find_pass("quantize").__doc__ or "").splitlines()[0] in topic.text
    assert topic.text.startswith("quantize{bits=8")


def test_words_that_are_near_are_suggested():
    with pytest.raises(SpecError) as refused:
        explained("lattency")
    assert 'nothing is called "lattency"' in str(refused.value)
    assert '"latency"' in str(refused.value)
    assert str(refused.value).count(" or ") >= 1
    with pytest.raises(SpecError, match="`budgetc explain` lists it all"):
        explained("zzzzzzzz")
