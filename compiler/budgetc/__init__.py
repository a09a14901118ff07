"""A declarative model-optimisation compiler: makes a neural network fit a declared budget."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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


def __getattr__(name: str) -> Any:
    """Import a public name on first use: a program that only loads an artefact imports nothing of the compiler."""
    if name not in _HOMES:
        raise AttributeError(f"module 'budgetc' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value
