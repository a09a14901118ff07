"""What a long run tells whoever watches it: stages, candidates and results, as they happen."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """One message.

    Attributes:
        kind: `stage` (something starts), `candidate` (a candidate is decided), `note` (worth knowing), `target`
            (all work for a target begins).
        target: the target's name in the spec.
        candidate: the recipe's text, empty where none is in hand.
        text: one line for people.
        step: position of the candidate, from 1; 0 where there is none.
        steps: candidates at most.
    """

    kind: str
    target: str
    candidate: str = ""
    text: str = ""
    step: int = 0
    steps: int = 0


Observer = Callable[[Event], None]


def ignore(_: Event) -> None:
    """An observer that does nothing."""
