"""The files that a spec names: where they are, and what stands beside one that is missing."""

import os
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, WithJsonSchema

from budgetc_specs.errors import Refusal, did_you_mean, quoted
from budgetc_specs.fields import in_document

_PATH_HELP = "a path is absolute or relative to the spec's folder."


def existing_file(value: Any, info: ValidationInfo) -> Path:
    """The file, which must exist where a document is read."""
    if not isinstance(value, str | os.PathLike) or not str(value).strip() or "\0" in str(value):
        raise Refusal(f"{quoted(value)} is not a path", _PATH_HELP)
    path = Path(value)
    if not info.context or not in_document(info):
        return path
    full: Path = info.context["folder"] / path
    try:
        if full.is_file():
            return full
        what = "is a folder, not a file" if full.is_dir() else "does not exist"
    except OSError as error:
        what = f"cannot be read: {error.strerror}"
    raise Refusal(
        f"{quoted(str(value))} {what}", "\n".join(filter(None, [neighbour(full, path), _PATH_HELP]))
    )


def neighbour(missing: Path, as_written: Path) -> str:
    """A did-you-mean over the folder in which a file was not found."""
    try:
        names = [entry.name for entry in islice(missing.parent.iterdir(), 1000)]
    except OSError:
        return ""
    return did_you_mean(str(as_written), [str(as_written.parent / name) for name in names])


def _npz(path: Path) -> Path:
    if path.suffix.lower() != ".npz":
        raise Refusal(
            f"{quoted(path.name)} is not supported yet: data comes from .npz archives",
            "write the arrays with numpy.savez, one per model input, and the labels as `label`.",
        )
    return path


def read_archive(value: Any, info: ValidationInfo) -> Path:
    """A numpy archive, which must exist where a document is read."""
    return _npz(existing_file(value, info))


_FILE = {"type": "string", "minLength": 1}
ARCHIVE_SCHEMA = {**_FILE, "pattern": r"\.[nN][pP][zZ]$"}
"""The JSON Schema of a numpy archive's path."""

File = Annotated[Path, BeforeValidator(existing_file), WithJsonSchema(_FILE)]
"""A file, relative to the spec's folder."""

Archive = Annotated[File, AfterValidator(_npz), WithJsonSchema(ARCHIVE_SCHEMA)]
"""A numpy archive, relative to the spec's folder."""
