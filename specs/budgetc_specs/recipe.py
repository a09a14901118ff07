"""Recipes: the passes to run and their options, as a value and as text, both ways.

recipe := [step ("|" step)*]
step   := name ["{" [option ("," option)*] "}"]        name: kebab-case
option := key "=" value                                key: snake_case
value  := integer | float | true | false | word | "JSON string"
"""

import json
import math
import re
from dataclasses import dataclass
from typing import NoReturn

from budgetc_specs.errors import Refusal, quoted

Value = bool | int | float | str
"""What an option of a pass may hold."""

_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")
_KEY = re.compile(r"[a-z][a-z0-9_]*")
_WORD = re.compile(r"[A-Za-z_/][A-Za-z0-9_./:-]*")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_EXPONENT = "[eE][+-]?[0-9]{1,4}"
_FLOAT = re.compile(rf"[+-]?[0-9]{{1,400}}(?:\.[0-9]{{1,400}}(?:{_EXPONENT})?|{_EXPONENT})")
_BARE = re.compile(r"[^\s|{},=\"]+")
_SPACE = re.compile(r"\s*")
_HELP = 'a recipe is a chain of passes, such as "clean | prune{ratio=0.3} | quantize{per=channel}".'


@dataclass(frozen=True)
class Step:
    """One pass of a recipe; its options are kept in the order of their names.

    Raises:
        Refusal: a name, an option or a value that a recipe's text cannot hold.
    """

    name: str
    options: tuple[tuple[str, Value], ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise Refusal(f"{quoted(self.name)} is not the name of a pass", _HELP)
        keys = [key for key, _ in self.options]
        for key, value in self.options:
            if not _KEY.fullmatch(key):
                raise Refusal(f"{quoted(key)} is not the name of an option", _HELP)
            if keys.count(key) > 1:
                raise Refusal(f"the option {quoted(key)} is given twice", "keep one of the two.")
            if isinstance(value, float) and not math.isfinite(value):
                raise Refusal(f"{key}={value} is not a finite number", _HELP)
            if isinstance(value, int) and abs(value) >= 10**18:
                raise Refusal(f"{key}: {quoted(value)} is too large", _HELP)
        object.__setattr__(self, "options", tuple(sorted(self.options)))

    @classmethod
    def of(cls, name: str, /, **options: Value) -> "Step":
        """A step with its options as keywords: `Step.of("prune", ratio=0.3)`."""
        return cls(name, tuple(options.items()))

    def __str__(self) -> str:
        options = ",".join(f"{key}={_write(value)}" for key, value in self.options)
        return f"{self.name}{{{options}}}" if options else self.name


@dataclass(frozen=True)
class Recipe:
    """Passes in the order in which they run; without steps the model stays as it is."""

    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return " | ".join(str(step) for step in self.steps)


def parse_recipe(text: str) -> Recipe:
    """The recipe that the text stands for; the inverse of `str`.

    Raises:
        Refusal: the text is no recipe; `offset` and `width` say where.
    """
    return _Reader(text).recipe()


class _Reader:
    """A cursor over a recipe's text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._skip(_SPACE)

    def recipe(self) -> Recipe:
        steps: list[Step] = []
        while self._at < len(self._text) or steps:
            steps.append(self._step())
            if self._at == len(self._text):
                break
            self._expect("|", "between passes")
        return Recipe(tuple(steps))

    def _step(self) -> Step:
        name = self._take(_NAME, "the name of a pass")
        options: dict[str, Value] = {}
        if self._accept("{") and not self._accept("}"):
            while True:
                start = self._at
                key = self._take(_KEY, "the name of an option")
                if key in options:
                    self._refuse(f"the option {quoted(key)} is given twice", start, len(key))
                self._expect("=", "after the name of an option")
                options[key] = self._value()
                if self._accept("}"):
                    break
                self._expect(",", "or } after an option")
        return Step(name, tuple(options.items()))

    def _value(self) -> Value:
        start = self._at
        if self._text.startswith('"', start):
            try:
                value, self._at = json.JSONDecoder().raw_decode(self._text, start)
            except json.JSONDecodeError:
                self._refuse("the text in quotes does not end, or has a wrong escape", start)
            self._skip(_SPACE)
            return str(value)
        text = self._take(_BARE, "a value")
        if text in ("true", "false"):
            return text == "true"
        if _INTEGER.fullmatch(text):
            return int(text)
        if _FLOAT.fullmatch(text) and math.isfinite(float(text)):
            return float(text)
        if not _WORD.fullmatch(text):
            self._refuse(
                f"{quoted(text)} is not a value", start, len(text), "put text in double quotes."
            )
        return text

    def _take(self, pattern: re.Pattern[str], what: str) -> str:
        start = self._at
        bare = _BARE.match(self._text, start)
        if bare is None:
            found = f'"{self._text[start]}"' if start < len(self._text) else "the end"
            self._refuse(f"{what} is missing before {found}", start)
        if not pattern.fullmatch(bare[0]):
            self._refuse(f"{quoted(bare[0])} is not {what}", start, len(bare[0]))
        self._at = bare.end()
        self._skip(_SPACE)
        return bare[0]

    def _accept(self, mark: str) -> bool:
        found = self._text.startswith(mark, self._at)
        if found:
            self._at += 1
            self._skip(_SPACE)
        return found

    def _expect(self, mark: str, where: str) -> None:
        if not self._accept(mark):
            self._refuse(f"{mark} is missing {where}", self._at)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _refuse(self, message: str, offset: int, width: int = 1, repair: str = _HELP) -> NoReturn:
        raise Refusal(message, repair, offset=offset, width=width)


def _write(value: Value) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        plain = _WORD.fullmatch(value) and value not in ("true", "false")
        return value if plain else json.dumps(value)
    return repr(value)
