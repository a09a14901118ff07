"""What to try next: the points that a person would try first, then Optuna's proposals under the budgets."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import optuna

from budgetc.figures import Figures, Goal, Limits
from budgetc.search.knobs import STEPS, Knob, Knobs, Params, Setting
from budgetc.search.settings import Settings
from budgetc.search.space import Space
from budgetc.verdict import BudgetName

_ATTEMPTS = 64
"""Proposals in a row that were there before, until the sampler is taken to know nothing new."""

NEIGHBOUR = "next to the best so far"
"""Why a point is looked at that differs little from one that is good."""

_LESSER = 1e-3
"""Weight of each goal against the one before it."""


@dataclass(frozen=True)
class Proposal:
    """A point to look at.

    Attributes:
        settings: the point.
        origin: why, for people.
        params: its knobs; None for what is no point of the knobs.
        in_space: whether the settings say all of it; not so for a recipe without what all others begin with.
    """

    settings: Settings
    origin: str
    params: Params | None = None
    in_space: bool = True


def first_points(space: Space, knobs: Knobs, most: int) -> list[Proposal]:
    """What is worth a look on any model, the most telling first, at most so many.

    The model as it is; each family of codes as far as it goes, by each of its options; shorter floats alone; each level
    of each family of structure for all parts alike, with codes and, where there are none, without; then both ladders in
    steps, where what codes leave in float is in shorter floats if there are such.
    """
    codes = [f for f in space.families if f.stage == "codes"]
    structure = [f for f in space.families if f.stage == "structure"]
    full: dict[str, int | str] = {f"{f.name}.amount": STEPS for f in codes}
    points: list[tuple[dict[str, int | str], str]] = [({}, "as it is")]
    options = list(_options(codes))
    points += [({**full, **chosen}, "all layers") for chosen in options if codes]
    halves: dict[str, int | str] = {
        f"{f.name}.amount": STEPS for f in space.families if f.stage == "halves"
    }
    if halves:
        points.append((halves, "all layers in shorter floats"))
    levels: list[dict[str, int | str]] = [
        {f"{f.name}.amount": knobs.amount_of(f, i), f"{f.name}.order": "uniform"}
        for f in structure
        for i in range(len(knobs.uniform_levels(f)))
    ]
    points += [({**full, **level}, "all groups alike") for level in levels]
    for family in structure:
        ranked: dict[str, int | str] = {f"{family.name}.order": "ranked"}
        points += [
            ({**full, **ranked, f"{family.name}.amount": amount}, "least sensitive groups first")
            for amount in range(STEPS // 8, STEPS, STEPS // 8)
        ]
    origin = f"most sensitive layers {'in shorter floats' if halves else 'kept'}"
    for family in codes:
        ranked = {f"{family.name}.order": "ranked"}
        points += [
            ({**full, **halves, **ranked, f"{family.name}.amount": amount}, origin)
            for amount in (STEPS - 1, STEPS - 2, STEPS - 4, STEPS // 2)
        ]
    points += [
        ({**full, **level, **chosen}, "all groups alike")
        for level in levels
        for chosen in options[1:]
    ]
    proposals: dict[Settings, Proposal] = {}
    for params, origin in points:
        settings = knobs.settings(params)
        proposals.setdefault(settings, Proposal(settings, origin, params))
    return list(proposals.values())[:most]


def _options(families: Sequence[Any]) -> Iterator[dict[str, int | str]]:
    """The defaults, then every other value of every option alone."""
    yield {}
    for family in families:
        for option, values in family.options:
            for index in range(1, len(values)):
                yield {f"{family.name}.{option}": index}


def neighbours(space: Space, knobs: Knobs, proposal: Proposal) -> list[Proposal]:
    """The points that differ from another in one knob: other values of options, then amounts and parts next to its own.

    Args:
        space: what can be chosen.
        knobs: the same as knobs.
        proposal: a point. What is none of the knobs has neighbours that differ in one option or by one level of a part;
            what is outside of the space has none.
    """
    params = proposal.params
    if params is None:
        around = _around(space, proposal.settings) if proposal.in_space else ()
        return [Proposal(settings, NEIGHBOUR) for settings in dict.fromkeys(around)]
    found: dict[Settings, Proposal] = {}
    steps = ((k, p) for rank in range(3) for k in knobs.knobs for p in _next_to(k, params, rank))
    for knob, position in steps:
        turned = {**params, knob.name: position}
        settings = knobs.settings(turned)
        if settings != proposal.settings:
            found.setdefault(settings, Proposal(settings, NEIGHBOUR, turned))
    return list(found.values())


def _around(space: Space, settings: Settings) -> Iterator[Settings]:
    said = settings.to_json()
    levels, options = said["levels"], said["options"]
    for family in space.families:
        for option, values in family.options if family.name in levels else ():
            own = options.get(family.name, {})
            for value in values:
                if value != own.get(option, values[0]):
                    yield space.settings(levels, {**options, family.name: {**own, option: value}})
    for family, choice in space.choices():
        now = settings.level(family.name, choice.name)
        at = 0 if now is None else choice.levels.index(now)
        for index in (at - 1, at + 1):
            if 0 <= index < len(choice.levels):
                parts = {**levels.get(family.name, {}), choice.name: choice.levels[index]}
                yield space.settings({**levels, family.name: parts}, options)


def _next_to(knob: Knob, params: Params, rank: int) -> Iterator[Setting]:
    """Positions next to a knob's own: of options for a rank of 0, of amounts for 1, of parts for 2."""
    at = params.get(knob.name, _neutral(knob.positions))
    kind = 1 if knob.name.endswith(".amount") else 2 if ".part." in knob.name else 0
    if kind != rank:
        return
    if kind == 0:
        yield from (p for p in knob.positions if p != at)
        return
    own = knob.positions.index(at)
    near = [own + step for step in ((-1, 1, -2, 2, -4, 4) if kind == 1 else (-1, 1))]
    yield from (knob.positions[index] for index in near if 0 <= index < len(knob.positions))


