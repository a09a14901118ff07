"""The table of operators in the documentation."""
from pathlib import Path
from collections.abc import Sequence
from benchmarks.conformance.verdicts import Verdict
def write_page(path: Path, verdicts: Sequence[Verdict]) -> None:
    raise NotImplementedError
