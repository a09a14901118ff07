"""Every error that budgetc raises on purpose: one tree, each with its exit code."""

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

_LINE_WIDTH = 100


class BudgetcError(Exception):
    """Something that budgetc can name: what is wrong, and how to repair it.

    Exit codes 0 (budgets met), 1 (a budget missed) and 130 (interrupted) have no exception.
    """

    exit_code: ClassVar[int] = 70

    def __init__(self, message: str, repair: str = "") -> None:
        super().__init__(message, repair)
        self.message = message
        self.repair = repair

    def __str__(self) -> str:
        return "\n".join([self.message, *_indented(self.repair)])


@dataclass(frozen=True)
class Diagnostic:
    """One finding about a spec: where, what is wrong and what holds, and the repair.

    `line` and `column` count from 1 and are None where there is no text to point at (a `--set`, a
    missing file); `width` is the number of characters that the carets underline.
    """

    path: str | None
    line: int | None
    column: int | None
    message: str
    repair: str = ""
    source_line: str | None = None
    width: int = 1

    def __str__(self) -> str:
        where = ":".join(
            str(part) for part in (self.path, self.line, self.column) if part is not None
        )
        lines = [printable(f"{where}: {self.message}" if where else self.message)]
        if self.source_line is not None and self.line is not None and self.column is not None:
            text, caret = self._window(self.source_line, self.column)
            lines.append(f"   {self.line:>2} | {text}".rstrip())
            lines.append(f"   {'':>{max(2, len(str(self.line)))}} | {caret}")
        return "\n".join([*lines, *_indented(self.repair)])

    def _window(self, source_line: str, column: int) -> tuple[str, str]:
        """The part of a line around a column, `_LINE_WIDTH` wide at most, and the carets for it."""
        text = "".join(c if c.isprintable() else " " for c in source_line)
        start = 0 if len(text) <= _LINE_WIDTH else max(0, column - 1 - _LINE_WIDTH // 2)
        text = text[start : start + _LINE_WIDTH]
        before = min(column - 1 - start, len(text))
        return text, " " * before + "^" * max(1, min(self.width, len(text) - before))


class SpecError(BudgetcError):
    """The spec, an override or the command line is wrong; holds every finding, not the first."""

    exit_code = 2

    def __init__(self, diagnostics: Iterable[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(str(finding) for finding in self.diagnostics))
        self.args = (self.diagnostics,)  # what pickle hands back to __init__

    @classmethod
    def of(cls, message: str, repair: str = "", path: str | None = None) -> "SpecError":
        """An error with one finding that has no position."""
        return cls([Diagnostic(path, None, None, message, repair)])


class InfeasibleError(BudgetcError):
    """No model of the search space can meet a budget, proven before anything was built."""

    exit_code = 3


class EnvironmentError_(BudgetcError):  # noqa: N801, N818  the plain name is a builtin
    """This machine lacks a tool, package or resource; the repair names the command to run."""

    exit_code = 4


class LockError(BudgetcError):
    """The lock file does not fit the spec, the model, the data or the tools."""

    exit_code = 5


class WrongNumbersError(BudgetcError):
    """The binary's outputs differ from the reference by more than rounding explains."""

    exit_code = 6


class ModelError(BudgetcError):
    """The ONNX model is invalid, untrusted or beyond what budgetc can compile."""

    exit_code = 7


class TargetUnreachableError(BudgetcError):
    """The device that a target names cannot be reached or does not answer."""

    exit_code = 8


class InternalError(BudgetcError):
    """A fault of budgetc itself; the message starts with `BUG:` and says what to report."""

    exit_code = 70


class Refusal(ValueError):  # noqa: N818  a value is refused; no error by itself
    """A value that a field may not hold: what is wrong with it, and the repair.

    `offset` and `width` say which characters of the value's text are meant; `at_key` that the
    field's name is meant and not its value.
    """

    def __init__(
        self,
        message: str,
        repair: str = "",
        *,
        offset: int | None = None,
        width: int = 1,
        at_key: bool = False,
    ) -> None:
        super().__init__(message, repair)
        self.message = message
        self.repair = repair
        self.offset = offset
        self.width = width
        self.at_key = at_key

    def __str__(self) -> str:
        return f"{self.message}; {self.repair}" if self.repair else self.message


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean "size"?` for the nearest of the known words, or nothing where none is near."""
    by_folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold()[:64], by_folded, n=1, cutoff=0.6)
    return f'did you mean "{by_folded[near[0]]}"?' if near else ""


def quoted(value: object) -> str:
    """A value as messages show it: scalars in quotes, cut where long; collections by kind."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = json.dumps(value) if value is None or isinstance(value, bool) else str(value)
    text = printable(text)
    return f'"{text if len(text) <= 60 else text[:57] + "..."}"'


def printable(text: str) -> str:
    """The text with control and other invisible characters spelled out: terminals obey them."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]
