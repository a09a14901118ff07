"""Why an artefact takes what it takes: parts add up to the whole, the largest first."""

import json

import pytest
from budgetc.reasons import reasons
from budgetc_specs.errors import SpecError
from hypothesis import given
from hypothesis import strategies as st

SUBJECTS = ("size", "memory", "latency")


def manifest(layers=(), slots=(), **measured):
    measurement = {
        "size": {"bytes": 1000, "text": 300, "rodata": 600, "data": 0},
        "memory": {"bytes": 300, "arena": 256, "static": 0, "stack": 44},
        "latency": {"statistic": "p50", "seconds": {"ours": 1e-3}},
        **measured,
    }
    listed = [
        {"layer": n, "operator": "convolution", "bits": 8, "weight_bytes": b, "seconds": s}
        for n, b, s in layers
    ]
    named = [{"name": n, "bytes": b, "first": f, "last": t} for n, b, f, t in slots]
    return {
        "measurement": measurement,
        "parts": {"layers": listed, "arena_map": named, "kernels": 3},
    }


def shown(part):
    return [(p.name, p.amount) for p in part.inner]


def test_size_by_section_and_layer():
    whole = reasons(manifest([("a", 100, 0), ("b", 400, 0)]), "size")
    assert shown(whole) == [
        ("constants", 600),
        ("machine code", 300),
        ("headers and tables", 100),
    ]
    assert shown(whole.inner[0]) == [
        ("b", 400),
        ("a", 100),
        ("other constants and alignment", 100),
    ]


def test_layers_that_share_weights():
    constants = reasons(manifest([("a", 500, 0), ("b", 500, 0)]), "size").inner[0]
    assert "share weights" in constants.about
    assert len(constants.inner) == 2


def test_memory_where_it_is_fullest():
    slots = [("x", 100, 0, 1), ("y", 120, 1, 2), ("z", 200, 3, 3)]
    whole = reasons(manifest(slots=slots), "memory")
    arena, stack = whole.inner
    assert (arena.about, stack.amount) == ("where it is fullest, at call 1", 44)
    assert shown(arena) == [("y", 120), ("x", 100), ("not used at that moment", 36)]


def test_time_by_layer():
    whole = reasons(manifest([("a", 0, 2e-4), ("b", 0, 7e-4)]), "latency")
    assert [p.name for p in whole.inner] == ["b", "a", "between the layers"]
    assert sum(p.amount for p in whole.inner) == pytest.approx(1e-3)
    assert "not timed one by one" in reasons(manifest(), "latency").about


@pytest.mark.parametrize("subject", SUBJECTS)
def test_what_was_not_measured(subject):
    with pytest.raises(SpecError, match=f"the {subject} of this artefact was not measured"):
        reasons(manifest(**{subject: None}), subject)


@given(
    st.lists(st.tuples(st.text(max_size=3), st.integers(0, 600), st.floats(0, 1e-3)), max_size=6),
    st.sampled_from(SUBJECTS),
)
def test_parts_are_in_order_and_never_less_than_the_whole(layers, subject):
    def check(part):
        amounts = [p.amount for p in part.inner]
        assert amounts == sorted(amounts, reverse=True)
        assert all(a > 0 for a in amounts)
        if amounts:
            assert sum(amounts) >= part.amount * (1 - 1e-9)
        for each in part.inner:
            check(each)

    check(reasons(manifest(layers), subject))


@pytest.mark.parametrize("subject", SUBJECTS)
def test_on_the_command_line(compiled, budgetc_cli, subject):
    folder = compiled[0] / "host"
    done = budgetc_cli("why", subject, folder)
    assert done.returncode == 0, done.stderr
    assert "100.0 %" in done.stdout
    whole = json.loads(budgetc_cli("why", subject, folder, "--json").stdout)["whole"]
    measured = json.loads((folder / "manifest.json").read_text())["measurement"][subject]
    amount = measured["seconds"]["ours"] if subject == "latency" else measured["bytes"]
    assert whole["amount"] == amount


def test_what_is_no_figure(compiled, budgetc_cli):
    done = budgetc_cli("why", "seize", compiled[0] / "host")
    assert done.returncode == 2
    assert 'did you mean "size"?' in done.stderr
