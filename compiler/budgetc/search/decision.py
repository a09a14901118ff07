"""What a search came to: the answer with its library, or the proof that there is none."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from budgetc_specs.errors import InfeasibleError, WrongNumbersError

from budgetc.build import Built
from budgetc.figures import Limits
from budgetc.result import BUDGET_MISSED, Bound, Outcome, Payment, Proof, SearchInfo, Trial
from budgetc.search.explorer import Candidate, Effort, Explorer
from budgetc.search.pays import settle
from budgetc.search.proof import prove
from budgetc.search.selection import Selection
from budgetc.search.settings import Settings
from budgetc.search.workshop import Workshop


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


class Decision:
    """Draws the conclusion from the candidates of one target.

    Args:
        explorer: knows the candidates.
        selection: builds and compares them.
        workshop: makes them.
        limits: the budgets.
        effort: how far to go.
        validation: which data quality is judged on, for the report.
    """

    def __init__(
        self,
        explorer: Explorer,
        selection: Selection,
        workshop: Workshop,
        limits: Limits,
        effort: Effort,
        validation: str,
    ) -> None:
        self._explorer, self._selection, self._workshop = explorer, selection, workshop
        self._limits, self._effort, self._validation = limits, effort, validation
        self._begin = time.monotonic()

    def proven(self, bounds: Sequence[Bound]) -> Found:
        """Nothing keeps all budgets, as far as was seen: why, unless what is built for the proof turns out to."""
        proof = prove(
            self._explorer,
            self._selection,
            self._limits,
            bounds,
            self._explorer.candidates,
            self.stopped,
        )
        chosen = self._selection.made()  # so may what was built to come near
        if chosen is not None:
            return self.settled(chosen)
        return self.found(None, proof, (), self._code(any(bound.beyond for bound in bounds)))

    def settled(self, chosen: Candidate) -> Found:
        """A candidate keeps all budgets: without the passes that do not pay."""
        left, pays = settle(
            chosen,
            self._explorer,
            self._selection,
            self._workshop,
            self._limits,
            self._effort.objective,
        )
        return self.found(left, None, pays, 0, of=chosen)

    @property
    def stopped(self) -> str:
        """Why the search ended early, or nothing."""
        refusals = [c.simulated.refusal for c in self._explorer.candidates if c.figures is None]
        if refusals and len(refusals) == len(self._explorer.candidates):
            return f"nothing can be made of the model: {refusals[0]}"
        if not self._explorer.late and time.monotonic() <= self._effort.deadline:
            return ""
        return f"the search time was up after {len(self._explorer.candidates)} candidates"

    def found(
        self,
        chosen: Candidate | None,
        proof: Proof | None,
        pays: tuple[Payment, ...],
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
                validation=self._validation,
                stopped=self.stopped,
            ),
            answers=tuple(answers),
            exit_code=code,
        )

    def _code(self, beyond: bool) -> int:
        """Wrong numbers outweigh a missed budget: they say that budgetc itself is at fault."""
        trials = [c.trial for c in self._explorer.candidates if c.trial]
        if any(t.outcome == "wrong numbers" for t in trials):
            return WrongNumbersError.exit_code
        return InfeasibleError.exit_code if beyond else BUDGET_MISSED

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
