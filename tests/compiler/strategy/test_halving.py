"""Halving: who goes on, for how long, and what is written down of it."""

from dataclasses import replace

from budgetc.strategy.halving import Halving, neighbours, ranked
from budgetc.strategy.schedule import Schedule
from budgetc.strategy.way import Taste, Way
from budgetc_specs.recipe import Step

from .formula import Formula, explorer_of, limits_of

TASTE = Taste(0.004)
SCHEDULE = Schedule(4, 8)
WAYS = [Way(structure=(Step.of("prune", ratio=ratio),)) for ratio in (0.6, 0.2, 0.5, 0.3)]


def taught(way, step):
    return replace(way, training=(*way.training, step))


def run(formula, ways=WAYS, schedule=SCHEDULE):
    told = []
    halving = Halving(explorer_of(formula), "shrink", taught, told.append, before=True)
    return halving, halving.run(ways, schedule, TASTE), told


def test_the_best_go_on_from_where_they_are():
    halving, found, told = run(Formula(limits_of(4000)))
    assert len(told) == 3
    best = found[0]
    assert best.way.structure == WAYS[1].structure
    assert best.way.epochs == 8
    epochs = [dict(step.options)["epochs"] for step in best.way.training]
    assert epochs == [2, 2, 4]
    assert all(dict(step.options)["teacher"] == "before" for step in best.way.training)
    assert [t.rung for t in halving.trials] == [1] * 4 + [2] * 3 + [3] * 2
    first = halving.trials[:4]
    assert [t.went_on for t in first] == [False, True, False, True]
    assert [t.seconds for t in first] == [3.0] * 4
    assert {t.structure for t in first if t.went_on} == {"prune{ratio=0.2}", "prune{ratio=0.3}"}


def test_an_epoch_is_paid_for_once():
    halving, _, _ = run(Formula(limits_of(4000)))
    by_recipe = {t.recipe: t for t in halving.trials}
    assert len(by_recipe) == len(halving.trials)
    assert sum(t.seconds - 1 for t in halving.trials) == SCHEDULE.cost


def test_the_best_is_tried_by_other_settings():
    halving, _, _ = run(Formula(limits_of(4000)))
    second = [t for t in halving.trials if t.rung == 2]
    assert [t.rate for t in second] == [0.004, 0.004, 0.002]
    assert second[0].structure == second[2].structure
    assert len({str(taste) for taste in (*neighbours(TASTE), TASTE)}) == 4
    told = replace(TASTE, hard=1.0)
    assert [(each.rate, each.hard) for each in neighbours(told)] == [(0.002, 1.0), (0.008, 1.0)]


def test_what_is_refused_goes_no_further():
    halving, found, _ = run(Formula(limits_of(4000), refused="0.2"))
    assert found[0].way.structure == WAYS[3].structure
    assert [t.reason for t in halving.trials if t.reached is None] == [
        "it has no differentiable form"
    ]
    assert run(Formula(limits_of(4000), refused="distill"))[1] == []
    assert ranked([]) == []
