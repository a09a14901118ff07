"""Samples to learn from that are held back, as an archive of their own, so that choices can be judged on them."""

import io
import zipfile
from pathlib import Path

import numpy as np
from budgetc_passes.contract import held_back

from budgetc.cache import cache_folder
from budgetc.data import LABEL, Array, Data, load_data
from budgetc.model import Model
from budgetc.store import json_digest, write_atomic

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time in the archive: the same samples make the same file."""


def hold_back(data: Data, model: Model, seed: int, cache: Path | None = None) -> Data:
    """The samples of data that no training with this seed learns from.

    Args:
        data: what is learned from.
        model: whose samples these are.
        seed: of the training.
        cache: the cache folder.

    Raises:
        SpecError: the data cannot be read.
    """
    name = json_digest([data.digest, seed, [[p.name, *p.shape] for p in data.ports]])
    path = (cache or cache_folder()) / "held" / f"{name}.npz"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, _archive(_arrays(data, seed)))
    return load_data(path, model)


def _arrays(data: Data, seed: int) -> dict[str, Array]:
    _, rows = held_back(data.steps, seed)
    wanted = set(rows.tolist())
    kept = [sample for number, sample in enumerate(data.samples()) if number in wanted]
    arrays = {
        port.name: np.concatenate([each[port.name].reshape(_rows(port.shape)) for each in kept])
        for port in data.ports
    }
    if data.labels is not None:
        each = data.count // data.steps
        places = (rows[:, None] * each + np.arange(each)).reshape(-1)
        arrays[LABEL] = data.labels[places]
    return arrays


def _rows(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of one inference in an archive, which has samples on axis 0."""
    return shape or (1,)


def _archive(arrays: dict[str, Array]) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for name, array in arrays.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), entry.getvalue())
    return held.getvalue()
