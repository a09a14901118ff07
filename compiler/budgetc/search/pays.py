"""Pays or goes: a pass of the chosen recipe without which the library is no worse is dropped."""

from budgetc_specs.recipe import Recipe, Step

from budgetc.figures import GOALS, Figures, Goal, Limits
from budgetc.learning import learners
from budgetc.result import Payment
from budgetc.search.explorer import Candidate, Explorer
from budgetc.search.selection import Selection
from budgetc.search.workshop import Workshop

NOISE = 0.03
"""Two latencies that differ by less are taken to be equal."""

_HOUSEKEEPING = frozenset({"clean"})


def settle(
    chosen: Candidate,
    explorer: Explorer,
    selection: Selection,
    workshop: Workshop,
    limits: Limits,
    objective: tuple[Goal, ...],
) -> tuple[Candidate, tuple[Payment, ...]]:
    """Drop what does not pay, and say of each pass what it is good for.

    A recipe without the pass is built only where it is expected to keep all budgets; where it is not, that is what the
    pass is good for. `clean` stays: it changes nothing but what later passes find. Trainings in a row are one. What
    comes before a training goes only together with it, since it would have to be learned anew.

    Args:
        chosen: keeps all budgets.
        explorer: simulates the recipes without each pass.
        selection: compares.
        workshop: builds.
        limits: the budgets.
        objective: what is optimised.

    Returns:
        The candidate that is left, and what was found of each pass, in the order of the recipe.
    """
    payments = []
    for part in parts(chosen.recipe):
        if not all(step in chosen.recipe.steps for step in part):
            continue
        last = max(at for at, step in enumerate(chosen.recipe.steps) if step == part[-1])
        learned = learners(Recipe(chosen.recipe.steps[last + 1 :]))
        recipe = without(chosen.recipe, *part, *learned)
        found = explorer.look_at(recipe, f"without {part[0].name}")
        payment, better = _weigh(part, chosen, found, selection, workshop, limits, objective)
        payments.append(payment)
        if better is not None:
            chosen = better
    return chosen, tuple(payments)


def parts(recipe: Recipe) -> list[tuple[Step, ...]]:
    """The steps that can go, those together that train in a row."""
    trains = {str(step) for step in learners(recipe)}
    found: list[tuple[Step, ...]] = []
    before: Step | None = None
    for step in recipe.steps:
        if str(step) in trains and before is not None and str(before) in trains:
            found[-1] = (*found[-1], step)
        elif step.name not in _HOUSEKEEPING:
            found.append((step,))
        before = step
    return found


def without(recipe: Recipe, *steps: Step) -> Recipe:
    """The recipe without some steps, and without a `clean` that then follows another."""
    left: list[Step] = []
    for each in recipe.steps:
        again = each.name in _HOUSEKEEPING and left and left[-1].name == each.name
        if each not in steps and not again:
            left.append(each)
    return Recipe(tuple(left))


def _weigh(
    part: tuple[Step, ...],
    chosen: Candidate,
    other: Candidate | None,
    selection: Selection,
    workshop: Workshop,
    limits: Limits,
    objective: tuple[Goal, ...],
) -> tuple[Payment, Candidate | None]:
    """What a part is good for, and the candidate without it where that takes the chosen one's place."""
    own = selection.known(chosen)
    assert own is not None

    def payment(text: str, figures: Figures | None, *, kept: bool = True) -> Payment:
        return Payment(str(Recipe(part)), kept, text, own, figures)

    if other is None:
        return payment("there was no time to look at the recipe without it", None), None
    if other.figures is None:
        return payment(f"without it: {other.simulated.refusal}", None), None
    expected = other.figures.scaled(workshop.bias)
    if other.trial is None and any(e > 0 for e in limits.excess(expected).values()):
        broken = [n for n, e in limits.excess(expected).items() if e > 0]
        text = f"without it {' and '.join(broken)} would not be kept: {expected.text}"
        return payment(text, expected), None
    if other.trial is None and expected.learns and not no_worse(expected, own, objective):
        return payment(f"{own.text} with it, {expected.text} expected without", expected), None
    trial = workshop.make(other, f"whether {part[0].name} pays")
    figures = selection.known(other)
    if figures is None or trial.outcome != "feasible":
        missed = " and ".join(v.budget for v in trial.verdicts if not v.holds)
        why = (
            f"{missed} {'is' if ' ' not in missed else 'are'} not kept" if missed else trial.outcome
        )
        return payment(f"without it {why}", figures), None
    if no_worse(figures, own, objective):
        text = f"dropped, it does not pay: {own.text} with it, {figures.text} without"
        return payment(text, figures, kept=False), other
    return payment(f"{own.text} with it, {figures.text} without", figures), None


def no_worse(figures: Figures, than: Figures, objective: tuple[Goal, ...]) -> bool:
    """Whether figures are as good as others, goal by goal, with latencies within the noise taken as equal.

    What is equal by the objective is compared by the other goals: who makes a library smaller for nothing pays.
    """
    rest = (goal for goal in GOALS if goal not in objective)
    for goal in (*objective, *rest):
        one, other = figures.goal(goal), than.goal(goal)
        if goal == "latency" and abs(one - other) <= NOISE * max(one, other):
            continue
        if one != other:
            return one < other
    return True
