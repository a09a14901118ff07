"""Arrays of an .npz archive, read a few rows at a time and never unpickled."""

import math
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
from budgetc_specs.errors import SpecError, quoted

Array = npt.NDArray[np.generic]

_CHUNK_BYTES = 1 << 22
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError)


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open an archive for reading.

    Raises:
        SpecError: it can not be read, or, anywhere inside of the `with` block, turns out to be
            damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except SpecError:
        raise
    except OSError as error:
        raise SpecError.of(
            f"the data can not be read: {error.strerror or error}", path=str(path)
        ) from error
    except _DAMAGED as error:
        raise SpecError.of(
            f"the data is damaged or not an .npz archive: {error}",
            "write the arrays again with numpy.savez.",
            str(path),
        ) from error


@dataclass(frozen=True)
class Column:
    """One array of an archive, open at its first row.

    Attributes:
        name: the array's name.
        dtype: its element type.
        shape: its shape as the header claims it; whether the data is there shows in reading.
    """

    name: str
    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    _stream: IO[bytes]

    @staticmethod
    @contextmanager
    def open(archive: zipfile.ZipFile, name: str) -> Iterator["Column"]:
        """Open an array of the archive.

        Raises:
            SpecError: it is of Python objects, or stored column by column.
            ValueError: it is no array.
        """
        with archive.open(f"{name}.npy") as stream:
            version = np.lib.format.read_magic(stream)
            if version == (1, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
            elif version == (2, 0):
                shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
            else:
                raise ValueError(f"{quoted(name)} has version {version} of the .npy format")
            if dtype.hasobject or dtype.fields or dtype.itemsize == 0:
                raise SpecError.of(
                    f"the array {quoted(name)} holds Python objects or records, not numbers",
                    "write plain numbers; objects would have to be unpickled, which runs code.",
                    archive.filename,
                )
            if fortran and len(shape) > 1:
                raise SpecError.of(
                    f"the array {quoted(name)} is stored column by column",
                    "write numpy.ascontiguousarray of it, so that samples can be read one by one.",
                    archive.filename,
                )
            yield Column(name, dtype, shape, stream)

    def read(self, rows: int) -> Array:
        """The next rows, as an array of shape (rows, *shape[1:]).

        Raises:
            ValueError: the archive holds less than it claims.
        """
        shape = (rows, *self.shape[1:])
        wanted = math.prod(shape) * self.dtype.itemsize
        data = bytearray()
        while len(data) < wanted:
            chunk = self._stream.read(min(wanted - len(data), _CHUNK_BYTES))
            if not chunk:
                raise ValueError(f"the array {quoted(self.name)} ends early")
            data += chunk
        return np.frombuffer(data, self.dtype).reshape(shape)

    def first_not_finite(self) -> int | None:
        """Read to the end; the first row with a NaN or an infinity, if there is one."""
        row_bytes = max(1, math.prod(self.shape[1:]) * self.dtype.itemsize)
        at_once = max(1, _CHUNK_BYTES // row_bytes)
        for begin in range(0, self.shape[0], at_once):
            rows = self.read(min(at_once, self.shape[0] - begin))
            if rows.dtype.kind in "fc":
                bad = ~np.isfinite(rows).reshape(len(rows), -1).all(axis=1)
                if bad.any():
                    return begin + int(bad.argmax())
        return None
