"""One point of a search space as a value: what differs from leaving the model as it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from budgetc_specs.recipe import Value

Levels = Mapping[str, Mapping[str, Value]]
"""The level of each part that has another than its first, by family; or the value of each option."""

_Table = tuple[tuple[str, tuple[tuple[str, Value], ...]], ...]


@dataclass(frozen=True)
class Settings:
    """Levels by family and part, and options by family; equal settings are equal values.

    `Space` makes them: it leaves out what is at its first level or default, so that `Settings()` is
    the model as it is. Both tables are in the order of the names.
    """

    levels: _Table = ()
    options: _Table = ()

    @staticmethod
    def of(levels: Levels, options: Levels | None = None) -> "Settings":
        """Settings with these levels and options, families with nothing in them left out."""
        return Settings(_table(levels), _table(options or {}))

    def level(self, family: str, part: str) -> Value | None:
        """The part's level; None where it is the first one."""
        return dict(dict(self.levels).get(family, ())).get(part)

    def option(self, family: str, option: str) -> Value | None:
        """The option's value; None where it is the default."""
        return dict(dict(self.options).get(family, ())).get(option)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        levels = {family: dict(parts) for family, parts in self.levels}
        return {"levels": levels, "options": {family: dict(own) for family, own in self.options}}

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Settings":
        """The inverse of `to_json`.

        Raises:
            KeyError: a key is missing.
        """
        return Settings.of(value["levels"], value["options"])


def _table(values: Levels) -> _Table:
    return tuple(
        (family, tuple(sorted(parts.items()))) for family, parts in sorted(values.items()) if parts
    )
