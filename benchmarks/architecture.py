"""What passes that change an architecture cost in quality without training: each by itself, and some together."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from budgetc.kitchen import Kitchen
from budgetc.model import parse_model
from budgetc.registry import find_target
from budgetc_specs.recipe import parse_recipe

from benchmarks import machine, models, tables

BEFORE = "clean | fuse | clean"

RECIPES: Mapping[str, tuple[str, ...]] = {
    "mnist5k_cnn": (
        "",
        "widen{ratio=1.0} | deepen",
        "prune{method=replace,ratio=0.25}",
        "prune{method=replace,ratio=0.5}",
        "prune{method=fit,ratio=0.25}",
        "prune{method=fit,ratio=0.5}",
        "separable{multiplier=2}",
        "separable{multiplier=1}",
        "separable{method=svd,multiplier=2}",
        'shrink-kernels{kernel=0,layers="/14/Conv=1"}',
        "prune{method=fit,ratio=0.25} | separable{multiplier=2}",
        "separable{multiplier=1} | quantize{calibration=mse}",
    ),
    "animalmnist_dscnn": (
        "",
        "widen{ratio=1.0} | deepen",
        "prune{method=replace,ratio=0.25}",
        "prune{method=replace,ratio=0.5}",
        "prune{method=fit,ratio=0.25}",
        "prune{method=fit,ratio=0.5}",
        'shrink-kernels{kernel=0,layers="/15/Conv=1"}',
    ),
    "mnist5k_vit": (
        "",
        "widen{ratio=1.0}",
        "prune{method=replace,ratio=0.25}",
        "drop-blocks{count=1}",
        "drop-blocks{count=2}",
        "replace-activations{to=relu}",
        "replace-activations{method=keep,to=relu}",
        "replace-activations{to=hardswish}",
        "drop-blocks{count=1} | clean | replace-activations{to=relu}",
    ),
}
"""What is tried on each model, behind `clean | fuse | clean`; nothing is the model as it is."""


def rows(name: str, folder: Path, case: models.Case) -> list[dict[str, Any]]:
    """A row for each recipe."""
    made = models.prepare(name, case, folder)
    labels = made.labels()
    assert labels is not None
    samples = np.load(folder / "samples.npy")
    source = parse_model(made.model.read_bytes(), name)
    calibration = str(folder / "calibration.npz")
    kitchen = Kitchen([source], find_target("host").capability(None, 1), calibration, name)
    found: list[dict[str, Any]] = []
    for recipe in RECIPES[name]:
        print(f"{name}: {recipe or BEFORE}", file=sys.stderr, flush=True)
        text = f"{BEFORE} | {recipe} | clean" if recipe else BEFORE
        (model,), _ = kitchen.cook(parse_recipe(text))
        found.append(
            {
                "model": name,
                "recipe": recipe,
                "parameters": model.parameter_count,
                "weight_bytes": model.weight_bytes,
                "top1": models.top1(model.data, made.port, samples, labels),
            }
        )
    return found


def table(found: Sequence[Mapping[str, Any]]) -> str:
    """The rows as Markdown, beside each model as it is."""
    whole = {row["model"]: row for row in found if not row["recipe"]}
    lines = [
        (
            f"{row['model']}: `{row['recipe']}`" if row["recipe"] else f"{row['model']}, as it is",
            f"{row['weight_bytes'] / 1000:.1f} kB",
            f"{whole[row['model']]['weight_bytes'] / row['weight_bytes']:.2f}",
            f"{row['top1']:.3f}",
            f"{100 * (row['top1'] - whole[row['model']]['top1']):+.1f}",
        )
        for row in found
    ]
    return tables.markdown(("", "weights", "times smaller", "top-1", "pp"), lines)


def main(given: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.architecture", description=__doc__)
    add = parser.add_argument
    add("names", nargs="*", help=f"models, of {', '.join(RECIPES)}; all that there are if none")
    add("--models", type=Path, help="folder with the models that this repository does not have")
    add("--out", type=Path, default=machine.BUILD, help="folder for files and figures")
    add("--page", type=Path, help="page whose part between the markers of architecture is replaced")
    arguments = parser.parse_args(given)
    known = models.cases(arguments.models)
    names = arguments.names or [name for name in RECIPES if name in known]
    if unknown := sorted(set(names) - (set(RECIPES) & set(known))):
        parser.error(f"no such model here: {', '.join(unknown)}")
    found = []
    for name in names:
        found += rows(name, arguments.out.absolute() / "architecture" / name, known[name])
    tables.publish("architecture", table(found), found, arguments.out, arguments.page)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
