"""A fault as files: the smallest model that shows it, its inputs, and both answers."""

import shutil
import zipfile
from pathlib import Path

import numpy as np

from budgetc.verification.locate import Fault
from budgetc.verification.oracle import Arrays

MODEL, INPUTS, EXPECTED, GOT, TEXT = (
    "model.onnx",
    "inputs.npz",
    "expected.npz",
    "got.npz",
    "report.txt",
)

_STEPS = """To see it again:
  model.onnx    the smallest model found that shows it
  inputs.npz    what it is fed
  expected.npz  the reference's outputs; got.npz has the library's
  A spec of model.onnx with evaluation data inputs.npz and "passes: clean" compiles it.
"""


def write_bug(fault: Fault, context: str, folder: Path) -> Path:
    """Write the folder for a report of a bug, in the place of an older one.

    Args:
        fault: what was found.
        context: what it was found in: target, recipe, and what differed.
        folder: where to write `model.onnx`, `inputs.npz` (samples on axis 0, as `data` of a spec has them),
            `expected.npz` and `got.npz` (one entry on axis 0 for each inference), and `report.txt`.
    """
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MODEL).write_bytes(fault.model.data)
    for name, arrays in ((INPUTS, fault.feed), (EXPECTED, fault.expected), (GOT, fault.ours)):
        _save(folder / name, arrays)
    (folder / TEXT).write_text(f"{fault}\n\n{context}\n\n{_STEPS}", encoding="utf-8")
    return folder


def _save(path: Path, arrays: Arrays) -> None:
    """An archive as numpy has it; `np.savez` cannot name an array "file"."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asarray(array))
