"""`python -m benchmarks.conformance`: judge the onnx package's backend cases and write the table."""

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from budgetc.worker import ChildDied, run_child
from onnx.backend.test.loader import load_model_tests

from benchmarks.conformance.judge import RECIPE
from benchmarks.conformance.page import write_page
from benchmarks.conformance.verdicts import Verdict, read_verdicts, summary, write_verdicts

SUITES = ("node", "pytorch-converted", "pytorch-operator", "simple")
CHUNK = 64
SECONDS_OF_A_CASE = 60.0
CHILD_BYTES = 8 * 2**30


def main() -> int:
    """Exit code 1 where a case is wrong or crashed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.conformance", description=__doc__)
    parser.add_argument("--suite", choices=SUITES, action="append", help="default: all")
    parser.add_argument("--only", default="", help="a regular expression that names must match")
    parser.add_argument("--again", nargs="*", metavar="VERDICT", help="only cases of such verdicts")
    parser.add_argument("--jobs", type=int, default=2, help="children at once")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/conformance.json"),
        help="verdicts, kept and updated",
    )
    parser.add_argument("--page", type=Path, help="the Markdown page to write the table into")
    given = parser.parse_args()
    os.environ["PYTHONPATH"] = str(Path(__file__).parents[2])  # children import this package
    np.seterr(all="ignore")  # the suites compute expected overflows
    known = {(v.suite, v.case): v for v in read_verdicts(given.out)}
    chunks = []
    for suite in given.suite or SUITES:
        names = [c.name for c in load_model_tests(kind=suite) if re.search(given.only, c.name)]
        if given.again:
            again = {n for (s, n), v in known.items() if s == suite and v.verdict in given.again}
            names = [n for n in names if n in again]
        chunks += [(suite, names[i : i + CHUNK]) for i in range(0, len(names), CHUNK)]
    total, done = sum(len(names) for _, names in chunks), 0
    with tempfile.TemporaryDirectory() as cache, ThreadPoolExecutor(given.jobs) as pool:
        for verdicts in pool.map(lambda c: judge_chunk(c[0], c[1], Path(cache)), chunks):
            known.update({(v.suite, v.case): v for v in verdicts})
            write_verdicts(given.out, known.values())
            done += len(verdicts)
            print(f"{done}/{total} cases: {summary(known.values())}", flush=True)
    for verdict in sorted(known.values()):
        if verdict.verdict in {"wrong", "crashed"}:
            print(f"{verdict.verdict}: {verdict.suite}/{verdict.case}: {verdict.detail}")
    if given.page:
        write_page(given.page, sorted(known.values()), RECIPE)
    return int(any(v.verdict in {"wrong", "crashed"} for v in known.values()))


def judge_chunk(suite: str, names: Sequence[str], cache: Path) -> list[Verdict]:
    """The verdicts of some cases, judged in children; after a death the next child goes on behind it."""
    verdicts: dict[str, Verdict] = {}
    while left := [name for name in names if name not in verdicts]:
        under_way = left[0]

        def note(message: dict[str, Any]) -> None:
            nonlocal under_way
            under_way = message.get("case", under_way)
            if "verdict" in message:
                found = Verdict(suite, under_way, message["verdict"], message["detail"])
                verdicts[under_way] = found

        try:
            run_child(
                "benchmarks.conformance.judge:run_cases",
                {"kind": suite, "names": left, "cache": str(cache)},
                timeout_s=SECONDS_OF_A_CASE * len(left),
                memory_bytes=CHILD_BYTES,
                progress=note,
            )
        except ChildDied as error:
            last = (error.detail + " " + " ".join(error.tail.split()))[-300:]
            verdicts[under_way] = Verdict(suite, under_way, "crashed", f"{error.cause}: {last}")
    return list(verdicts.values())


if __name__ == "__main__":
    sys.exit(main())
