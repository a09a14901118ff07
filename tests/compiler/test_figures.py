"""Figures against budgets: what is passed by how much, what is not known, and which of two points is better."""

from dataclasses import replace

import pytest
from budgetc.figures import Figures, Limits, rank
from budgetc_specs.budgets import (
    Budgets,
    LatencyBudget,
    MemoryBudget,
    QualityBudget,
    Relative,
    SizeBudget,
)

POINT = Figures(
    size=2000, memory=500, latency=3e-5, fastest=1e-5, slowest=9e-5, drop=0.02, least_drop=0.001,
    value=0.9, greatest_value=0.95, error=0.01,
)  # fmt: skip


def limits(**budgets) -> Limits:
    return Limits(Budgets(**budgets), {"onnxruntime": 1e-5})


def test_each_budget_is_held_against_its_figure():
    found = limits(
        size=SizeBudget(max_bytes=1000),
        memory=MemoryBudget(max_bytes=1000),
        latency=LatencyBudget(max=2e-5),
        quality=QualityBudget(drop=0.01),
    ).excess(POINT)
    assert found == pytest.approx({"size": 1.0, "memory": -0.5, "latency": 0.5, "quality": 1.0})
    assert list(found) == ["size", "memory", "latency", "quality"]


def test_hope_takes_the_better_end_of_intervals():
    tight = limits(latency=LatencyBudget(max=2e-5), quality=QualityBudget(drop=0.01))
    assert min(tight.excess(POINT).values()) > 0
    assert max(tight.excess(POINT, hopeful=True).values()) < 0
    least = limits(quality=QualityBudget(min=0.93))
    assert least.excess(POINT)["quality"] > 0 > least.excess(POINT, hopeful=True)["quality"]


def test_a_relative_budget_is_a_multiple_of_what_its_peer_takes():
    relative = limits(latency=LatencyBudget(max=Relative(2.0, "onnxruntime")))
    assert relative.seconds == pytest.approx(2e-5)
    assert relative.excess(POINT)["latency"] == pytest.approx(0.5)
    unknown = limits(latency=LatencyBudget(max=Relative(2.0, "onnxruntime-int8")))
    assert unknown.seconds is None
    assert unknown.excess(POINT)["latency"] == 0.0


def test_what_is_not_known_passes_no_budget():
    blank = Figures(size=1, memory=1)
    both = limits(latency=LatencyBudget(max=1e-9), quality=QualityBudget(drop=0.0))
    assert both.excess(blank) == {"latency": 0.0, "quality": 0.0}


def test_a_budget_that_only_warns_does_not_bind():
    assert limits(size=SizeBudget(max_bytes=1, level="warning")).names == ()


def test_no_drop_at_all_is_a_budget_that_can_be_passed_by_a_part():
    none = limits(quality=QualityBudget(drop=0.0))
    assert none.excess(POINT)["quality"] == pytest.approx(20.0)


def test_a_gain_counts_as_no_loss_and_noise_stands_in_where_nothing_is_judged():
    assert Figures(1, 1, drop=-0.1, error=0.3).loss == 0.0
    assert Figures(1, 1, error=0.3).loss == 0.3
    assert Figures(1, 1, drop=1e-11).loss == 0.0  # rounding of a metric that is no count


def test_the_objective_orders_points_and_what_it_leaves_out_decides_ties():
    small = Figures(size=10, memory=5, latency=2.0, drop=0.01)
    quick = Figures(size=20, memory=5, latency=1.0, drop=0.01)
    assert rank(quick, ("quality", "latency")) < rank(small, ("quality", "latency"))
    assert rank(small, ("quality",)) != rank(quick, ("quality",))
    assert rank(small, ("size",)) < rank(quick, ("size",))


def test_figures_are_plain_json_both_ways():
    assert Figures.from_json(POINT.to_json()) == POINT
    assert POINT.scaled(2.0).latency == pytest.approx(6e-5)
    assert Figures(1, 1).scaled(2.0).latency is None


def test_what_learns_is_judged_by_its_surprise_and_may_gain():
    gained = Figures(size=1, memory=1, drop=-0.01)
    assert gained.loss == 0.0
    assert replace(gained, learns=True).loss == -0.01
    assert replace(gained, learns=True, surprise=0.3).loss == 0.3


def test_what_held_back_samples_do_not_foretell_passes_no_budget():
    budgets = Budgets(quality=QualityBudget(drop=0.01), size=SizeBudget(max_bytes=1000))
    assert Limits(budgets).excess(POINT)["quality"] > 0
    assert Limits(budgets, foreseen=False).excess(POINT) == {"size": 1.0, "quality": 0.0}
