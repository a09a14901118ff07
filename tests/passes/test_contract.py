"""Every registered pass of ours keeps the contract."""

import dataclasses
import re
from importlib.metadata import entry_points

import pytest
from budgetc_passes.contract import Needs, Pass

OURS = sorted(
    point.name
    for point in entry_points(group="budgetc.passes")
    if point.value.startswith("budgetc_passes.") and ".quantization." not in point.value
)


@pytest.fixture(params=OURS)
def kind(request):
    """The class of every registered pass in turn."""
    (point,) = entry_points(group="budgetc.passes", name=request.param)
    return point.load()


def test_there_are_passes():
    assert len(OURS) == 19


def test_it_is_a_frozen_value_named_in_kebab_case(kind):
    made = kind()
    assert isinstance(made, Pass)
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", kind.name)
    assert kind.name in OURS
    assert dataclasses.is_dataclass(kind)
    assert kind() == made
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.anything = 1
    assert isinstance(made.needs(), Needs)


def test_it_says_what_it_requires_and_ensures(kind):
    for word in ("Requires:", "Ensures:", "Cost:"):
        assert word in kind.__doc__
    for field in dataclasses.fields(kind):
        assert f"{field.name}:" in kind.__doc__, "options are documented"


def test_it_leaves_a_trivial_model_alone(kind, apply, parse):
    model = parse("g (float[1,4] x) => (float[1,4] y) { y = Relu (x) }")
    done = apply(model, kind())
    assert not done.modified
    assert done.ops == ["Relu"]
    assert not [note for note in done.notes if note.kind == "did"]