class Study:
    """Proposes points by a tree-structured Parzen estimator that prefers those which keep the budgets.

    The same seed and the same answers give the same proposals. Source: S. Watanabe, F. Hutter, c-TPE: Tree-structured
    Parzen Estimator with Inequality Constraints, IJCAI 2023.

    Args:
        knobs: what is turned.
        limits: the budgets.
        objective: what is optimised among the points that keep them.
        seed: of the sampler.
        toward: the budget to come as near to as the others allow, instead of the objective.
    """

    def __init__(
        self,
        knobs: Knobs,
        limits: Limits,
        objective: tuple[Goal, ...],
        seed: int,
        toward: BudgetName | None = None,
    ) -> None:
        self._knobs, self._limits, self._objective = knobs, limits, objective
        self._toward = toward
        self._distributions: dict[str, Any] = {
            knob.name: optuna.distributions.IntDistribution(0, len(knob.positions) - 1)
            if knob.name.endswith(".amount")
            else optuna.distributions.CategoricalDistribution(knob.positions)
            for knob in knobs.knobs
        }
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            sampler = optuna.samplers.TPESampler(
                seed=seed,
                multivariate=True,
                n_startup_trials=0,
                constraints_func=lambda trial: trial.user_attrs["excess"],
            )
        self._study = optuna.create_study(sampler=sampler)
        self._known: set[Settings] = set()
        self._scale: dict[str, float] = {}

    def tell(self, proposal: Proposal, figures: Figures | None) -> None:
        """What came of a point; None where it was refused."""
        self._known.add(proposal.settings)
        if proposal.params is None or figures is None:
            return
        excess = self._limits.excess(figures)
        value = self._value(figures, excess)
        constraints = [e for name, e in excess.items() if name != self._toward]
        defaults = {knob.name: _neutral(knob.positions) for knob in self._knobs.knobs}
        trial = optuna.trial.create_trial(
            params={**defaults, **proposal.params},
            distributions=self._distributions,
            value=value,
            user_attrs={"excess": constraints},
            system_attrs={"constraints": constraints},
        )
        self._study.add_trial(trial)

    def ask(self, count: int) -> list[Proposal]:
        """New points, at most so many; fewer where the sampler has no more that are new."""
        found: list[Proposal] = []
        for _ in range(_ATTEMPTS * count):
            if len(found) == count or not self._distributions:
                break
            trial = self._study.ask(self._distributions)
            # It is told as a trial of its own later, so that the order of answers does not matter.
            self._study.tell(trial, state=optuna.trial.TrialState.FAIL)
            settings = self._knobs.settings(trial.params)
            if settings not in self._known:
                self._known.add(settings)
                found.append(Proposal(settings, self._origin, dict(trial.params)))
        return found

    @property
    def _origin(self) -> str:
        return f"toward {self._toward}" if self._toward else "sampler"

    def _value(self, figures: Figures, excess: Mapping[BudgetName, float]) -> float:
        """One number to make small. Goals are scaled by the first answer, so that none drowns the others."""
        if self._toward is not None:
            return excess[self._toward]
        value, weight = 0.0, 1.0
        for goal in self._objective:
            part = figures.goal(goal)
            scale = 1.0 if goal == "quality" else self._scale.setdefault(goal, part or 1.0)
            value += weight * part / scale
            weight *= _LESSER
        return value + weight * figures.error


def _neutral(positions: Sequence[str | int]) -> str | int:
    return 0 if 0 in positions else "uniform"
