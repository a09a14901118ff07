"""The stamp of a build: what was asked for, what it was made from and what came out, so that nothing is built twice.

It lies in the output folder. Reading it imports nothing but the standard library, since a build system asks often.
`stamp.json` is there only where every budget is kept: to make and ninja it is the build's output, and its time says
when the folder was last found to be right. What a build that missed a budget was made from is `missed.json`.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from budgetc.fingerprint import (
    processor,
    releases,
    signature,
    sources_digest,
    sources_signature,
)
from budgetc.version import VERSION

STAMP, MISSED = "stamp.json", "missed.json"
RESULT = "result.json"
"""The file in the output folder that holds a result."""

PAGE = "report.html"
"""The file beside it that shows it."""

_FORMAT = 1
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Request:
    """What was asked for, as far as it decides what is built.

    Attributes:
        spec: the spec's path, absolute.
        overrides: values that replace those of the spec, in their order.
        targets: names of targets; None means all.
        mode: how else it is built, such as from a lock.
    """

    spec: str
    overrides: tuple[str, ...] = ()
    targets: tuple[str, ...] | None = None
    mode: str = ""

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "spec": self.spec,
            "overrides": list(self.overrides),
            "targets": None if self.targets is None else list(self.targets),
            "mode": self.mode,
        }


@dataclass(frozen=True)
class Seen:
    """A file as it was: its signature, and the sha256 of its bytes in hex."""

    signature: str
    digest: str

    @staticmethod
    def of(path: Path) -> "Seen":
        """A file as it is now. The signature is taken first, so that a later change is never missed.

        Raises:
            OSError: the file cannot be read.
        """
        now = signature(path)
        return Seen(now, _digest(path))


@dataclass(frozen=True)
class Stamp:
    """What a folder was built from.

    Attributes:
        request: what was asked for.
        inputs: every file that was read, by absolute path.
        outputs: every file that was written, by its path in the folder.
        exit_code: what the build ended with.
    """

    request: Request
    inputs: Mapping[str, Seen]
    outputs: Mapping[str, Seen]
    exit_code: int


def take_inputs(paths: Iterable[Path]) -> dict[str, Seen]:
    """Files as they are before a build reads them, by absolute path."""
    return {str(path.absolute()): Seen.of(path) for path in paths}


def write_stamp(folder: Path, stamp: Stamp) -> None:
    """Put a stamp into its folder, in place of an older one.

    One that tells of a missed budget takes the place of one that tells of a build that is right, and the reverse.
    """
    text = json.dumps(
        {
            "stamp": _FORMAT,
            "exit_code": stamp.exit_code,
            "request": stamp.request.to_json(),
            "tool": _tool(),
            "inputs": {name: [s.signature, s.digest] for name, s in stamp.inputs.items()},
            "outputs": {name: [s.signature, s.digest] for name, s in stamp.outputs.items()},
        },
        indent=1,
    )
    kept, other = (STAMP, MISSED) if stamp.exit_code == 0 else (MISSED, STAMP)
    (folder / other).unlink(missing_ok=True)
    new = (
        folder / f".{kept}.new"
    )  # the same for all: what a killed run has left, the next one takes away
    new.write_text(text + "\n", encoding="utf-8")
    with contextlib.suppress(FileNotFoundError):  # another run was quicker: its stamp is there
        new.replace(folder / kept)


def outputs_of(folder: Path, targets: Iterable[str]) -> dict[str, Seen]:
    """What a build has written: the folders of its targets, and the files beside them."""
    files = [folder / name for name in (RESULT, PAGE) if (folder / name).is_file()]
    for name in targets:
        if (folder / name).is_dir():
            files += [p for p in (folder / name).rglob("*") if p.is_file()]
    return {p.relative_to(folder).as_posix(): Seen.of(p) for p in sorted(files)}


def current(folder: Path, request: Request) -> Stamp | None:
    """The stamp of the build that did what is asked for, where nothing has changed since; else None.

    A folder that is found to be right gets a stamp of this moment, which is what make looks at.
    """
    for name in (STAMP, MISSED):
        try:
            written = json.loads((folder / name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        try:
            stamp = _still_holds(folder, request, written)
        except (KeyError, TypeError, AttributeError, ValueError):  # another version's, or damaged
            return None
        if stamp is not None and name == STAMP:
            with contextlib.suppress(OSError):  # of another user, or on a disk that is read only
                (folder / name).touch()
        return stamp
    return None


def find_folder(parent: Path, request: Request) -> Path | None:
    """The folder below `parent` whose stamp is of this request: the name of the output stands in the spec alone."""
    for path in sorted(parent.glob("*/*.json")):
        if path.name not in {STAMP, MISSED}:
            continue
        try:
            asked = json.loads(path.read_text(encoding="utf-8"))["request"]
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if asked == request.to_json():
            return path.parent
    return None


def _still_holds(folder: Path, request: Request, written: Mapping[str, Any]) -> Stamp | None:
    if written["stamp"] != _FORMAT or written["request"] != request.to_json():
        return None
    tool, now = dict(written["tool"]), _tool(quick=True)
    if tool.pop("signature") != now.pop("signature"):
        now["sources"] = sources_digest()
    else:
        now["sources"] = tool["sources"]
    if tool != now:
        return None
    inputs = {name: Seen(*seen) for name, seen in written["inputs"].items()}
    outputs = {name: Seen(*seen) for name, seen in written["outputs"].items()}
    if not all(_unchanged(Path(name), seen) for name, seen in inputs.items()):
        return None
    if not all(_unchanged(folder / name, seen) for name, seen in outputs.items()):
        return None
    return Stamp(request, inputs, outputs, int(written["exit_code"]))


def _tool(*, quick: bool = False) -> dict[str, Any]:
    """What of budgetc and of this machine decides a result; without the digest of all sources where that may wait."""
    return {
        "version": VERSION,
        "releases": list(releases()),
        "processor": processor(),
        "signature": sources_signature(),
        **({} if quick else {"sources": sources_digest()}),
    }


def _unchanged(path: Path, seen: Seen) -> bool:
    try:
        return signature(path) == seen.signature or _digest(path) == seen.digest
    except OSError:
        return False


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
