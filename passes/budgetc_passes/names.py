"""Lists of names in the text of an option, and of names with a number: `a;b` and `a=0.5;b=0.25`.

A name may hold what separates: a backslash before a character takes it as it is.
Spaces around a name do not count, unless there is a backslash before them.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

from budgetc_passes.contract import PassError

Characters = list[tuple[str, bool]]
"""Characters of a text, and whether a backslash protects each."""

_SHOWN = 12
"""Names that an error lists."""

_MARKS_OF_NAMES = re.compile(r"[\\;]|\A\s|\s\Z")
_MARKS_OF_VALUES = re.compile(r"[\\;=]|\A\s|\s\Z")


def join_names(names: Iterable[str]) -> str:
    """The names as one text; the inverse of `split_names`."""
    return ";".join(_MARKS_OF_NAMES.sub(_protected, name) for name in names)


def split_names(text: str) -> tuple[str, ...]:
    """The names that a text lists, without empty ones."""
    names = (_trimmed(item) for item in _split(_characters(text), ";"))
    return tuple(name for name in names if name)


def join_values(values: Mapping[str, float]) -> str:
    """Names with their numbers as one text; the inverse of `split_values`."""
    return ";".join(
        f"{_MARKS_OF_VALUES.sub(_protected, name)}={value!r}" for name, value in values.items()
    )


def split_values(text: str) -> dict[str, float]:
    """The names of a text and the number behind each.

    Raises:
        ValueError: a name has no number, or stands there twice.
    """
    found: dict[str, float] = {}
    for item in _split(_characters(text), ";"):
        name, *values = (_trimmed(field) for field in _split(item, "="))
        if not name and not values:
            continue
        try:
            (value,) = values
            number = float(value)
        except ValueError:
            raise ValueError(
                f"{''.join(c for c, _ in item)!r} is not a name, = and a number, such as conv1=0.5; "
                "; separates two of them, and a ; or = inside of a name has a backslash before it"
            ) from None
        if name in found:
            raise ValueError(f"{name!r} is named twice")
        found[name] = number
    return found


def require_known(names: Iterable[str], known: Sequence[str], said: str) -> None:
    """Hold the names of an option to those that the model has.

    Args:
        names: what the option names.
        known: what there is to name.
        said: the pass and its option, for the error.

    Raises:
        PassError: a name is not known; it says what is near.
    """
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {_listed(known)}"
            message = f"{said} names {name!r}, which the model lacks; {hint}"
            raise PassError(message)


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN]) or "none"
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown


def _protected(found: re.Match[str]) -> str:
    return f"\\{found[0]}"


def _characters(text: str) -> Characters:
    return [(pair[1:] or pair, pair != pair[-1]) for pair in re.findall(r"\\.|.", text, re.DOTALL)]


def _split(characters: Characters, mark: str) -> list[Characters]:
    parts: list[Characters] = [[]]
    for each in characters:
        if each == (mark, False):
            parts.append([])
        else:
            parts[-1].append(each)
    return parts


def _trimmed(characters: Characters) -> str:
    """Without the spaces at both ends that no backslash protects."""
    start, end = 0, len(characters)
    while start < end and characters[start][0].isspace() and not characters[start][1]:
        start += 1
    while end > start and characters[end - 1][0].isspace() and not characters[end - 1][1]:
        end -= 1
    return "".join(character for character, _ in characters[start:end])
