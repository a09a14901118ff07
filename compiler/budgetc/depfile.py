"""Files that say to make and ninja what a build has read."""

import re
from collections.abc import Iterable
from pathlib import Path

from budgetc_specs.errors import SpecError, quoted

_QUOTED = re.compile(r"(\\*)([ #:])")
# Line breaks and `;` mean something else to make; at quotes and the like ninja ends a name. A `)` at the end makes the
# name, or those from the last one with a `(`, members of an archive to make: `lib.a(one.o two.o)`.
_IMPOSSIBLE = re.compile(r"""[\n\r\t\0;|&"'`*?<>^]|\\(?=[:#$=]|$)|\)$""")


def depfile(target: str, inputs: Iterable[str]) -> str:
    """A rule without a recipe: the target, and all that it was made from.

    Each input is a target of its own, too, with nothing to do, so that make says nothing where a file that is not
    needed any more has gone.

    To make `out: a=b c` sets a variable, `out: c a=b` does not; so where names hold `=`, the first must not, and they
    get no rule of their own.

    Args:
        target: the path of the output, as the build file writes it.
        inputs: paths.

    Raises:
        SpecError: a path cannot be written so that make and ninja both read it.
    """
    names = [escaped(name) for name in inputs]
    lines = [" \\\n  ".join([f"{escaped(target)}:", *names])]
    return "\n\n".join([*lines, *(f"{name}:" for name in names if "=" not in name)]) + "\n"


def escaped(path: str | Path) -> str:
    r"""A path as make and ninja both read it: `$` doubled; a backslash before space, `#` and `:`.

    Backslashes stand for themselves, but for those before a character that is escaped, which are doubled.

    Raises:
        SpecError: one of them cannot read it: it has a line break, a tab, one of ;|&"'`*?<>^,
            a backslash before one of :#$= or at the end, or a closing parenthesis at the end.
    """
    text = str(path)
    if bad := _IMPOSSIBLE.search(text):
        raise SpecError.of(
            f"{quoted(text)} cannot stand in a dependency file, for its {quoted(bad[0])}",
            "make or ninja would read another name; rename it.",
            "--depfile",
        )
    return _QUOTED.sub(r"\1\1\\\2", text).replace("$", "$$")
