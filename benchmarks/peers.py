"""Compare built libraries with onnxruntime, float and int8, in turns in one run: `make benchmark`.

Every figure is what `budgetc.compile` measured for the candidate's verdict, so the table says of six real models what
the report of a compilation says of one. Ratios are peer over budgetc: above 1, budgetc is faster.
"""

import argparse
import csv
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import budgetc
import numpy as np
from budgetc.measure.latency import Latency
from budgetc.result import TargetResult
from budgetc_specs.errors import BudgetcError
from budgetc_specs.spec import Spec
from budgetc_specs.units import format_bytes, format_seconds

ROOT = Path(__file__).parents[1]
INT8 = "clean | fuse | clean | quantize"
FLOAT = "clean | fuse | clean"
CALIBRATION_SAMPLES = 64
BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"


@dataclass(frozen=True)
class Case:
    """A model: where it lies, its input's name and shape, and the range of made-up inputs."""

    file: Path
    port: str
    shape: tuple[int, ...]
    low: float
    high: float


_EXAMPLES, _MODELS = ROOT / "specs" / "examples", ROOT / "tests" / "models"
CASES: Mapping[str, Case] = {
    "mnist": Case(_EXAMPLES / "mnist" / "mnist5k_cnn.onnx", "input", (1, 28, 28), 0, 1),
    "animals": Case(_EXAMPLES / "animals" / "animalmnist_dscnn.onnx", "input", (1, 28, 28), 0, 1),
    "resnet8": Case(_MODELS / "mlperf_tiny_resnet8_cifar10.onnx", "input", (32, 32, 3), -1, 1),
    "keywords": Case(_MODELS / "mlperf_tiny_dscnn_kws.onnx", "input", (50, 10, 1), 0, 225),
    "person": Case(_MODELS / "mlperf_tiny_mobilenet_vww.onnx", "input", (96, 96, 3), 0, 255),
    "faces": Case(_MODELS / "mtcnn_rnet.onnx", "input_2", (24, 24, 3), -1, 1),
}


@dataclass(frozen=True)
class Row:
    """One library beside its peers: bytes, and seconds of one inference (p50; spread: p90 over p50)."""

    model: str
    recipe: str
    size: int
    memory: int
    ours: float
    ours_spread: float
    float_peer: float
    float_spread: float
    int8_peer: float
    int8_spread: float
    ratio_low: float
    ratio_high: float
    runs: int

    @property
    def ratio_float(self) -> float:
        """How many times faster than onnxruntime's float model."""
        return self.float_peer / self.ours

    @property
    def ratio_int8(self) -> float:
        """How many times faster than onnxruntime's int8 model."""
        return self.int8_peer / self.ours


def measure(name: str, recipe: str, arguments: argparse.Namespace, folder: Path) -> Row:
    """Compile one model and take the figures from its verdict."""
    case = CASES[name]
    random = np.random.default_rng(0)
    samples = random.uniform(case.low, case.high, (CALIBRATION_SAMPLES, *case.shape))
    arrays: dict[str, Any] = {case.port: samples.astype(np.float32)}
    np.savez(folder / "samples.npz", **arrays)
    spec = Spec.model_validate(
        {
            "model": case.file,
            "inputs": {case.port: {"shape": [1, *case.shape]}},
            "data": {"calibration": folder / "samples.npz"},
            # A relative budget makes the measurement give the interval of the ratio, and look again
            # where it is unsure; only reported, so that a slow model has a row too.
            "budgets": {
                "latency": {
                    "max": "1.0 x onnxruntime-int8",
                    "runs": arguments.runs,
                    "level": "warning",
                }
            },
            "targets": {"host": {"threads": arguments.threads}},
            "passes": recipe,
            "search": {"trials": arguments.trials},
            "output": {"name": name},
        }
    )
    (result,) = budgetc.compile(spec, out=folder / "out").targets
    return row(name, recipe, result)


