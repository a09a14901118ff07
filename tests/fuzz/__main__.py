"""`python -m tests.fuzz --graphs 2000 --seed 0`: random graphs against the references; failures become files."""

import argparse
import collections
import contextlib
import re
import sys
import time
from pathlib import Path

from tests.fuzz.run import fuzz, write_text
from tests.fuzz.trial import Outcome, small


def main() -> int:
    """Run, print a line for each batch, and write what fails; 1 where anything did."""
    options = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    options.add_argument("--graphs", type=int, default=2000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--out", type=Path, default=Path("build/fuzz"), help="folder for failures")
    given = options.parse_args()
    counts: collections.Counter[str] = collections.Counter()
    refused: collections.Counter[str] = collections.Counter()
    excepted, failures, begin = 0, 0, time.monotonic()
    with contextlib.suppress(KeyboardInterrupt):  # what was found so far is told
        for outcomes in fuzz(given.graphs, given.seed):
            for outcome in outcomes:
                counts[outcome.verdict] += 1
                excepted += outcome.excepted > 0
                if outcome.verdict in {"refused", "no reference"}:
                    refused[_words(outcome.text)] += 1
                if outcome.fails:
                    failures += 1
                    _keep(outcome, given.out, given.seed)
            parts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(counts.items()))
            print(
                f"{time.monotonic() - begin:7.1f} s  {parts}; {excepted} with exceptions",
                flush=True,
            )
    for text, count in refused.most_common(20):
        print(f"  not compared, {count}: {text}")
    return 1 if failures else 0


def _words(text: str) -> str:
    """A refusal without the names and numbers of its graph."""
    return re.sub(r'"[^"]*"|\d+', "..", text.partition("\n")[0])[:110]


def _keep(outcome: Outcome, folder: Path, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{seed}-{outcome.model.outputs[0].name.partition('_')[0]}"
    write_text(outcome.model, folder / f"{name}-whole.txt", f"{outcome.verdict}: {outcome.text}")
    found = small(outcome)
    path = folder / f"{name}.txt"
    write_text(found.model, path, f"{found.verdict}: {found.text}")
    print(f"  {found.verdict}, {path}: {found.text[:300]}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
