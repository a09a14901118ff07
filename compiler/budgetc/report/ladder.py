"""A strategy as a way: the figures after each of its steps, beside every training, the float model and the budgets."""

from collections.abc import Callable, Mapping
from typing import Any

from budgetc.report import figures
from budgetc.report.candidates import LONGEST_RECIPE, Figures, known_figures, limits
from budgetc.report.document import Reached, Strategy, StrategyStep, StrategyTrial, Target
from budgetc.report.sections import Table, Value

AXES = ("size", "latency", "memory")
"""What may go to the right; loss of quality goes up."""

_NAMES = {
    "float": "as it is",
    "grown": "larger",
    "raised": "larger, trained",
    "shrunk": "smaller",
    "trained": "trained",
    "coded": "in codes",
    "tuned": "trained in codes",
    "built": "built and measured",
}


def chart(target: Target, most: int) -> dict[str, Any] | None:
    """What the chart draws, as JSON values; None where there is no strategy or nothing of it has two figures.

    Args:
        target: the outcome.
        most: trainings that are drawn, the last ones where there are more.
    """
    strategy = target.strategy
    if strategy is None:
        return None
    steps = [_point(number, *step) for number, step in enumerate(_steps(target, strategy), 1)]
    trials = [_trial_point(number, each) for number, each in enumerate(strategy.trials, 1)]
    points = [*steps, *trials[-most:]]
    axes = [name for name in AXES if any(_both(point, name) for point in steps)]
    if not axes:
        return None
    return {
        "axes": axes,
        "points": points,
        "fronts": {},
        "peers": [],
        "limits": limits(target).to_json(),
    }


def table(target: Target) -> Table | None:
    """The steps in their order; None where there is no strategy."""
    if target.strategy is None:
        return None
    rows = []
    for number, (name, text, epochs, found) in enumerate(_steps(target, target.strategy), 1):
        rows.append(
            (
                Value(f"{number} {name}"),
                Value(figures.count(epochs) if epochs else figures.ABSENT, epochs),
                _cell(found, found.size, figures.size),
                _cell(found, found.memory, figures.size),
                _cell(found, found.latency, figures.time),
                _cell(found, found.drop, figures.points),
                Value(figures.visible(text, LONGEST_RECIPE)),
            )
        )
    names = ("step", "epochs", "size", "memory", "latency", "quality drop", "what was done")
    return Table(names, (False, *[True] * 5, False), tuple(rows))


def trainings(target: Target, most: int) -> Table | None:
    """Every training, in order; None where there is none."""
    if target.strategy is None or not target.strategy.trials:
        return None
    shown = target.strategy.trials[-most:] if most else ()
    first = len(target.strategy.trials) - len(shown) + 1
    rows = []
    for number, each in enumerate(shown, first):
        found = _reached(each.reached)
        outcome = each.reason or ("went on" if each.went_on else "ended here")
        rows.append(
            (
                Value(str(number), number),
                Value(each.phase),
                Value(figures.count(each.rung), each.rung),
                Value(figures.count(each.epochs), each.epochs),
                _cell(found, found.size, figures.size),
                _cell(found, found.drop, figures.points),
                Value(figures.visible(outcome, LONGEST_RECIPE)),
                Value(figures.visible(each.recipe, LONGEST_RECIPE)),
            )
        )
    names = ("#", "phase", "rung", "epochs", "size", "quality drop", "outcome", "recipe")
    return Table(
        names,
        (True, False, True, True, True, True, False, False),
        tuple(rows),
        len(target.strategy.trials) - len(rows),
    )


def sentence(target: Target) -> str:
    """How the strategy went, in words; empty where there is none."""
    found = target.strategy
    if found is None:
        return ""
    parts = [f"{len(found.trials)} trainings" if found.trials else "No training"]
    if found.trained is not None:
        parts.append(f"{figures.time(found.trained)} of training in all")
    if found.judged_on:
        parts.append(f"judged on {found.judged_on}")
    return f"{', '.join(parts)}."


_Step = tuple[str, str, float, Figures]


def _steps(target: Target, strategy: Strategy) -> list[_Step]:
    """Name, text, epochs and figures of each step; what was handed over, or came nearest, is the last."""
    found = [_of(step) for step in strategy.steps]
    shown = target.shown
    if shown is not None and shown.measurement is not None:
        epochs = found[-1][2] if found else 0.0
        found.append((_NAMES["built"], shown.recipe, epochs, known_figures(shown)))
    return found


def _of(step: StrategyStep) -> _Step:
    name = _NAMES.get(step.kind, step.kind)
    return name, step.text or step.recipe, step.epochs, _reached(step.reached)


def _reached(found: Reached | None) -> Figures:
    if found is None:
        return Figures(None, None, None, None, predicted=True)
    return Figures(found.size, found.memory, found.latency, found.drop, predicted=True)


def _cell(found: Figures, value: float | None, form: Callable[[float | None], str]) -> Value:
    about = "≈ " if found.predicted and value is not None else ""
    return Value(f"{about}{form(value)}", value)


def _point(number: int, name: str, text: str, epochs: float, found: Figures) -> dict[str, Any]:
    trained = f"{figures.count(epochs)} epochs so far" if epochs else ""
    lines = [f"{number}: {name}", text, trained, found.text]
    return {
        "n": number,
        "step": number,
        "stage": "simulated" if found.predicted else "built",
        "kept": True,
        "shown": not found.predicted,
        **_figures(found),
        "texts": [figures.visible(line, 400) for line in lines if line],
    }


def _trial_point(number: int, each: StrategyTrial) -> dict[str, Any]:
    found = _reached(each.reached)
    state = each.reason or ("trained further" if each.went_on else "not trained further")
    head = f"training {number}: {each.phase}, rung {figures.count(each.rung)}, {figures.count(each.epochs)} epochs"
    lines = [head, each.recipe, found.text, state]
    return {
        "n": number,
        "step": None,
        "stage": "trained",
        "kept": each.went_on,
        "shown": False,
        **_figures(found),
        "texts": [figures.visible(line, 400) for line in lines if line],
    }


def _figures(found: Figures) -> dict[str, float | None]:
    return {
        "size": found.size,
        "memory": found.memory,
        "latency": found.latency,
        "drop": found.drop,
    }


def _both(point: Mapping[str, Any], axis: str) -> bool:
    return point[axis] is not None and point["drop"] is not None