def row(name: str, recipe: str, result: TargetResult) -> Row:
    """The figures of a compilation."""
    chosen = result.chosen
    if chosen is None or chosen.measurement is None or chosen.measurement.latency is None:
        raise SystemExit(f"{name}: nothing was built: {result.certificate}")
    latency: Latency = chosen.measurement.latency
    if latency.ratio_interval is None:
        raise AssertionError("BUG: a relative budget without its ratio")
    float_peer, int8_peer = (latency.peers[p] for p in ("onnxruntime", "onnxruntime-int8"))
    return Row(
        model=name,
        recipe=recipe,
        size=chosen.measurement.size.deployed,
        memory=chosen.measurement.memory.total,
        ours=latency.ours.p50,
        ours_spread=latency.ours.p90 / latency.ours.p50,
        float_peer=float_peer.p50,
        float_spread=float_peer.p90 / float_peer.p50,
        int8_peer=int8_peer.p50,
        int8_spread=int8_peer.p90 / int8_peer.p50,
        ratio_low=1 / latency.ratio_interval.high,
        ratio_high=1 / latency.ratio_interval.low,
        runs=latency.ours.runs,
    )


def machine() -> str:
    """The CPU by its own name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(errors="replace").splitlines() if info.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.machine())


def markdown(rows: Sequence[Row], threads: int) -> str:
    """The table as a page shows it."""
    tools = ", ".join(f"{n} {version(n)}" for n in ("budgetc", "onnxruntime"))
    load = os.getloadavg()[0]
    lines = [
        f"{machine()}, {os.cpu_count()} processors, load {load:.1f}; {tools}; threads: {threads}; "
        f"{min(r.runs for r in rows)} or more timed inferences of each, in turns.",
        "",
        "| model | library | memory | budgetc | onnxruntime float | onnxruntime int8 "
        "| faster than float | faster than int8 |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for r in rows:
        kind = "int8" if "quantize" in r.recipe else "float"
        cells = (
            f"{r.model}, {kind}",
            format_bytes(r.size),
            format_bytes(r.memory),
            _time(r.ours, r.ours_spread),
            _time(r.float_peer, r.float_spread),
            _time(r.int8_peer, r.int8_spread),
            f"{r.ratio_float:.2f} x",
            f"{r.ratio_int8:.2f} x ({r.ratio_low:.2f} to {r.ratio_high:.2f})",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _time(seconds: float, spread: float) -> str:
    return f"{format_seconds(seconds)} (+{spread - 1:.0%})"


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """The figures in bytes and seconds."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(r) for r in rows)


def insert(page: Path, table: str) -> None:
    """Put the table between a page's markers."""
    before, begin, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n\n{table}\n{END}{after}", encoding="utf-8")


def main() -> int:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=[], help=f"of {', '.join(CASES)}; all if none")
    parser.add_argument(
        "--float", action="store_true", help="also libraries that are not quantized"
    )
    parser.add_argument("--runs", type=int, default=1000, help="timed inferences, at least")
    parser.add_argument("--threads", type=int, default=1, help="threads of one inference")
    parser.add_argument("--trials", type=int, default=0, help="schedules tried for each kernel")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "benchmarks")
    parser.add_argument("--page", type=Path, help="page whose table is replaced as well")
    arguments = parser.parse_args()
    unknown = set(arguments.models) - set(CASES)
    if unknown:
        parser.error(f"no such model: {', '.join(sorted(unknown))}")
    rows = []
    for name in arguments.models or CASES:
        for recipe in (FLOAT, INT8) if arguments.float else (INT8,):
            print(f"{name}: {recipe}", file=sys.stderr)
            with tempfile.TemporaryDirectory(prefix="budgetc-peers-") as folder:
                try:
                    rows.append(measure(name, recipe, arguments, Path(folder)))
                except BudgetcError as error:
                    print(f"{name}: {error}", file=sys.stderr)
    if not rows:
        return 1
    table = markdown(rows, arguments.threads)
    print(table)
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "peers.md").write_text(table, encoding="utf-8")
    write_csv(rows, arguments.out / "peers.csv")
    if arguments.page:
        insert(arguments.page, table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
