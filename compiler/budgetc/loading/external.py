"""Weights in files beside a model: only regular files of the model's own folder are read.

Where the model is named by a symbolic link, its folder is that of the link, and what lies in it may be links into the
folder that the model's own link leads to: build systems lay out their inputs so, and so do stores of models. Beside the
file that the link leads to nothing is looked for: a build system would not know of it.
"""

import os
import stat
from pathlib import Path
from typing import NamedTuple

import onnx
from budgetc_specs.errors import ModelError, quoted
from onnx import TensorProto

from budgetc.loading.tensors import (
    PROTOBUF_LIMIT,
    Stored,
    byte_length,
    check_embedded,
    stored_tensors,
)

_MOST_FILES_SEARCHED = 10_000


class _Place(NamedTuple):
    """Where a file of data is.

    Attributes:
        named: as the model and its own path name it.
        real: with every link followed.
        folder: the one that contains it, resolved: the model's, or that of the file which the model's link leads to.
    """

    named: Path
    real: Path
    folder: Path


def embed_external_data(model: onnx.ModelProto, path: Path | None) -> None:
    """Check every tensor against its data, and move data from other files into the model.

    onnx, onnxruntime and TVM would each open such files by rules of their own; after this, there
    are none.

    Args:
        model: changed in place.
        path: the model file; None where there is none, and so no external data either.

    Raises:
        ModelError: a file lies outside of its folder (by its name, a symbolic link or a hard link),
            is not regular, is shorter than the model says, or the model with its data would exceed
            2 GiB.
    """
    outside: list[Stored] = []
    total = 0
    for stored in stored_tensors(model):
        if stored.tensor.data_location == TensorProto.EXTERNAL:
            outside.append(stored)
            total += byte_length(stored)
        else:
            check_embedded(stored)
    if outside and total + model.ByteSize() > PROTOBUF_LIMIT:
        raise ModelError(
            f"the model with its external data takes {total + model.ByteSize()} bytes",
            f"a model holds at most 2 GiB ({PROTOBUF_LIMIT} bytes) with all its tensors.",
        )
    for stored in outside:
        if path is None:
            raise ModelError(f"{stored.label} has external data, but the model is not a file")
        data = _read(stored, path)
        stored.tensor.ClearField("external_data")
        stored.tensor.ClearField("data_location")
        stored.tensor.raw_data = data


def external_files(model: onnx.ModelProto, path: Path) -> set[Path]:
    """The files that hold tensors of a model: absolute, by the names that lead to them, links not followed.

    Args:
        model: as it was read.
        path: the model file.

    Raises:
        ModelError: one of them lies outside of its folder, or does not exist.
    """
    found = set()
    for stored in stored_tensors(model):
        if stored.tensor.data_location == TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in stored.tensor.external_data}
            found.add(_contained(stored, entries.get("location", ""), path).named)
    return found


def _read(stored: Stored, model: Path) -> bytes:
    """The bytes of one tensor, exactly as many as its dimensions call for."""
    tensor = stored.tensor
    if tensor.data_type == TensorProto.STRING or tensor.HasField("raw_data"):
        raise ModelError(
            f"{stored.label} can not have external data: it has strings or data of its own"
        )
    entries = {entry.key: entry.value for entry in tensor.external_data}
    expected = byte_length(stored)
    offset = _number(stored, entries, "offset", 0)
    length = _number(stored, entries, "length", expected)
    if length != expected:
        raise ModelError(
            f"{stored.label} takes {expected} bytes, but the model says that its external data has "
            f"{length}"
        )
    _, path, folder = _contained(stored, entries.get("location", ""), model)
    # Not blocking, so that a pipe put in the file's place can not hold us up.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        _check_kind(stored, path, folder, status)
        if offset + length > status.st_size:
            raise ModelError(
                f"{stored.label} lies at bytes {offset} to {offset + length} of {path}, "
                f"which has only {status.st_size}",
                "the file is truncated or belongs to another model; copy it again.",
            )
        data = bytearray()
        while len(data) < length:
            chunk = os.pread(descriptor, length - len(data), offset + len(data))
            if not chunk:
                raise ModelError(f"{path} became shorter while it was read")
            data += chunk
        return bytes(data)
    finally:
        os.close(descriptor)


def _number(stored: Stored, entries: dict[str, str], key: str, default: int) -> int:
    text = entries.get(key)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelError(f"{stored.label} has external data with the {key} {quoted(text)}")
    return int(text)


def _contained(stored: Stored, location: str, model: Path) -> _Place:
    """The file of a location, which lies in the model's folder."""
    repair = "external data is a file in the model's folder, named relative to it; save it so."
    where = f"{stored.label} has its data in {quoted(location)}"
    if not location or "\0" in location:
        raise ModelError(f"{stored.label} has external data without a usable location", repair)
    parts = location.replace("\\", "/").split("/")
    if parts[0] == "" or parts[0].endswith(":"):
        raise ModelError(f"{where}, which is an absolute path", repair)
    if ".." in parts:
        raise ModelError(f"{where}, which leads upwards", repair)
    beside = model.absolute().parent
    named = beside / location
    folders = tuple(dict.fromkeys((beside.resolve(), model.resolve().parent)))
    try:
        real = named.resolve(strict=True)
    except FileNotFoundError:
        raise ModelError(
            f"{where}, which does not exist in {beside}",
            "put the file there, or a link to it where the model is a link; it is a part of the model.",
        ) from None
    except (
        OSError,
        RuntimeError,
    ) as error:  # a loop of links is one or the other, by Python's version
        raise ModelError(f"{where}, which cannot be resolved: {error}") from error
    for folder in folders:
        if real.is_relative_to(folder):
            return _Place(named, real, folder)
    raise ModelError(
        f"{where}, which a symbolic link leads outside of {' and '.join(map(str, folders))}",
        "copy the file itself in the place of the link.",
    )


def _check_kind(stored: Stored, path: Path, folder: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ModelError(f"{stored.label} has its data in {path}, which is not a regular file")
    if status.st_nlink > 1 and _names_within(folder, status) < status.st_nlink:
        raise ModelError(
            f"{stored.label} has its data in {path}, which is a hard link to a file outside of "
            f"{folder}",
            f'make a copy of its own: cp "{path.name}" copy && mv copy "{path.name}"',
        )


def _names_within(folder: Path, status: os.stat_result) -> int:
    """How many names of a file lie in the folder or below it, among the first files found there."""
    found = searched = 0
    for parent, _, files in os.walk(folder):
        for name in files:
            searched += 1
            if searched > _MOST_FILES_SEARCHED:
                return found
            other = (Path(parent) / name).lstat()
            found += (other.st_dev, other.st_ino) == (status.st_dev, status.st_ino)
    return found
