"""Evaluation and calibration samples: checked once against the model, then streamed."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from budgetc_specs.errors import Diagnostic, SpecError, did_you_mean, quoted

from budgetc.archive import Column, open_archive
from budgetc.lower.lowered import Port
from budgetc.model import Model
from budgetc.store import file_digest

Array = npt.NDArray[np.generic]
Finding = tuple[str, str]

LABEL = "label"
"""The name under which an archive holds what is right for each sample."""

SLICE = "slice"
"""The name under which an archive holds which slice each sample belongs to."""

_LARGEST_LABELS = 1 << 30


@dataclass(frozen=True)
class Data:
    """Samples for a model's inputs, on the disk; `samples` reads them as it goes.

    Attributes:
        path: the .npz archive.
        digest: sha256 of the file, in hex.
        steps: inferences that one pass over the data takes.
        count: samples that these feed: `steps` times the model's batch.
        left_over: samples at the end that do not fill a batch; they are not used.
        labels: what is right for each of the `count` samples, where the archive says it.
        ports: the model inputs that the samples are for.
        slices: which slice each of the `count` samples belongs to, where the archive says it.
    """

    path: Path
    digest: str
    steps: int
    count: int
    left_over: int
    labels: Array | None = field(repr=False, compare=False)
    ports: tuple[Port, ...] = field(repr=False)
    slices: Array | None = field(default=None, repr=False, compare=False)

    def samples(self, limit: int | None = None) -> Iterator[dict[str, Array]]:
        """Yield the inputs of one inference after another, by name; at most `limit` of them."""
        steps = self.steps if limit is None else min(limit, self.steps)
        with ExitStack() as stack:
            archive = stack.enter_context(open_archive(self.path))
            columns = [(p, stack.enter_context(Column.open(archive, p.name))) for p in self.ports]
            for _ in range(steps):
                yield {port.name: c.read(_rows(port)).reshape(port.shape) for port, c in columns}


def load_data(path: Path | str, model: Model, *, labels_required: bool = False) -> Data:
    """Check an archive against a model: names, types, shapes, counts; every number is finite.

    Args:
        path: an .npz archive with one array per model input, samples on axis 0, and `label` where
            there are any; `slice` may say which slice a sample belongs to.
        model: whose inputs the samples are for; its first dimension is how many samples one
            inference takes.
        labels_required: whether an archive without `label` is an error.

    Raises:
        SpecError: with every finding.
    """
    path = Path(path)
    findings: list[Finding] = []
    lengths: dict[str, int] = {}
    labels: Array | None = None
    slices: Array | None = None
    with open_archive(path) as archive:
        names = {n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")}
        findings += _wrong_names(names, model.inputs, labels_required=labels_required)
        for port in model.inputs:
            if port.name in names:
                with Column.open(archive, port.name) as column:
                    problem = _misfit(column, port)
                if problem:
                    findings.append(problem)
                else:
                    lengths[port.name] = column.shape[0]
        extra = names - {p.name for p in model.inputs}
        if LABEL in extra:
            with Column.open(archive, LABEL) as column:
                problem = _label_misfit(column)
                if problem:
                    findings.append(problem)
                else:
                    labels = column.read(column.shape[0])
        if SLICE in extra:
            with Column.open(archive, SLICE) as column:
                problem = _slice_misfit(column)
                if problem:
                    findings.append(problem)
                else:
                    slices = column.read(column.shape[0])
    findings += [] if findings else _wrong_counts(lengths, labels, slices, model.inputs)
    if findings:
        raise SpecError(Diagnostic(str(path), None, None, *finding) for finding in findings)
    first = model.inputs[0]
    steps, left_over = divmod(lengths[first.name], _rows(first))
    count = steps * _rows(first)
    labels = None if labels is None else labels[:count]
    slices = None if slices is None else slices[:count]
    return Data(path, file_digest(path), steps, count, left_over, labels, model.inputs, slices)


def load_slices(path: Path | str, data: Data) -> Array:
    """The slice of each sample of the data, from an archive of its own: its array `slice`.

    Raises:
        SpecError: there is no such array, or it does not suit the data.
    """
    path = Path(path)
    with open_archive(path) as archive:
        names = {n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")}
        if SLICE not in names:
            listed = ", ".join(quoted(n) for n in sorted(names)) or "nothing"
            near = did_you_mean(SLICE, names)
            raise SpecError.of(
                f"there is no array {quoted(SLICE)}",
                f"the archive holds {listed}." + (f" {near}" if near else ""),
                str(path),
            )
        with Column.open(archive, SLICE) as column:
            problem = _slice_misfit(column)
            slices = column.read(column.shape[0]) if problem is None else np.empty(0)
    whole = data.count + data.left_over
    if problem is None and len(slices) != whole:
        problem = (
            f"there are slices of {len(slices)} samples, and {whole} samples in {data.path.name}",
            f"{quoted(SLICE)} has one entry for each of them.",
        )
    if problem:
        raise SpecError([Diagnostic(str(path), None, None, *problem)])
    return slices[: data.count]


def _rows(port: Port) -> int:
    """How many samples of an input one inference takes."""
    return port.shape[0] if port.shape else 1


def _wrong_names(
    names: set[str], ports: tuple[Port, ...], *, labels_required: bool
) -> list[Finding]:
    findings = []
    wanted = [p.name for p in ports]
    known = [*wanted, LABEL, SLICE]
    listed = ", ".join(quoted(n) for n in sorted(names)) or "nothing"
    for name in wanted:
        if name not in names:
            near = did_you_mean(name, names - set(known))
            findings.append(
                (
                    f"there is no array for the model's input {quoted(name)}",
                    f"the archive holds {listed}." + (f" {near}" if near else ""),
                )
            )
    for name in sorted(names - set(known)):
        repair = f"an archive holds one array per input, {quoted(LABEL)} and, if you like, {quoted(SLICE)}."
        near = did_you_mean(name, known)
        findings.append(
            (
                f"the array {quoted(name)} is for no input of the model",
                f"{near} {repair}" if near else repair,
            )
        )
    if labels_required and LABEL not in names:
        findings.append(
            (
                f"there is no array {quoted(LABEL)}",
                "add what is right for each sample, or choose a metric that needs no labels, such "
                "as agreement.",
            )
        )
    return findings


def _misfit(column: Column, port: Port) -> Finding | None:
    """What is wrong with the array of an input; reads all of it."""
    what = f"the array {quoted(port.name)}"
    if column.dtype != np.dtype(port.dtype):
        return (
            f"{what} is {_type(column.dtype)}, the model's input is {port.dtype}",
            f"scale it as the model was trained, then save .astype({port.dtype!r})."
            if np.dtype(port.dtype).kind == "f"
            else f"save .astype({port.dtype!r}).",
        )
    if not column.shape or column.shape[1:] != port.shape[1:]:
        one = ", ".join(map(str, port.shape[1:]))
        return (
            f"{what} is {list(column.shape)}, the model's input is {list(port.shape)}",
            f"samples are on axis 0: the shape is [N{', ' if one else ''}{one}].",
        )
    row = column.first_not_finite()
    if row is not None:
        return (
            f"{what} has a NaN or an infinity in sample {row}",
            "remove the sample, or look at how it was scaled.",
        )
    return None


def _label_misfit(column: Column) -> Finding | None:
    what = f"the array {quoted(LABEL)}"
    if not column.shape or column.dtype.kind not in "biuf":
        return (
            f"{what} is {_type(column.dtype)} {list(column.shape)}",
            "labels are numbers, one row for each sample.",
        )
    if np.prod(column.shape, dtype=np.float64) * column.dtype.itemsize > _LARGEST_LABELS:
        return f"{what} claims more than 1 GiB", "labels are one row for each sample."
    return None


def _slice_misfit(column: Column) -> Finding | None:
    if len(column.shape) != 1 or column.dtype.kind not in "biuU" or not column.dtype.isnative:
        return (
            f"the array {quoted(SLICE)} is {_type(column.dtype)} {list(column.shape)}",
            "it has the shape [N] and says for each sample, as text or a whole number, which slice "
            "it belongs to.",
        )
    if np.prod(column.shape, dtype=np.float64) * column.dtype.itemsize > _LARGEST_LABELS:
        return f"the array {quoted(SLICE)} claims more than 1 GiB", "its entries are short names."
    return None


def _wrong_counts(
    lengths: Mapping[str, int],
    labels: Array | None,
    slices: Array | None,
    ports: tuple[Port, ...],
) -> list[Finding]:
    first = ports[0]
    steps = lengths[first.name] // _rows(first)
    if steps == 0:
        return [
            (
                f"the array {quoted(first.name)} has {lengths[first.name]} samples, "
                f"one inference takes {_rows(first)}",
                "give more samples, or a smaller batch under `inputs` of the spec.",
            )
        ]
    per_step = _rows(first)
    findings = [
        (
            f"{quoted(first.name)} has {lengths[first.name]} samples and {quoted(port.name)} "
            f"{lengths[port.name]}",
            f"one inference takes {per_step} and {_rows(port)} of them; every sample has both.",
        )
        for port in ports[1:]
        if lengths[port.name] != lengths[first.name] * _rows(port) // per_step
    ]
    if labels is not None and len(labels) != lengths[first.name]:
        findings.append(
            (
                f"there are {len(labels)} labels for {lengths[first.name]} samples",
                f"{quoted(LABEL)} has one row for each row of {quoted(first.name)}.",
            )
        )
    if slices is not None and len(slices) != lengths[first.name]:
        findings.append(
            (
                f"there are slices of {len(slices)} samples, and {lengths[first.name]} samples",
                f"{quoted(SLICE)} has one entry for each row of {quoted(first.name)}.",
            )
        )
    if labels is not None and labels.dtype.kind == "f" and not np.isfinite(labels).all():
        findings.append(
            (f"the array {quoted(LABEL)} has a NaN or an infinity", "remove the sample.")
        )
    return findings


def _type(dtype: np.dtype[np.generic]) -> str:
    return dtype.name if dtype.isnative else f"{dtype.name} in foreign byte order"
