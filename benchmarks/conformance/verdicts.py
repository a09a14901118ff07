"""What became of each case, kept in a file between runs."""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

VERDICTS = ("correct", "refused", "wrong", "crashed")


@dataclass(frozen=True, order=True)
class Verdict:
    """One case of a suite: `verdict` is one of VERDICTS, `detail` the reason of all but the first."""

    suite: str
    case: str
    verdict: str
    detail: str


def read_verdicts(path: Path) -> list[Verdict]:
    """Those of earlier runs; none where there is no such file."""
    return [Verdict(**v) for v in json.loads(path.read_text())] if path.exists() else []


def write_verdicts(path: Path, verdicts: Iterable[Verdict]) -> None:
    """Keep them, in order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps([asdict(v) for v in sorted(verdicts)], indent=1) + "\n")


def summary(verdicts: Iterable[Verdict]) -> str:
    """The counts in one line."""
    counts = Counter(v.verdict for v in verdicts)
    return ", ".join(f"{counts[v]} {v}" for v in VERDICTS)
