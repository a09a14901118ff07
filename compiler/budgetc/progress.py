"""What a long run tells whoever watches it: stages, candidates and results, as they happen."""

from collections.abc import Callable
from dataclasses import dataclass

from budgetc.figures import Figures, Limits


@dataclass(frozen=True)
class Event:
    """One message.

    Attributes:
        kind: `target` (all work for a target begins), `search` (the search begins), `stage` (something starts),
            `candidate` (a candidate was looked at), `built` (one was built and judged), `note` (worth knowing).
        target: the target's name in the spec.
        candidate: the recipe's text, empty where none is in hand.
        text: one line for people.
        step: position of the candidate, from 1; 0 where there is none.
        steps: candidates at most; 0 where it is not known how many there will be.
        figures: of a candidate: expected, or measured where it was built.
        limits: of a search.
    """

    kind: str
    target: str
    candidate: str = ""
    text: str = ""
    step: int = 0
    steps: int = 0
    figures: Figures | None = None
    limits: Limits | None = None


Observer = Callable[[Event], None]


def ignore(_: Event) -> None:
    """An observer that does nothing."""
