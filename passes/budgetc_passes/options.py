"""What options of passes are held to: one of some words, and numbers for named parts of a model."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from budgetc_passes.names import split_values


def check_words(options: Any) -> None:
    """Hold each option that is one of some words, a `Literal`, to them.

    Args:
        options: a pass, which is a dataclass with a name.

    Raises:
        ValueError: an option is another word.
    """
    hints = get_type_hints(type(options))
    for option in (each.name for each in fields(options)):
        value = getattr(options, option)
        if get_origin(hints[option]) is Literal and value not in get_args(hints[option]):
            allowed = _either(get_args(hints[option]))
            raise ValueError(f'{options.name}: {option} is "{value}"; it is {allowed}')


def values_of(options: Any, option: str) -> dict[str, float]:
    """The numbers that an option has for named parts, as `a=0.5;b=0.25`.

    Raises:
        ValueError: it is no such list.
    """
    try:
        return split_values(getattr(options, option))
    except ValueError as error:
        raise ValueError(f"{options.name}: {option}: {error}") from None


def counts_of(options: Any, option: str, meaning: str) -> dict[str, int]:
    """The whole numbers, 0 or more, that an option has for named parts.

    Args:
        options: a pass.
        option: its option.
        meaning: what a number is of a part, for the error.

    Raises:
        ValueError: it is no such list, or a number is not whole or below 0.
    """
    found = values_of(options, option)
    for name, value in found.items():
        if value < 0 or value != int(value):
            raise ValueError(
                f"{options.name}: {option}: {name!r} has the {meaning} {value:g}; it is a whole number"
            )
    return {name: int(value) for name, value in found.items()}


def _either(words: Iterable[str]) -> str:
    *others, last = (f'"{word}"' for word in words)
    return f"{', '.join(others)} or {last}" if others else last
