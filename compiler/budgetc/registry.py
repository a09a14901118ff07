"""Plugins by name: passes and targets come through entry points, ours by the same door as foreign ones."""

import contextlib
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from budgetc_passes.contract import Augmentation, Pass
from budgetc_passes.offer import STAGES, Growing, Searchable
from budgetc_specs.errors import EnvironmentError_, SpecError, did_you_mean, quoted
from budgetc_specs.recipe import Recipe, Step
from budgetc_targets.contract import Device, Target

from budgetc.plugins import distribution_of, installed

PASSES, TARGETS, RUNNERS = "budgetc.passes", "budgetc.targets", "budgetc.runners"
AUGMENTATIONS = "budgetc.augmentations"


def find_target(kind: str) -> Target:
    """The target of a kind.

    Raises:
        SpecError: none of that kind is installed.
        EnvironmentError_: its plugin cannot be loaded.
    """
    made = _load(TARGETS, kind, "target kind", "`budgetc targets` lists them.")()
    if not isinstance(made, Target):
        raise _unfit(TARGETS, kind)
    return made


def find_device(address: str) -> Device:
    """The way to the device at an address, whose scheme is a plugin's name.

    Raises:
        SpecError: there is no plugin for the scheme, or it does not take the address.
        EnvironmentError_: its plugin cannot be loaded.
    """
    scheme = address.partition("://")[0]
    made = _load(RUNNERS, scheme, "way to a device", f"there is {_listed(RUNNERS)}.")(address)
    if not isinstance(made, Device):
        raise _unfit(RUNNERS, scheme)
    return made


def find_pass(name: str) -> type[Pass]:
    """The class of a pass.

    Raises:
        SpecError: no pass of that name is installed.
        EnvironmentError_: its plugin cannot be loaded.
    """
    found = _load(PASSES, name, "pass", "`budgetc passes` lists them.")
    if not dataclasses.is_dataclass(found) or getattr(found, "name", None) != name:
        raise _unfit(PASSES, name)
    return found  # type: ignore[return-value]  # a dataclass type says nothing of the protocol


def find_searchable() -> tuple[Mapping[str, type[Searchable]], tuple[str, ...]]:
    """The pass classes that the search may choose settings of, by name in the order of recipes.

    Returns:
        The classes, and a sentence for each plugin that cannot be loaded: it is left out, since no spec
        has asked for it.
    """
    found: dict[str, type[Searchable]] = {}
    notes = []
    for name in installed(PASSES):
        try:
            kind = find_pass(name)
        except EnvironmentError_ as error:
            notes.append(f"{error.message}; the search goes on without it")
            continue
        if isinstance(kind, Searchable):
            if kind.stage not in STAGES:
                raise _unfit(PASSES, name)
            found[name] = kind
    ordered = sorted(found.items(), key=lambda item: STAGES.index(item[1].stage))
    return dict(ordered), tuple(notes)


def find_growing() -> tuple[type[Growing], ...]:
    """The pass classes that make models larger, in the order of their names; what cannot be loaded is left out."""
    found: list[type[Growing]] = []
    for name in installed(PASSES):
        with contextlib.suppress(EnvironmentError_):  # no spec has asked for it
            kind: Any = find_pass(name)
            grows = isinstance(kind, Growing)
            found += [kind] if grows else []
    return tuple(found)


def make_passes(recipe: Recipe) -> Sequence[Pass]:
    """The passes of a recipe with their options.

    Raises:
        SpecError: a pass or an option does not exist, or a value is out of bounds.
    """
    return [_make(step) for step in recipe.steps]


def _make(step: Step) -> Pass:
    made: Pass = _with_options(
        find_pass(step.name), step, "passes", f"see `budgetc passes {step.name}`."
    )
    return made


def make_augmentation(step: Step) -> Augmentation:
    """An augmentation with its options.

    Raises:
        SpecError: it or an option does not exist, or a value is out of bounds.
        EnvironmentError_: its plugin cannot be loaded.
    """
    known = ", ".join(installed(AUGMENTATIONS))
    kind = _load(AUGMENTATIONS, step.name, "augmentation", f"there is {known}, or module:function.")
    if not dataclasses.is_dataclass(kind):
        raise _unfit(AUGMENTATIONS, step.name)
    made: Augmentation = _with_options(kind, step, "learning.augment", f"there is {known}.")
    return made


def _with_options(kind: Any, step: Step, where: str, repair: str) -> Any:
    """An object of a dataclass with the options of a step."""
    options = {f.name: f for f in dataclasses.fields(kind) if f.init}
    for name, _ in step.options:
        if name not in options:
            has = ", ".join(options) or "none"
            raise SpecError.of(
                f"{where}: {step.name} has no option {quoted(name)}",
                f"{did_you_mean(name, options)} its options are {has}.".strip(),
            )
    try:
        return kind(**dict(step.options))
    except (ValueError, TypeError) as error:
        raise SpecError.of(f"{where}: {step}: {error}", repair) from error


@functools.cache
def _load(group: str, name: str, what: str, listing: str) -> Any:
    points = installed(group)
    if name not in points:
        hint = did_you_mean(name, points)
        raise SpecError.of(f"no {what} is called {quoted(name)}", f"{hint} {listing}".strip())
    try:
        return points[name].load()
    except Exception as error:
        raise EnvironmentError_(
            f"the plugin {made_by(group, name)} cannot be loaded: {type(error).__name__}: {error}",
            "reinstall or uninstall it.",
        ) from error


def made_by(group: str, name: str) -> str:
    """A plugin and its distribution, as messages name it."""
    point = installed(group)[name]
    return f"{point.value} of {distribution_of(point)}"


@functools.cache
def release_of(group: str, name: str) -> str:
    """A plugin's distribution and its version; what it does may change with them."""
    distribution = installed(group)[name].dist
    return f"{distribution.name} {distribution.version}" if distribution else ""


def _listed(group: str) -> str:
    return ", ".join(f"{name}://" for name in installed(group)) or "none"


def _unfit(group: str, name: str) -> EnvironmentError_:
    return EnvironmentError_(
        f"the plugin {made_by(group, name)} does not keep the contract of {group}",
        "reinstall or uninstall it.",
    )
