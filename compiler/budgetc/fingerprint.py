"""What an installed budgetc is, found out in milliseconds: its sources, the releases below it, the processor."""

import hashlib
import os
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

PACKAGES = ("budgetc", "budgetc_passes", "budgetc_specs", "budgetc_targets")
LIBRARIES = (
    "apache-tvm",
    "apache-tvm-ffi",
    "emx-onnx-cgen",
    "numpy",
    "onnx",
    "onnx-ir",
    "onnxruntime",
    "ziglang",
)

_CODE = (".py", ".c", ".h")
_PROCESSOR = ("vendor_id", "model name", "flags", "Features", "CPU implementer", "CPU part")


def source_files() -> Iterator[tuple[str, Path]]:
    """Every file of budgetc's own code with a name that does not depend on where it is installed, sorted."""
    for package in PACKAGES:
        root = _root(package)
        for path in sorted(_below(root)):
            yield f"{package}/{path.relative_to(root).as_posix()}", path


def sources_digest() -> str:
    """sha256 of budgetc's own code."""
    digest = hashlib.sha256()
    for name, path in source_files():
        digest.update(f"{name}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def sources_signature() -> str:
    """A digest of names, sizes and times of budgetc's own code: where it stays, the code has stayed."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        for path in sorted(_below(_root(package))):
            digest.update(f"{path}\0{signature(path)}\0".encode())
    return digest.hexdigest()


def signature(path: Path) -> str:
    """Size, times and inode of a file: where they stay, nobody has written to it.

    Raises:
        OSError: the file is not there.
    """
    status = path.stat()
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def releases() -> tuple[str, ...]:
    """Python, the distributions that results depend on, and those that bring plugins: name and version, sorted.

    Read from the names of installed metadata: importlib.metadata takes longer to import than this to run.
    """
    found = {f"python {sys.version.split()[0]}"}
    for folder in dict.fromkeys(sys.path):
        try:
            below = list(Path(folder or ".").glob("*.dist-info"))
        except OSError:
            continue
        for metadata in below:
            distribution, _, version = metadata.stem.rpartition("-")
            known = distribution.replace("_", "-").lower()
            if known in LIBRARIES or _brings_plugins(metadata):
                found.add(f"{known} {version}")
    return tuple(sorted(found))


def processor() -> str:
    """A digest of what this machine's processor is: code for `host` is made for it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "unknown"
    first = text.partition("\n\n")[0]
    lines = [line for line in first.splitlines() if line.partition(":")[0].strip() in _PROCESSOR]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _root(package: str) -> Path:
    found = find_spec(package)
    if found is None or found.origin is None:
        raise AssertionError(f"BUG: {package} is not installed")
    return Path(found.origin).parent


def _below(root: Path) -> Iterator[Path]:
    for parent, folders, names in os.walk(root):
        folders[:] = [name for name in folders if name != "__pycache__"]
        for name in names:
            if name.endswith(_CODE):
                yield Path(parent, name)


def _brings_plugins(metadata: Path) -> bool:
    try:
        return b"[budgetc." in (metadata / "entry_points.txt").read_bytes()
    except OSError:
        return False
