"""From single measurements to figures: medians of rounds, quality, and ratios to the best peer of a class."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from benchmarks.peers.contenders import BY_NAME, Contender
from benchmarks.tables import geometric_mean

Class = Literal["float", "halves", "best"]
Metric = Literal["top1", "cosine"]
Answers = Mapping[str, npt.NDArray[Any]]

CLASSES: tuple[Class, ...] = ("float", "halves", "best")
_ALLOWED = {"float": ("float",), "halves": ("float", "bf16")}
"""Precisions of a class where it is not all of them."""
MOST_DROP = 0.005
"""Half a percentage point of top-1: what a contender may lose and still count."""
LEAST_COSINE = 0.999
"""Between answers in float or bf16 and the reference, where there are no labels; below it they are wrong."""


@dataclass(frozen=True)
class Figure:
    """One contender on one model: medians of the rounds, in seconds and bytes.

    Attributes:
        best: least of the rounds' medians.
        quality: of the answers, by `metric`; `reference` is that of the float model in onnxruntime.
    """

    model: str
    contender: str
    threads: int
    rounds: int
    median: float
    best: float
    cold: float
    resident: int
    deploy: int
    metric: Metric
    quality: float
    reference: float

    @property
    def who(self) -> Contender:
        """The contender."""
        return BY_NAME[self.contender]

    @property
    def right(self) -> bool:
        """Whether its answers are good enough to count.

        Answers of float and bf16 must be the reference's; of int8, where nobody knows the labels, nothing is asked.
        """
        if self.metric == "top1":
            return bool(self.reference - self.quality <= MOST_DROP + 1e-9)
        return self.who.precision == "int8" or self.quality >= LEAST_COSINE

    def in_class(self, kind: Class) -> bool:
        """Whether it takes part: float against float, the fastest of float and bf16, or of any precision."""
        return self.right and (kind == "best" or self.who.precision in _ALLOWED[kind])


@dataclass(frozen=True)
class Duel:
    """Our best of a class beside the best peer of that class."""

    kind: Class
    ours: Figure
    peer: Figure

    @property
    def ratio(self) -> float:
        """Peer over ours: above 1, ours is faster."""
        return self.peer.median / self.ours.median

    @property
    def ratio_of_best_rounds(self) -> float:
        """The same of the least disturbed rounds."""
        return self.peer.best / self.ours.best


def judge(
    answers: Answers, reference: Answers, labels: npt.NDArray[np.int64] | None
) -> tuple[Metric, float, float]:
    """The quality of answers and that of the reference: top-1 where there are labels, else the least cosine.

    Outputs are compared by number, each as a whole.
    """
    if labels is not None:
        ours, best = (float((a["0"].argmax(1) == labels).mean()) for a in (answers, reference))
        return "top1", ours, best
    return "cosine", min(cosine(answers[n], r) for n, r in reference.items() if n in answers), 1.0


def cosine(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> float:
    """Of two arrays as vectors; 0 where they differ in size."""
    if a.size != b.size:
        return 0.0
    x, y = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    norms = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / norms if norms else float(np.array_equal(x, y))


def figures(measurements: Iterable[Mapping[str, Any]]) -> list[Figure]:
    """One figure for each contender, model and number of threads; errors are left out."""
    groups: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
    for found in measurements:
        if "error" not in found:
            key = found["model"], found["contender"], found["threads"]
            groups.setdefault(key, []).append(found)
    return [_figure(*key, group) for key, group in groups.items()]


def _figure(model: str, contender: str, threads: int, group: list[Mapping[str, Any]]) -> Figure:
    def median(name: str) -> float:
        return float(statistics.median(found[name] for found in group))

    last = group[-1]
    return Figure(
        model=model,
        contender=contender,
        threads=threads,
        rounds=len(group),
        median=median("median"),
        best=min(found["median"] for found in group),
        cold=median("cold"),
        resident=int(median("resident")),
        deploy=last["deploy"],
        metric=last["metric"],
        quality=last["quality"],
        reference=last["reference"],
    )


def duels(found: Sequence[Figure], kind: Class, threads: int) -> list[Duel]:
    """For each model that both sides ran, ours beside the best peer."""
    result = []
    for model in dict.fromkeys(f.model for f in found):
        taking = [f for f in found if f.model == model and f.threads == threads]
        taking = [f for f in taking if f.in_class(kind)]
        ours = min((f for f in taking if f.who.ours), key=lambda f: f.median, default=None)
        peer = min((f for f in taking if not f.who.ours), key=lambda f: f.median, default=None)
        if ours and peer:
            result.append(Duel(kind, ours, peer))
    return result


def mean_ratio(fought: Sequence[Duel]) -> float:
    """Geometric mean of their ratios."""
    return geometric_mean(d.ratio for d in fought)
