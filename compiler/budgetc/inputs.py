"""The files that a spec's build reads, each of which makes it stale when it changes."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from budgetc_specs.spec import Spec

from budgetc.augmentations import module_file
from budgetc.measure.metrics import resolve_metric
from budgetc.model import model_files
from budgetc.regression import baseline_files


def input_files(spec: Spec, spec_file: Path, targets: Sequence[str] | None) -> tuple[Path, ...]:
    """Every file that a build of a spec depends on, the spec's own first; sorted from then on.

    The model, files that hold its weights, archives of samples and slices, descriptions of boards, locks that budgets
    are held against, the module of a metric with what it imports from beside the spec, the teacher, and modules of
    augmentations.

    Args:
        spec: as it was loaded.
        spec_file: where from.
        targets: names of those that are built; None takes all.

    Raises:
        BudgetcError: the model cannot be read, or the metric cannot be imported.
    """
    found = set(_archives(spec))
    found.update(model_files(spec.model))
    for name in targets or spec.targets:
        board = spec.targets[name].board if name in spec.targets else None
        if isinstance(board, Path):
            found.add(board.absolute())
    found.update(baseline_files([spec.budgets_for(name) for name in spec.targets]))
    found.update(_metric_files(spec, spec_file))
    if spec.learning.teacher is not None:
        found.update(model_files(spec.learning.teacher))
    for text in spec.learning.augment:
        file = module_file(text, spec.model.absolute().parent)
        if ":" in text and file.is_file():
            found.add(file)
    return (spec_file.absolute(), *sorted(found - {spec_file.absolute()}))


def _archives(spec: Spec) -> Iterator[Path]:
    data = spec.data
    given = (data.calibration, data.validation, data.train, data.evaluation, spec.quality.slices)
    for path in given:
        if isinstance(path, Path):
            yield path.absolute()


def _metric_files(spec: Spec, spec_file: Path) -> Iterator[Path]:
    """The module of a metric that is given as module:function, and what it imports from the spec's folder."""
    module, colon, _ = spec.quality.metric.partition(":")
    if not colon or "{" in module:
        return
    before = set(sys.modules)
    resolve_metric(spec.quality.metric, spec.model.parent)
    places = {spec_file.absolute().parent, spec.model.absolute().parent}
    for name in sorted(set(sys.modules) - before | {module}):
        file = getattr(sys.modules[name], "__file__", None)
        path = Path(file).absolute() if file else None
        if path is None or not path.is_file():
            continue
        beside = "site-packages" not in path.parts and any(map(path.is_relative_to, places))
        if beside or name == module:
            yield path
