"""The survey's ladder: width x augmentation x distillation x int8, in bytes of weights and top-1.

Source of the experiment: Menghani 2021, arXiv 2106.08962, whose case study walks such a ladder with a network for
CIFAR-10, by two strategies: shrink and improve; grow, improve and shrink.
"""

import argparse
import json
import math
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from budgetc.kitchen import Kitchen
from budgetc.learning import Learning
from budgetc.model import Model, load_model, parse_model
from budgetc.registry import find_target
from budgetc_specs.recipe import parse_recipe

from benchmarks import machine, models, tables
from benchmarks.ladder import Move, Point, ladder

WIDTHS = (1.0, 0.5, 0.25)
EPOCHS = 6
TRAINING = {"mnist5k_cnn": "mnist5k", "animalmnist_dscnn": "animalmnist"}
"""The models, and how the files of their training data begin in the folder that `--models` names."""

AUGMENTATIONS = {"mnist5k_cnn": ("shift",), "animalmnist_dscnn": ("shift", "flip")}
RATE = 0.004
CODES = "quantize{calibration=mse}"


@dataclass(frozen=True)
class Rung:
    """A point of the experiment.

    Attributes:
        model: that is made smaller.
        width: share of its channels.
        augmented: whether samples are changed at random while it is trained.
        distilled: whether it begins with what pruning leaves of the model and learns from that; otherwise a network of
            that width is trained alone, from random weights, on the labels.
        coded: whether it ends in int8.
        seed: of all that is drawn.
    """

    model: str
    width: float
    augmented: bool
    distilled: bool
    coded: bool
    seed: int = 0

    @property
    def recipe(self) -> str:
        """What is done with the model, or with one of random weights in the same shape."""
        # Random weights begin with normalisations that are all alike, which `clean` would make one constant of.
        steps = ["clean"] if self.distilled else []
        if self.distilled:
            steps.append(f"prune{{align=1,method=fit,ratio={1 - self.width:g}}}")
        options = f"epochs={EPOCHS},rate={RATE:g}"
        alone = "" if self.distilled else ",hard=1.0"
        steps += [f"distill{{{options}{alone}}}", "fuse", "clean"]
        return " | ".join([*steps, CODES] if self.coded else steps)


def rungs(model: str, seed: int) -> list[Rung]:
    """All points of a model; those that share a training follow each other. No model is taught by itself."""
    return [
        Rung(model, width, augmented, distilled, coded, seed)
        for width in WIDTHS
        for distilled in ((False, True) if width < 1 else (False,))
        for augmented in (False, True)
        for coded in (False, True)
    ]


STRATEGIES: Mapping[str, tuple[tuple[str, tuple[float, bool, bool, bool]], ...]] = {
    "shrink and improve": (
        ("trained", (1.0, False, False, False)),
        ("smaller", (0.25, False, False, False)),
        ("augmented", (0.25, True, False, False)),
        ("distilled", (0.25, True, True, False)),
        ("int8", (0.25, True, True, True)),
    ),
    "grow, improve and shrink": (
        ("trained", (0.25, False, False, False)),
        ("larger", (1.0, False, False, False)),
        ("augmented", (1.0, True, False, False)),
        ("smaller, distilled", (0.5, True, True, False)),
        ("int8", (0.5, True, True, True)),
    ),
}
"""The strategies as moves from point to point: width, augmented, distilled, coded."""


def randomised(model: Model, seed: int) -> Model:
    """A model of the same shape that has learned nothing.

    Weights are normal with the variance that keeps that of what goes through (He et al. 2015, arXiv 1502.01852);
    normalisations do nothing yet, and biases are zero.
    """
    made = ir.from_proto(onnx.load_model_from_string(model.data))
    random = np.random.default_rng(seed)
    for node in made.graph:
        for at, value in enumerate(node.inputs):
            if value is None or value.const_value is None or value.dtype != ir.DataType.FLOAT:
                continue
            shape = value.const_value.numpy().shape
            if node.op_type == "Conv" and at == 1:
                array = random.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
            elif node.op_type == "Gemm" and at == 1:
                array = random.normal(0, np.sqrt(1 / shape[1]), shape)
            elif node.op_type == "BatchNormalization":
                array = np.full(shape, float(at in {1, 4}))
            elif node.op_type in {"Conv", "Gemm"}:
                array = np.zeros(shape)
            else:
                continue
            value.const_value = ir.tensor(array.astype(np.float32), name=value.name)
    return parse_model(ir.to_proto(made).SerializeToString(), "random weights")


