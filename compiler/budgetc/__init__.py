"""A declarative model-optimisation compiler: makes a neural network fit a declared budget."""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

TYPE_CHECKING = (
    False  # typing's constant takes as long to import as all else that `budgetc --version` needs
)
if TYPE_CHECKING:
    from typing import Any

    from budgetc_specs.spec import Spec

    from budgetc.compile import compile  # noqa: A004
    from budgetc.load import load
    from budgetc.verify import verify

__all__ = ["Spec", "compile", "load", "verify"]

_HOMES = {
    "Spec": "budgetc_specs.spec",
    "compile": "budgetc.compile",
    "load": "budgetc.load",
    "verify": "budgetc.verify",
}


class _Package(ModuleType):
    """Importing a submodule sets it on its package, where it would hide the function of the same name."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    """Import a public name on first use: a program that only loads an artefact imports nothing of the compiler."""
    if name not in _HOMES:
        raise AttributeError(f"module 'budgetc' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
