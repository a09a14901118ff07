"""The search for one target, from what can be chosen to an answer."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from budgetc_specs.errors import InfeasibleError, WrongNumbersError

from budgetc.build import Built
from budgetc.figures import Limits
from budgetc.progress import Observer
from budgetc.result import BUDGET_MISSED, Outcome, Payment, Proof, SearchInfo, Trial
from budgetc.search.bounds import find_bounds
from budgetc.search.explorer import Candidate, Effort, Explorer
from budgetc.search.knobs import Knobs
from budgetc.search.pays import settle
from budgetc.search.proof import prove
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


@dataclass(frozen=True)
class Found:
    """What the search for one target came to.

    Attributes:
        trials: every candidate that was looked at.
        chosen: its place among them; None where nothing keeps all budgets.
        built: its library.
        proof: why there is none.
        pays: what each pass of the chosen recipe is good for.
        layers: of the chosen or nearest candidate.
        search: how it went.
        answers: the settings of the chosen candidate, or of the nearest ones.
        exit_code: 0, or why not.
    """

    trials: tuple[Trial, ...]
    chosen: Trial | None
    built: Built | None
    proof: Proof | None
    pays: tuple[Payment, ...]
    layers: tuple[Mapping[str, Any], ...]
    search: SearchInfo
    answers: tuple[Settings, ...]
    exit_code: int


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
        self._begin = time.monotonic()
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
        proof = None
        if chosen is None:
            proof = prove(
                self._explorer,
                self._selection,
                self._limits,
                bounds,
                self._explorer.candidates,
                self._stopped,
            )
            chosen = self._selection.made()  # so may what was built to come near
        if chosen is None:
            return self._found(None, proof, (), validation, self._code(beyond))
        if not (self._space.families or self._limits.names):
            return self._found(chosen, None, (), validation, 0)  # nothing was asked for
        left, pays = settle(
            chosen,
            self._explorer,
            self._selection,
            self._workshop,
            self._limits,
            self._effort.objective,
        )
        return self._found(left, None, pays, validation, 0, of=chosen)

    @property
    def _stopped(self) -> str:
        refusals = [c.simulated.refusal for c in self._explorer.candidates if c.figures is None]
        if refusals and len(refusals) == len(self._explorer.candidates):
            return f"nothing can be made of the model: {refusals[0]}"
        if not self._explorer.late and time.monotonic() <= self._effort.deadline:
            return ""
        return f"the search time was up after {len(self._explorer.candidates)} candidates"

    def _code(self, beyond: bool) -> int:
        """Wrong numbers outweigh a missed budget: they say that budgetc itself is at fault."""
        trials = [c.trial for c in self._explorer.candidates if c.trial]
        if any(t.outcome == "wrong numbers" for t in trials):
            return WrongNumbersError.exit_code
        return InfeasibleError.exit_code if beyond else BUDGET_MISSED

    def _found(
        self,
        chosen: Candidate | None,
        proof: Proof | None,
        pays: tuple[Payment, ...],
        validation: str,
        code: int,
        of: Candidate | None = None,
    ) -> Found:
        """What it came to; `of` is the point of the space that the chosen one is a shorter recipe of."""
        candidates = self._explorer.candidates
        trials = {str(c.recipe): self._trial(c) for c in candidates}
        named = {str(c.recipe): c.proposal for c in candidates}
        ends = (
            [str((of or chosen).recipe)]
            if chosen
            else [p.recipe for p in proof.points]
            if proof
            else []
        )
        answers = [named[recipe].settings for recipe in ends if named[recipe].in_space]
        shown = chosen
        if shown is None:
            built = [c for c in candidates if c.trial and c.trial.measurement]
            shown = min(built, key=lambda c: c.trial.excess if c.trial else 0.0, default=None)
        return Found(
            trials=tuple(trials.values()),
            chosen=trials[str(chosen.recipe)] if chosen else None,
            built=self._workshop.library(chosen) if chosen else None,
            proof=proof,
            pays=pays,
            layers=_layers(shown),
            search=SearchInfo(
                seed=self._effort.seed,
                objective=self._effort.objective,
                candidates=self._effort.candidates,
                simulated=len(candidates),
                built=sum(c.trial is not None for c in candidates),
                seconds=time.monotonic() - self._begin,
                validation=validation,
                stopped=self._stopped,
            ),
            answers=tuple(answers),
            exit_code=code,
        )

    def _trial(self, candidate: Candidate) -> Trial:
        if candidate.trial is not None:
            return candidate.trial
        simulated, figures = candidate.simulated, candidate.figures
        outcome: Outcome = "not built"
        reason = "another is expected to be better"
        if figures is None:
            outcome, reason = "refused", simulated.refusal
        else:
            excess = self._limits.excess(figures.scaled(self._workshop.bias))
            broken = [name for name, part in excess.items() if part > 0]
            if broken:
                reason = f"{' and '.join(broken)} would not be kept"
        return Trial(
            recipe=str(candidate.recipe),
            outcome=outcome,
            reason=reason,
            weight_bytes=simulated.weight_bytes,
            ledger=simulated.ledger,
            origin=candidate.proposal.origin,
            predicted=figures,
        )


def _layers(candidate: Candidate | None) -> tuple[Mapping[str, Any], ...]:
    """The calls of a candidate: timed where it was built and runs here, else as they are expected."""
    if candidate is None:
        return ()
    timed = candidate.trial.parts.get("layers", ()) if candidate.trial else ()
    return tuple(timed) or candidate.simulated.layers
