"""What results depend on beside their inputs: the code that makes them, so that nothing stale is taken for new."""

import functools
import hashlib
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from budgetc.fingerprint import LIBRARIES, PACKAGES
from budgetc.plugins import installed
from budgetc.registry import PASSES, TARGETS
from budgetc.store import file_digest

SOURCES = {".py", ".c", ".h", ".toml"}


@functools.cache
def code_digest() -> str:
    """sha256 of budgetc's own sources, of the versions of what it is built on, and of what plugins there are."""
    digest = hashlib.sha256()
    for package in PACKAGES:
        digest.update(f"{package} {source_digest(package)}\0".encode())
    for name in LIBRARIES:
        digest.update(f"{name} {installed_version(name)}\0".encode())
    for group in (PASSES, TARGETS):
        for name, point in installed(group).items():
            owner = f"{point.dist.name} {point.dist.version}" if point.dist else ""
            digest.update(f"{group} {name} {point.value} {owner}\0".encode())
    return digest.hexdigest()


@functools.cache
def source_digest(root: str) -> str:
    """sha256 of the sources of an installed package, or of a module that is no package, in hex."""
    found = find_spec(root)
    if found is None:
        raise AssertionError(f"BUG: {root} is not installed")
    digest = hashlib.sha256()
    places = [Path(place) for place in found.submodule_search_locations or ()]
    files = [(path, path.relative_to(place)) for place in places for path in place.rglob("*")]
    if not places and found.origin is not None:
        files = [(Path(found.origin), Path(root))]
    for path, name in sorted(files):
        if path.suffix in SOURCES:
            digest.update(f"{name}\0".encode())
            digest.update(file_digest(path).encode())
    return digest.hexdigest()


@functools.cache
def installed_version(distribution: str) -> str:
    """The version of a distribution, or that it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
