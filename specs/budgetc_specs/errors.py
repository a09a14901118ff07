"""Every error that budgetc raises on purpose: one tree, each with its exit code."""

import difflib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

_LINE_WIDTH = 100


class BudgetcError(Exception):
    """Something that budgetc can name: what is wrong, and how to repair it.

    Of each kind below, the first paragraph says what its exit code means and the second what to do about it, for users:
    `exit_codes` takes them from there.
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
    """The spec or the command line is wrong.

    Each finding says where, what holds and the repair; all of them come at once. `budgetc check SPEC` looks for them
    without compiling, `budgetc schema` lets an editor find them while you write.

    `diagnostics` holds every finding, not the first.
    """

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
    """Infeasible, proven before anything was built: no library can be that small.

    The certificate names the bound and the nearest points, each with a value to write into the spec. `budgetc plan
    SPEC` says the same before a build.
    """

    exit_code = 3


class EnvironmentError_(BudgetcError):  # noqa: N801, N818  the plain name is a builtin
    """This machine lacks something: a package, a tool, memory, disk.

    The message names the command that repairs it; `budgetc doctor` tries everything that is needed.
    """

    exit_code = 4


class LockError(BudgetcError):
    """The lock does not fit the spec, the model, the data or the tools.

    The message has a line for each difference, with the value in the lock and the value now. Undo what has changed, or
    make the lock anew: `budgetc lock SPEC`.
    """

    exit_code = 5


class WrongNumbersError(BudgetcError):
    """The binary's numbers are wrong: a bug of budgetc, caught before the hand-over.

    Its outputs differ from onnxruntime's by more than rounding explains. The message names the layer at fault and a
    folder with a small model that shows it: report that. `--set passes=clean` may give a library meanwhile.
    """

    exit_code = 6


class ModelError(BudgetcError):
    """The model is invalid, untrusted or beyond what can be compiled.

    The message names the node and the reason. Export the model anew, or without what is named; `budgetc check SPEC`
    says whether every operator can be compiled.
    """

    exit_code = 7


class TargetUnreachableError(BudgetcError):
    """The device that a target names cannot be reached, or does not answer.

    Try what `ssh` says to the address in `targets.NAME.runner`. Without `runner`, the library is built and judged by
    what this machine can run.
    """

    exit_code = 8


class InternalError(BudgetcError):
    """A bug of budgetc.

    The message starts with `BUG:` and names a log to report it with, beside the spec and, if you may share it, the
    model.
    """

    exit_code = 70


_WITHOUT_ERROR = {
    0: """Every budget of every target holds, and the artefacts are written.""",
    1: """A budget is missed or undecided; nothing is written.

    The table of verdicts says which, and the certificate what comes nearest, with a value to write into the spec. An
    UNDECIDED latency wants a quieter machine, more room, or `level: warning`.
    """,
    130: """Interrupted; what was there is untouched.

    The next run of the same spec goes on where this one was.
    """,
}
"""Exit codes that no error has, in the same form."""


@dataclass(frozen=True)
class ExitCode:
    """What a command ended with.

    Attributes:
        code: the number.
        meaning: in a sentence.
        repair: what to do about it, or nothing.
    """

    code: int
    meaning: str
    repair: str


def exit_codes() -> tuple[ExitCode, ...]:
    """Every exit code with its meaning, in their order; another signal than Ctrl-C gives 128 and its number."""
    ours = [kind for kind in BudgetcError.__subclasses__() if kind.__module__ == __name__]
    said = {**_WITHOUT_ERROR, **{kind.exit_code: kind.__doc__ or "" for kind in ours}}
    found = []
    for code, text in sorted(said.items()):
        meaning, repair, *_ = [*map(_joined, text.split("\n\n")), ""]
        found.append(ExitCode(code, meaning, repair))
    return tuple(found)


def _joined(text: str) -> str:
    return " ".join(text.split())


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


def did_you_mean(word: str, known: Iterable[str], most: int = 1) -> str:
    """`did you mean "size"?` for the nearest of the known words, or nothing where none is near.

    Args:
        word: what was written.
        known: what could have been meant.
        most: words that are named at most.
    """
    by_folded = {name.casefold(): name for name in known}
    near = difflib.get_close_matches(word.casefold()[:64], by_folded, n=most, cutoff=0.6)
    names = [f'"{by_folded[each]}"' for each in near]
    return f"did you mean {' or '.join(names)}?" if names else ""


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
