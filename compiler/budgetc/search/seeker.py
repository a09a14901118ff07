"""The search for one target, from what can be chosen to an answer."""

from collections.abc import Sequence

from budgetc.figures import Limits
from budgetc.progress import Observer
from budgetc.search.bounds import find_bounds
from budgetc.search.decision import Decision, Found
from budgetc.search.explorer import Effort, Explorer
from budgetc.search.knobs import Knobs
from budgetc.search.selection import EARLIER, Selection
from budgetc.search.settings import Settings
from budgetc.search.simulations import Simulations
from budgetc.search.space import Space
from budgetc.search.study import Proposal
from budgetc.search.workshop import Workshop

OUT_OF_REACH_SHARE = 0.4
"""Part of the candidates that is looked at where a budget is proven out of reach, to find what comes nearest."""

APPROACH_SHARE = 0.25
"""Part of the candidates that go toward single budgets where nothing keeps all."""


class Seeker:
    """The search for one target.

    Args:
        space: what can be chosen.
        knobs: the same as knobs.
        limits: the budgets.
        simulations: tell what candidates would be.
        workshop: makes them.
        effort: how far to go.
        target: its name.
        observer: told what happens.
    """

    def __init__(
        self,
        space: Space,
        knobs: Knobs,
        limits: Limits,
        simulations: Simulations,
        workshop: Workshop,
        effort: Effort,
        target: str,
        observer: Observer,
    ) -> None:
        self._space, self._limits, self._effort = space, limits, effort
        self._workshop = workshop
        self._explorer = Explorer(space, knobs, limits, simulations, effort, target, observer)
        self._selection = Selection(self._explorer, workshop, limits, effort)

    def seek(self, earlier: Sequence[Settings], validation: str) -> Found:
        """Look, build, choose; or prove that there is nothing to choose.

        Args:
            earlier: what earlier searches for this model ended with.
            validation: which data quality is judged on, for the report.

        Raises:
            SpecError, EnvironmentError_: the spec or this machine is at fault, so that no candidate could do better.
        """
        decision = Decision(
            self._explorer, self._selection, self._workshop, self._limits, self._effort, validation
        )
        most = self._effort.candidates
        (furthest,) = self._explorer.look(
            [Proposal(self._space.furthest(), "every pass at its most")]
        )
        beyond = any(b.beyond for b in find_bounds([furthest.simulated], self._limits))
        self._explorer.explore(
            [Proposal(settings, EARLIER) for settings in earlier],
            max(1, round(most * OUT_OF_REACH_SHARE)) if beyond else most,
        )
        # Should any candidate have fewer weights than the furthest, it is the bound.
        bounds = find_bounds([c.simulated for c in self._explorer.candidates], self._limits)
        beyond = any(bound.beyond for bound in bounds)
        chosen = None if beyond else self._selection.best()
        if chosen is None and not beyond and not self._limits.unjudged:
            for budget in self._limits.names:
                share = round(most * APPROACH_SHARE / len(self._limits.names))
                self._explorer.approach(budget, max(1, share))
            chosen = self._selection.best()  # the sampler may have come upon one
        if chosen is None:
            return decision.proven(bounds)
        if not (self._space.families or self._limits.names):
            return decision.found(chosen, None, (), 0)  # nothing was asked for
        return decision.settled(chosen)
