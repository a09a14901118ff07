"""What results depend on beside their inputs: the code that makes them, so that nothing stale is taken for new."""

import functools
import hashlib
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from budgetc.registry import PASSES, TARGETS, installed

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


@functools.cache
def code_digest() -> str:
    """sha256 of budgetc's own sources, of the versions of what it is built on, and of what plugins there are."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        found = find_spec(package)
        if found is None or found.origin is None:
            raise AssertionError(f"BUG: {package} is not installed")
        root = Path(found.origin).parent
        for path in sorted(root.rglob("*")):
            if path.suffix in {".py", ".c", ".h"}:
                digest.update(f"{package}/{path.relative_to(root)}\0".encode())
                digest.update(hashlib.sha256(path.read_bytes()).digest())
    for name in LIBRARIES:
        digest.update(f"{name} {installed_version(name)}\0".encode())
    for group in (PASSES, TARGETS):
        for name, point in installed(group).items():
            owner = f"{point.dist.name} {point.dist.version}" if point.dist else ""
            digest.update(f"{group} {name} {point.value} {owner}\0".encode())
    return digest.hexdigest()


def installed_version(distribution: str) -> str:
    """The version of a distribution, or that it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
