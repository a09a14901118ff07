"""What became of a budget, in a word, and what each of the words means."""

from collections.abc import Mapping
from typing import Literal

Status = Literal["PASS", "FAIL", "UNDECIDED", "WARN"]

STATUSES: Mapping[Status, str] = {
    "PASS": "The budget is kept. The artefact may ship.",
    "FAIL": "The budget is missed. The artefact does not ship.",
    "UNDECIDED": "What was measured does not decide it, or nothing could be measured. The artefact does not ship.",
    "WARN": "One of the two on a budget with `level: warning`, or a PASS with a doubt that the text names. "
    "The artefact may ship.",
}
"""What each means."""
