"""`budgetc plan`: what budgets imply and what to expect, in words and as JSON; 3 where one is out of reach."""

import json


def test_it_says_what_the_budgets_imply(budgetc_cli, tiny):
    done = budgetc_cli("plan", tiny, "-q", "--set", "budgets={size: 64 KiB, latency: 10 ms}")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "bits for each of 32 weights" in done.stdout
    assert "multiply-accumulates in 10 ms" in done.stdout
    assert "what to expect" in done.stdout


def test_a_budget_below_the_weights_is_out_of_reach(budgetc_cli, tiny):
    done = budgetc_cli("plan", tiny, "-q", "--set", "budgets.size=100 B")
    assert done.returncode == 3
    assert "size is out of reach: with every pass at its most, the weights alone take 128 B" in (
        done.stdout
    )


def test_json_has_needs_bounds_space_and_points(budgetc_cli, tiny):
    done = budgetc_cli(
        "plan", tiny, "--json", "--set", "budgets.size=64 KiB", "--set", "passes=auto"
    )
    assert done.returncode == 0, done.stderr
    plan = json.loads(done.stdout)
    assert plan["budgetc"] == 1
    (target,) = plan["targets"]
    assert [need["budget"] for need in target["needs"]] == ["size"]
    (bound,) = target["bounds"]
    assert (bound["budget"], bound["beyond"]) == ("size", False)
    assert target["points"][0]["recipe"] == "clean | fuse | clean"
    assert target["points"][0]["figures"]["size"] > bound["bound"]


def test_a_spec_with_errors_is_told_like_everywhere(budgetc_cli, tiny):
    done = budgetc_cli("plan", tiny, "--target", "hots")
    assert done.returncode == 2
    assert 'did you mean "host"?' in done.stderr