class Ladder:
    """One model's points, made in a folder.

    Args:
        name: the model.
        case: where it and its data are.
        training: .npz archive with the training data, in bytes or in the model's scale.
        folder: for everything that is made.
    """

    def __init__(self, name: str, case: models.Case, training: Path, folder: Path) -> None:
        assert case.data is not None
        self._name, self._port = name, case.port
        self._folder, self._data = folder, case.data
        folder.mkdir(parents=True, exist_ok=True)
        self._model = load_model(case.file, {case.port: (1, *case.shape)})
        self._sheet = find_target("host").capability(None, 1)
        self._training = folder / "train.npz"
        self._write_training(training)

    def run(self, rung: Rung) -> dict[str, Any]:
        """Train, and judge on the evaluation data; what was trained before is taken up."""
        begin = time.monotonic()
        model = self._model if rung.distilled else self._random(rung)
        learning = Learning(
            samples=self._training,
            caution="",
            teacher=None,
            augmentations=AUGMENTATIONS[self._name] if rung.augmented else (),
            folder=self._folder,
            seed=rung.seed,
            seconds=math.inf,
        )
        calibration = str(self._data / "calibration.npz")
        kitchen = Kitchen([model], self._sheet, calibration, self._name, learning)
        (made,), _ = kitchen.cook(parse_recipe(rung.recipe), says=_say)
        with np.load(self._data / "evaluation.npz") as data:
            top1 = models.top1(made.data, self._port, data[self._port], data["label"])
        return {
            **asdict(rung),
            "recipe": rung.recipe,
            "weight_bytes": made.weight_bytes,
            "top1": top1,
            "seconds": time.monotonic() - begin,
        }

    def _write_training(self, source: Path) -> None:
        """The samples that the calibration data were cut from, with these, in the model's scale."""
        with np.load(source) as train, np.load(self._data / "calibration.npz") as calibration:
            x, more = train[self._port], calibration[self._port]
            if x.dtype == np.uint8:
                x = x.astype(np.float32) / np.float32(255)
            arrays: dict[str, Any] = {
                self._port: np.concatenate([x, more]),
                "label": np.concatenate([train["label"], calibration["label"]]),
            }
        np.savez(self._training, **arrays)

    def _random(self, rung: Rung) -> Model:
        """A network of that width that has learned nothing yet."""
        recipe = f"clean | prune{{align=1,ratio={1 - rung.width:g}}}" if rung.width < 1 else "clean"
        kitchen = Kitchen([self._model], self._sheet, None, self._name)
        (shaped,), _ = kitchen.cook(parse_recipe(recipe))
        return randomised(shaped, rung.seed)


Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Mean:
    """What the seeds of one point came to."""

    rung: Rung
    weight_bytes: int
    top1: tuple[float, ...]

    @property
    def mean(self) -> float:
        """The mean of top-1."""
        return statistics.fmean(self.top1)

    @property
    def text(self) -> str:
        """The mean, with the standard deviation where there are several seeds."""
        if len(self.top1) == 1:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} ± {statistics.stdev(self.top1):.3f}"


def means(rows: Rows) -> list[Mean]:
    """The points in their order, each over its seeds."""
    found: dict[Rung, list[Mapping[str, Any]]] = {}
    for row in rows:
        fields = {name: row[name] for name in ("model", "width", "augmented", "distilled", "coded")}
        found.setdefault(Rung(**fields), []).append(row)
    order = {rung: at for name in TRAINING for at, rung in enumerate(rungs(name, 0))}
    return [
        Mean(
            rung,
            max(row["weight_bytes"] for row in same),
            tuple(row["top1"] for row in same),
        )
        for rung, same in sorted(
            found.items(), key=lambda pair: (list(TRAINING).index(pair[0].model), order[pair[0]])
        )
    ]


def table(rows: Rows) -> str:
    """The points as Markdown: a line for each training, float and int8 beside each other."""
    head = ("", "augmented", "distilled", "float: weights", "top-1", "int8: weights", "top-1")
    pairs: dict[tuple[Any, ...], dict[bool, Mean]] = {}
    for each in means(rows):
        rung = each.rung
        key = (rung.model, rung.width, rung.augmented, rung.distilled)
        pairs.setdefault(key, {})[rung.coded] = each
    lines = []
    for (model, width, augmented, distilled), both in pairs.items():
        cells = [f"{model} x {width:g}", _yes(augmented), _yes(distilled)]
        for coded in (False, True):
            each_or_none = both.get(coded)
            shown = (
                (f"{each_or_none.weight_bytes / 1000:.1f} kB", each_or_none.text)
                if each_or_none
                else ("", "")
            )
            cells += shown
        lines.append(cells)
    return tables.markdown(head, lines)


