"""Candidates and what is expected of them: the first points, then the sampler's, all by simulation."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from budgetc_specs.recipe import Recipe

from budgetc.figures import Figures, Goal, Limits, rank
from budgetc.progress import Event, Observer
from budgetc.result import Trial
from budgetc.search.knobs import Knobs
from budgetc.search.settings import Settings
from budgetc.search.simulations import Simulated, Simulations
from budgetc.search.space import Space
from budgetc.search.study import Proposal, Study, first_points, neighbours
from budgetc.verdict import BudgetName

BATCH = 4
"""Proposals that the sampler makes at once: the same for every number of workers, so that proposals are the same."""

EARLIER_SHARE = 0.2
"""Part of the candidates that are answers of earlier searches, the latest of them."""

FIRST_SHARE = 0.6
"""Part of the candidates that are points a person would try."""

CENTRES = 3
"""Candidates whose neighbours are looked at, the best so far."""

HELD_BACK = 0.25
"""Part that waits until it is known whether anything keeps the budgets."""


@dataclass(frozen=True)
class Effort:
    """How far the search may go.

    Attributes:
        candidates: how many it may look at.
        deadline: when it has to come to an end, as `time.monotonic` counts.
        seed: of the sampler.
        objective: what is optimised among the points that keep all budgets.
    """

    candidates: int
    deadline: float
    seed: int
    objective: tuple[Goal, ...]


@dataclass
class Candidate:
    """A point of the space, and what is known of it.

    Attributes:
        proposal: the point, and why it was looked at.
        recipe: what makes it.
        simulated: what is known of it unbuilt.
        figures: what is expected of the library; None where it was refused.
        trial: what was measured; None where it was not built.
    """

    proposal: Proposal
    recipe: Recipe
    simulated: Simulated
    figures: Figures | None
    trial: Trial | None = None


class Explorer:
    """Looks at candidates of one target.

    Args:
        space: what can be chosen.
        knobs: the same as knobs.
        limits: the budgets.
        simulations: tells what candidates would be.
        effort: how far to go.
        target: its name.
        observer: told of every candidate.
    """

    def __init__(
        self,
        space: Space,
        knobs: Knobs,
        limits: Limits,
        simulations: Simulations,
        effort: Effort,
        target: str,
        observer: Observer,
    ) -> None:
        self._space, self._knobs, self._limits = space, knobs, limits
        self._simulations, self._effort = simulations, effort
        self._target, self._observer = target, observer
        self._study = self._new_study()
        self._by_recipe: dict[str, Candidate] = {}
        self._most = effort.candidates
        self.late = False

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All that were looked at, in order."""
        return tuple(self._by_recipe.values())

    def explore(self, earlier: Sequence[Proposal], most: int) -> None:
        """Look at what earlier searches ended with, at the first points, then at what the sampler proposes.

        What is held back is spent on the same where something is expected to keep the budgets.
        """
        self._most = most
        first = first_points(self._space, self._knobs, max(1, round(FIRST_SHARE * most)))
        self.look([*earlier[: max(1, round(EARLIER_SHARE * most))], *first])
        self._improve(round(most * (1 - HELD_BACK)), self._study, self._most_promising)
        if any(self.keeps(c) for c in self.candidates):
            self._improve(most, self._study, self._most_promising)

    def approach(self, budget: BudgetName, count: int) -> None:
        """Look at so many more candidates, those that come nearest to a budget within all others."""
        study = self._new_study(budget)
        for candidate in self.candidates:
            study.tell(candidate.proposal, candidate.figures)
        self._most = len(self._by_recipe) + count
        self._improve(self._most, study, lambda: self._nearest(budget))

    def look(self, proposals: Sequence[Proposal]) -> list[Candidate]:
        """Simulate what was not looked at yet; returns the candidate of each proposal that there was time for."""
        recipes = {str(self._space.recipe(p.settings)): p for p in proposals}
        fresh = {r: p for r, p in recipes.items() if r not in self._by_recipe}
        if time.monotonic() > self._effort.deadline and self._by_recipe:
            self.late, fresh = True, {}
        named = [self._space.recipe(p.settings) for p in fresh.values()]
        most = max(self._most, len(self._by_recipe) + len(fresh))
        for candidate in self._simulate(named, list(fresh.values()), most):
            self._study.tell(candidate.proposal, candidate.figures)
        return [self._by_recipe[text] for text in recipes if text in self._by_recipe]

    def look_at_all(self, recipes: Mapping[Recipe, str]) -> list[Candidate]:
        """The candidates of recipes that may be outside of the space, each with why it is looked at; there is time.

        Strategies ask as they go: nobody knows how many there will be, so that they are counted without a total.
        """
        fresh = {r: why for r, why in recipes.items() if str(r) not in self._by_recipe}
        proposals = [Proposal(Settings(), why, in_space=False) for why in fresh.values()]
        self._simulate(list(fresh), proposals, 0)
        return [self._by_recipe[str(recipe)] for recipe in recipes]

    def look_at(self, recipe: Recipe, origin: str) -> Candidate | None:
        """The candidate of a recipe, which may be outside of the space; None where there is no time for it."""
        text = str(recipe)
        if text not in self._by_recipe and time.monotonic() <= self._effort.deadline:
            self._observer(Event("stage", self._target, text, origin))
            (simulated,) = self._simulations.simulate([recipe])
            self._enter(Proposal(Settings(), origin, in_space=False), recipe, simulated)
        return self._by_recipe.get(text)

    def _simulate(
        self, recipes: Sequence[Recipe], proposals: Sequence[Proposal], most: int
    ) -> list[Candidate]:
        """Simulate what was not looked at yet, and note it; there will be so many in all, or 0 where nobody knows."""
        count, ended = len(self._by_recipe), 0

        def done(position: int, simulated: Simulated) -> None:
            nonlocal ended
            ended += 1
            self._tell(simulated, recipes[position], count + ended, most)

        def says(position: int, text: str) -> None:
            self._observer(Event("stage", self._target, str(recipes[position]), text))

        found = self._simulations.simulate(recipes, done, says)
        return [self._enter(*each) for each in zip(proposals, recipes, found, strict=True)]

    def _enter(self, proposal: Proposal, recipe: Recipe, simulated: Simulated) -> Candidate:
        """Note what is known of a recipe."""
        figures = simulated.figures(self._limits)
        candidate = Candidate(proposal, recipe, simulated, figures)
        self._by_recipe[str(recipe)] = candidate
        return candidate

    def keeps(self, candidate: Candidate, bias: float = 1.0) -> bool:
        """Whether a candidate is expected to keep all budgets, or may do so within what is uncertain."""
        if candidate.figures is None:
            return False
        excess = self._limits.excess(candidate.figures.scaled(bias), hopeful=True)
        return all(part <= 0 for part in excess.values())

    def _improve(self, most: int, study: Study, centres: Callable[[], Sequence[Candidate]]) -> None:
        """Look at neighbours of the best so far and at what a sampler proposes, in turns, up to so many in all."""
        while (left := most - len(self._by_recipe)) > 0 and not self.late:
            before = len(self._by_recipe)
            near = self._near(centres(), min(BATCH, (left + 1) // 2))
            for candidate in self.look(near):
                if study is not self._study:
                    study.tell(candidate.proposal, candidate.figures)
            self._sample(study, min(BATCH, most - len(self._by_recipe)))
            if len(self._by_recipe) == before:
                break  # there is nothing new to look at

    def _near(self, centres: Sequence[Candidate], count: int) -> list[Proposal]:
        """What is next to these and new; in turns, so that the first does not take all."""
        seen = {c.proposal.settings for c in self.candidates}
        found: dict[Settings, Proposal] = {}
        lists = [
            [p for p in neighbours(self._space, self._knobs, c.proposal) if p.settings not in seen]
            for c in centres[:CENTRES]
        ]
        for row in zip_longest(*lists):
            for proposal in row:
                if proposal is not None and len(found) < count:
                    found.setdefault(proposal.settings, proposal)
        return list(found.values())

    def _most_promising(self) -> list[Candidate]:
        """The best of those that are expected to keep all budgets; where none does, those that are nearest to it."""
        known = [c for c in self.candidates if c.figures is not None and c.proposal.in_space]
        keeping = [c for c in known if self._passed(c) <= 0]
        if keeping:
            return best_first(keeping, self._effort.objective, 1.0)
        return sorted(known, key=self._passed)

    def _nearest(self, budget: BudgetName) -> list[Candidate]:
        """By how far they are from keeping all other budgets, then by how far they are from this one."""

        def distance(candidate: Candidate) -> tuple[float, float]:
            assert candidate.figures is not None
            excess = self._limits.excess(candidate.figures)
            own = excess.pop(budget)
            return max(0.0, *excess.values(), 0.0), own

        known = [c for c in self.candidates if c.figures is not None and c.proposal.in_space]
        return sorted(known, key=distance)

    def _passed(self, candidate: Candidate) -> float:
        """The part by which a candidate is expected to pass the budget that it passes most."""
        assert candidate.figures is not None
        return max(self._limits.excess(candidate.figures).values(), default=0.0)

    def _sample(self, study: Study, count: int) -> None:
        while count > 0 and not self.late:
            proposals = study.ask(min(BATCH, count))
            if not proposals:
                break
            for candidate in self.look(proposals):
                if study is not self._study:
                    study.tell(candidate.proposal, candidate.figures)
            count -= len(proposals)

    def _new_study(self, toward: BudgetName | None = None) -> Study:
        effort = self._effort
        return Study(self._knobs, self._limits, effort.objective, effort.seed, toward)

    def _tell(self, simulated: Simulated, recipe: Recipe, step: int, most: int) -> None:
        figures = simulated.figures(self._limits)
        text = f"refused: {simulated.refusal}" if figures is None else f"expected: {figures.text}"
        self._observer(
            Event("candidate", self._target, str(recipe), text, step, most, figures=figures)
        )


def best_first(
    candidates: Sequence[Candidate], objective: tuple[Goal, ...], bias: float
) -> list[Candidate]:
    """Candidates in the order of the objective, by what is expected of them."""

    def key(candidate: Candidate) -> tuple[float, ...]:
        assert candidate.figures is not None
        return rank(candidate.figures.scaled(bias), objective)

    return sorted(candidates, key=key)
