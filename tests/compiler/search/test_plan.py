"""What budgets imply before a build: needs that follow from them by arithmetic, bounds, and figures of a few points."""

import json

import pytest
from budgetc.build import Job
from budgetc.figures import Figures, Limits
from budgetc.search.plan import POINTS, make_plan, needs
from budgetc.search.simulations import Simulated
from budgetc_specs.budgets import Budgets
from budgetc_specs.recipe import parse_recipe

MODEL = "mnist5k_cnn"
CODE, MACS, SECONDS = 6_000, 1_000_000, 1e-4


def limits(**budgets):
    return Limits(Budgets.model_validate(budgets))


@pytest.fixture
def as_it_is(subject):
    """What is known of the float model."""
    weights = subject(MODEL).model.weight_bytes
    figures = Figures(size=weights + CODE, memory=50_000, latency=SECONDS)
    return Simulated(parse_recipe("clean"), weights, (), (figures,), ({"macs": MACS},))


def test_bits_for_each_weight(subject, as_it_is):
    model = subject(MODEL).model
    (need,) = needs(model, as_it_is, limits(size="40 KiB"))
    assert need.budget == "size"
    assert need.value == (40 * 1024 - CODE) * 8 / model.parameter_count
    assert "they have 32" in need.text
    (none,) = needs(model, as_it_is, limits(size="1 KiB"))
    assert none.value == 0  # the code alone is larger


def test_a_share_of_the_memory(subject, as_it_is):
    (need,) = needs(subject(MODEL).model, as_it_is, limits(memory="20 kB"))
    assert need.value == pytest.approx(20_000 / 50_000)
    assert "40%" in need.text


def test_work_and_weights_a_second(subject, as_it_is):
    pace, moved = needs(subject(MODEL).model, as_it_is, limits(latency="50 us"))
    assert pace.value == pytest.approx(MACS / 50e-6)
    assert moved.value == pytest.approx(as_it_is.weight_bytes / 50e-6)
    assert "20 billion" in pace.text
    assert "the float model is expected to do 10" in pace.text


def test_a_latency_relative_to_a_peer_that_was_not_timed_asks_for_nothing(subject, as_it_is):
    relative = limits(latency="1.0 x onnxruntime")
    assert needs(subject(MODEL).model, as_it_is, relative) == ()
    timed = Limits(relative.budgets, {"onnxruntime": 1e-4})
    assert needs(subject(MODEL).model, as_it_is, timed)[0].value == pytest.approx(MACS / 1e-4)


def test_without_budgets_nothing_is_needed(subject, as_it_is):
    assert needs(subject(MODEL).model, as_it_is, limits()) == ()


def test_a_plan_of_a_space(world, subject, avx2):
    """The formula stands in for the simulations; bounds and excess follow from it."""
    own, given = world(size=1000, drop=0.05), subject(MODEL)
    job = Job(given.model, given.file, given.calibration, "x86-64", avx2, "net", "shared")
    made = make_plan("host", job, own.space, own.limits, own.formula, "the validation data")
    assert len(made.points) == POINTS
    assert made.points[0].origin == "as it is"
    assert made.points[-1].recipe == str(own.space.recipe(own.space.furthest()))
    for point in made.points:
        assert point.excess == own.limits.excess(point.figures)
    (bound,) = made.out_of_reach
    furthest = made.points[-1].figures
    assert bound.bound == furthest.size - 50 > 1000
    assert json.loads(json.dumps(made.to_json()))["bounds"][0]["beyond"]
    assert not own.formula.built
