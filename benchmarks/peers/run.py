"""One measurement of one peer in a fresh process, in whatever environment holds the peer; prints one line of JSON."""

import argparse
import json
import statistics
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers.runtimes import DISTRIBUTIONS, LOADERS, Sample, mapped_bytes, model_bytes

WARM_UP = 0.25
MIN_WARM_RUNS = 2
MIN_RUNS = 7


def resident() -> int:
    """Bytes of this process that are in memory."""
    rollup = Path("/proc/self/smaps_rollup").read_text()
    line = next(text for text in rollup.splitlines() if text.startswith("Rss:"))
    return int(line.split()[1]) * 1024


def read(file: Path) -> list[Sample]:
    """Samples on axis 0 of an .npy file, for one input; or one sample in an .npz file, an array an input."""
    if file.suffix == ".npz":
        with np.load(file) as archive:
            return [[archive[name] for name in archive.files]]
    stacked = np.load(file)
    return [[np.ascontiguousarray(stacked[i : i + 1])] for i in range(len(stacked))]


def main() -> int:
    """Cold start, memory, timed runs, and the answers where they are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runtime", choices=LOADERS)
    parser.add_argument("file", type=Path)
    parser.add_argument("samples", type=Path)
    parser.add_argument("--precision", default="float")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=0.3)
    parser.add_argument("--answers", type=Path)
    arguments = parser.parse_args()
    samples = read(arguments.samples)
    sample = samples[0]

    before = resident()
    start = time.perf_counter()
    load = LOADERS[arguments.runtime]
    running = load(arguments.file, arguments.precision, sample, arguments.threads)
    running.infer()
    cold = time.perf_counter() - start
    grown = resident() - before
    package = mapped_bytes()

    infer, clock = running.infer, time.perf_counter_ns
    warm, runs = time.perf_counter() + arguments.seconds * WARM_UP, 0
    while runs < MIN_WARM_RUNS or time.perf_counter() < warm:
        infer()
        runs += 1
    taken: list[int] = []
    end = clock() + int(arguments.seconds * 1e9)
    while len(taken) < MIN_RUNS or clock() < end:
        began = clock()
        infer()
        taken.append(clock() - began)

    if arguments.answers:
        rows: list[list[np.ndarray]] = []
        for other in samples:
            running.feed(other)
            infer()
            rows.append([np.array(a).ravel() for a in running.answers()])
        columns: dict[str, Any] = {
            str(i): np.stack([row[i] for row in rows]) for i in range(len(rows[0]))
        }
        np.savez(arguments.answers, **columns)
    said = {
        "median": statistics.median(taken) * 1e-9,
        "best": min(taken) * 1e-9,
        "runs": len(taken),
        "cold": cold,
        "resident": grown,
        "deploy": model_bytes(arguments.file) + package,
        "version": version(DISTRIBUTIONS[arguments.runtime]),
    }
    print(f"\n{json.dumps(said)}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
