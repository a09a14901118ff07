"""Augmentations that a spec names: those of plugins with their options, and functions of the user's own."""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
from budgetc_passes.contract import Augmentation, Batch
from budgetc_specs.errors import SpecError
from budgetc_specs.recipe import parse_recipe

from budgetc.registry import AUGMENTATIONS, make_augmentation, release_of
from budgetc.store import file_digest


def resolve_augmentations(texts: Sequence[str], folder: Path) -> tuple[Augmentation, ...]:
    """Augmentations from their texts.

    Args:
        texts: as in `learning.augment` of a spec, such as `shift{by=0.1}` or `module:function`.
        folder: where a module that is not installed is looked for as well.

    Raises:
        SpecError: there is none of that name, an option is wrong, or a function cannot be imported.
    """
    found: list[Augmentation] = []
    for text in texts:
        if _is_function(text):
            found.append(OwnFunction(text, _imported(text, folder)))
        else:
            (step,) = parse_recipe(text).steps
            found.append(make_augmentation(step))
    return tuple(found)


@dataclass(frozen=True)
class OwnFunction:
    """An augmentation of the user's: a function from inputs by name, [inferences, *shape], to the same.

    Attributes:
        name: as the spec has it.
        function: takes the inputs and a `numpy.random.Generator`.
    """

    name: str
    function: Callable[..., Any] = field(repr=False)

    def apply(self, batch: Batch, random: np.random.Generator) -> Batch:
        """Call it, and check what it gives back.

        Raises:
            SpecError: it fails, or gives back other names, shapes or types.
        """
        given = {name: each.copy() for name, each in batch.inputs.items()}
        try:
            made = self.function(given, random)
        except Exception as error:
            raise SpecError.of(
                f"learning.augment: {self.name} failed: {type(error).__name__}: {error}",
                "it is called with (inputs, random): arrays by name, samples on axis 0, and a "
                "numpy.random.Generator.",
            ) from error
        wanted = {name: (each.shape, each.dtype) for name, each in batch.inputs.items()}
        fits = isinstance(made, Mapping) and wanted == {
            name: (np.shape(each), np.asarray(each).dtype) for name, each in made.items()
        }
        if not fits:
            raise SpecError.of(
                f"learning.augment: {self.name} does not return arrays of the names, shapes and "
                "types that it was given",
                f"these were {', '.join(f'{n} {list(s)} {d}' for n, (s, d) in wanted.items())}.",
            )
        return Batch(made, batch.partners, batch.shares)


def _is_function(text: str) -> bool:
    return ":" in text and "{" not in text


def augmentation_code(text: str, folder: Path) -> str:
    """The release that an augmentation came with, or a digest of the module beside the spec that it is in."""
    if not _is_function(text):
        (step,) = parse_recipe(text).steps
        return release_of(AUGMENTATIONS, step.name)
    file = module_file(text, folder)
    return file_digest(file) if file.is_file() else ""


def module_file(text: str, folder: Path) -> Path:
    """Where the module of `module:function` lies, if it lies in the folder."""
    return folder / f"{text.partition(':')[0].replace('.', '/')}.py"


def _imported(text: str, folder: Path) -> Callable[..., Any]:
    before = list(sys.path)
    try:
        sys.path.append(str(folder))
        importlib.invalidate_caches()
        found = EntryPoint(text, text, AUGMENTATIONS).load()
    except Exception as error:
        raise SpecError.of(
            f'learning.augment: "{text}" can not be imported: {type(error).__name__}: {error}',
            "it names a function as module:function, in a module that is installed or lies beside "
            "the model.",
        ) from error
    finally:
        sys.path[:] = before
    if not callable(found):
        raise SpecError.of(
            f'learning.augment: "{text}" is not a function',
            "an augmentation is a function of (inputs, random).",
        )
    made: Callable[..., Any] = found
    return made