def picture(model: str, rows: Rows) -> str:
    """The points of a model as SVG, with the strategies whose points are all there."""
    found = {each.rung: each for each in means(rows) if each.rung.model == model}
    points = {rung: _point(each) for rung, each in found.items()}
    moves = []
    for name, stops in STRATEGIES.items():
        way = [(words, points.get(Rung(model, *stop))) for words, stop in stops]
        whole = [(words, point) for words, point in way if point is not None]
        if len(whole) == len(way):
            moves.append(Move(name, whole))
    keys = (
        "circles float, squares int8; filled distilled, hollow trained alone on labels",
        "large marks augmented, small ones not",
    )
    return ladder(f"{model}: top-1 against weights", list(points.values()), moves, keys)


def _point(mean: Mean) -> Point:
    rung = mean.rung
    what = "distilled" if rung.distilled else "alone"
    words = f"x {rung.width:g}, {what}{', augmented' if rung.augmented else ''}, {'int8' if rung.coded else 'float'}"
    return Point(
        mean.weight_bytes,
        mean.mean,
        f"{words}: {mean.weight_bytes / 1000:.1f} kB, {mean.text}",
        filled=rung.distilled,
        square=rung.coded,
        small=not rung.augmented,
    )


def main(given: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.learning", description=__doc__)
    add = parser.add_argument
    add("names", nargs="*", help=f"models, of {', '.join(TRAINING)}; both if none")
    add("--models", type=Path, help="folder with the training data, which this repository lacks")
    add("--seeds", type=int, default=1, help="trainings of each point, by seeds from 0")
    add("--resume", action="store_true", help="keep the points that OUT has, add what lacks")
    add("--out", type=Path, default=machine.BUILD, help="folder for files and figures")
    add("--page", type=Path, help="page whose part between the markers of learning is replaced")
    arguments = parser.parse_args(given)
    names = arguments.names or list(TRAINING)
    if unknown := sorted(set(names) - set(TRAINING)):
        parser.error(f"no such model here: {', '.join(unknown)}")
    home = arguments.out.absolute() / "learning"
    raw = home / "points.jsonl"
    kept = read(raw) if arguments.resume else []
    wanted = [r for seed in range(arguments.seeds) for name in names for r in rungs(name, seed)]
    missing = [rung for rung in wanted if rung not in {_rung(row) for row in kept}]
    if missing and arguments.models is None:
        parser.error("training data are needed: name their folder by --models")
    home.mkdir(parents=True, exist_ok=True)
    raw.write_text("".join(json.dumps(row) + "\n" for row in kept))
    made: dict[str, Ladder] = {}
    for number, rung in enumerate(missing, 1):
        name = rung.model
        print(f"{number} of {len(missing)}: {rung}", file=sys.stderr, flush=True)
        if name not in made:
            training = arguments.models / f"{TRAINING[name]}.train.npz"
            made[name] = Ladder(name, models.cases(None)[name], training, home / name)
        row = made[name].run(rung)
        with raw.open("a") as file:  # in case it is interrupted
            file.write(json.dumps(row) + "\n")
        print(f"  top-1 {row['top1']:.4f}, {row['seconds']:.0f} s", file=sys.stderr, flush=True)
    publish([row for row in read(raw) if row["model"] in names], arguments.out, arguments.page)
    return 0


def read(raw: Path) -> list[dict[str, Any]]:
    """The points of a file; none where there is no file."""
    return [json.loads(line) for line in raw.read_text().splitlines()] if raw.exists() else []


def publish(rows: Rows, out: Path, page: Path | None) -> None:
    """Write the charts beside the table, and both into a page where asked for."""
    shown = []
    for name in dict.fromkeys(row["model"] for row in rows):
        file = f"ladder-{name}.svg"
        drawn = picture(name, rows)
        (out / file).write_text(drawn, encoding="utf-8")
        if page:
            (page.parent / "images" / file).write_text(drawn, encoding="utf-8")
        shown.append(f"![Top-1 against weights of {name}](images/{file})")
    tables.publish("learning", "\n\n".join([*shown, table(rows)]), rows, out, page)


def _rung(row: Mapping[str, Any]) -> Rung:
    names = ("model", "width", "augmented", "distilled", "coded", "seed")
    return Rung(**{name: row[name] for name in names})


def _yes(flag: bool) -> str:
    return "yes" if flag else "no"


def _say(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
