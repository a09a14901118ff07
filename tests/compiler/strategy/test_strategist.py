"""A strategy from the model to the answer: what is trained, what is built, and what is said of it."""

from dataclasses import replace

import pytest
from budgetc.progress import ignore
from budgetc.result import Trial
from budgetc.search.decision import Decision
from budgetc.search.explorer import Effort
from budgetc.search.journal import Journal
from budgetc.search.selection import Selection
from budgetc.search.space import PREAMBLE
from budgetc.search.workshop import Workshop
from budgetc.strategy.strategist import GROW, Lesson, Strategist, growths, variants
from budgetc_specs.recipe import parse_recipe

from .formula import SPACE, Formula, explorer_of, limits_of, size_of

LESSON = Lesson(
    "shrink-improve", 300.0, 600.0, taught=False, judged_on="what is held back", foreseen=False
)


class Course:
    """All parts of a strategy over the formula."""

    def __init__(self, folder, size, drop, lesson=LESSON, worse=0.0, refused="nothing", **more):
        self.limits = limits_of(size, drop, **more)
        self.formula = Formula(self.limits, worse, refused)
        effort = Effort(40, float("inf"), 0, ("quality", "latency"))
        self.explorer = explorer_of(self.formula, effort)
        self.journal = Journal(folder / "journal")
        workshop = Workshop(self.formula, self.journal, "host", ignore)
        selection = Selection(self.explorer, workshop, self.limits, effort, patience=4)
        decision = Decision(self.explorer, selection, workshop, self.limits, effort, "held back")
        self.preambles, self.told = [], []
        self.strategist = Strategist(
            lesson,
            self.explorer,
            selection,
            self.limits,
            decision,
            self.space,
            2,
            self.journal,
            "host",
            self.told.append,
        )

    def space(self, preamble):
        """What passes offer."""
        self.preambles.append(preamble)
        return SPACE

    def seek(self):
        """The answer and the record."""
        try:
            return self.strategist.seek()
        finally:
            self.journal.close()


def test_the_best_that_was_trained_is_handed_over(tmp_path):
    course = Course(tmp_path, 600, 30)
    found, info = course.seek()
    assert found.exit_code == 0
    assert found.chosen.recipe.endswith(
        "quantize{calibration=mse,output=float} | qat{epochs=8,hard=0.3,rate=0.0003,temperature=2.0}"
    )
    assert [step.kind for step in info.steps] == ["float", "shrunk", "trained", "coded", "tuned"]
    assert info.steps[-1].recipe == found.chosen.recipe
    assert info.steps[-1].epochs == 64 + 8
    losses = [step.reached.loss for step in info.steps]
    assert losses[1] > losses[2]
    assert len(course.formula.built) <= 3
    assert info.trained == sum(trial.seconds for trial in info.trials)
    assert {trial.phase for trial in info.trials} == {"shrink", "codes"}
    assert found.search.validation == "held back"


def test_what_grew_is_trained_and_then_made_smaller(tmp_path):
    course = Course(tmp_path, 1500, 1, replace(LESSON, name=GROW))
    found, info = course.seek()
    names = [step.partition("{")[0] for step in found.chosen.recipe.split(" | ")]
    assert names[:3] == ["clean", "widen", "distill"]
    assert [step.kind for step in info.steps][:4] == ["float", "grown", "raised", "shrunk"]
    assert course.preambles[0][-2:] == PREAMBLE[1:]
    assert {trial.phase for trial in info.trials} == {"grow", "shrink", "codes"}
    assert "hard=1.0" in info.steps[2].text
    assert "teacher=before" in info.steps[4].text
    assert info.steps[2].reached.drop < 0
    assert found.trials[0].predicted.drop == pytest.approx(0)


def test_what_cannot_be_kept_is_said(tmp_path):
    course = Course(tmp_path, 600, 30, worse=0.5)
    found, info = course.seek()
    assert found.exit_code == 1
    assert found.proof.binding == ("quality",)
    assert found.proof.points[0].budget == "quality"
    assert 4 <= len(course.formula.built) <= 4 + 2 * 3
    assert info.steps[-1].kind in {"coded", "tuned"}


@pytest.mark.parametrize("name", ["shrink-improve", GROW])
def test_a_size_below_all_weights_is_proven_out_of_reach_without_training(tmp_path, name):
    course = Course(tmp_path, 20, None, replace(LESSON, name=name))
    found, info = course.seek()
    assert found.exit_code == 3
    (bound,) = found.proof.bounds
    assert (bound.budget, bound.limit) == ("size", 20)
    looked = [r for r in course.formula.simulated if "quantize" in r]
    assert bound.bound == min(map(size_of, map(parse_recipe, looked)))
    assert "so few weights as the size budget allows" in info.notes[-1]
    assert [step.kind for step in info.steps] == ["float"]
    assert not info.trials
    assert not any("distill" in recipe for recipe in course.formula.simulated)
    assert found.proof.points[0].budget == "size"


def test_where_no_structure_fits_for_another_reason_nothing_is_trained_nor_proven(tmp_path):
    course = Course(tmp_path, 600, None, memory="50 B")
    found, info = course.seek()
    assert found.exit_code == 1
    assert not found.proof.bounds
    assert "no structure keeps" in info.notes[0]
    assert not any("distill" in recipe for recipe in course.formula.simulated)


def test_what_is_within_reach_costs_one_structure_more_before_it_grows(tmp_path):
    course = Course(tmp_path, 1500, 1, replace(LESSON, name=GROW))
    course.seek()
    learned = ["distill" in recipe for recipe in course.formula.simulated]
    assert learned.index(True) == 2  # the model as it is, and its smallest structure


def test_where_nothing_can_be_trained_it_says_why(tmp_path):
    found, info = Course(tmp_path, 600, None, refused="distill").seek()
    assert info.notes == ("nothing was trained: it has no differentiable form",)
    assert found.exit_code == 0  # by what passes do without training
    assert "distill" not in found.chosen.recipe


def test_a_run_that_is_taken_up_measures_no_pace_again(tmp_path):
    first = Course(tmp_path, 600, 30)
    found, _ = first.seek()
    again = Course(tmp_path, 600, 30)
    assert again.journal.value("pace shrink", "") == [2.0, 4.0]
    other, _ = again.seek()
    assert other.chosen.recipe == found.chosen.recipe
    assert isinstance(other.chosen, Trial)


def test_a_model_that_is_slow_to_simulate_has_fewer_directions(tmp_path):
    course = Course(tmp_path, 600, 30)
    course.journal.write("simulation", "", 100.0)
    _, info = course.seek()
    assert {trial.structure.partition("{")[0] for trial in info.trials} == {"prune"}
    structures = [r for r in course.formula.simulated if "distill" not in r and "quantize" in r]
    assert len(structures) <= 8 + 3  # and three to see what pays


def test_growths_are_of_passes_that_keep_the_function():
    assert [" | ".join(map(str, steps)) for steps in growths()] == [
        "widen{noise=0.1,ratio=3.0}",
        "widen{noise=0.1,ratio=1.0}",
        "deepen",
        "widen{noise=0.1,ratio=1.0} | deepen",
    ]


def test_codes_are_tried_by_every_option():
    assert [dict(step.options)["calibration"] for (step,) in variants(SPACE)] == [
        "minmax",
        "percentile",
        "mse",
    ]
