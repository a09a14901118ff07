"""`budgetc compile` of what is compiled already: said at once, before anything large is imported."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from budgetc.stamp import RESULT, STAMP, Request, Stamp, current, find_folder

_FLAGS = {"--json", "--quiet", "-q", "--verbose", "-v"}
_MODES = {"--locked": "locked", "--frozen": "frozen"}
_VALUES = {"--target": "target", "-t": "target", "--out": "out", "-o": "out", "--set": "set"}
_FILES = {"--depfile": "depfile", "--junit": "junit", "--sarif": "sarif", "--markdown": "markdown"}
_PARENT = Path("build")
_OWN = Path(__file__).parents[1] / "version.py"
"""A file that is another one after each installation of budgetc."""


class Asked(NamedTuple):
    """A command line of `compile`, as far as an up-to-date folder can answer it.

    Attributes:
        request: what decides what is built.
        out: the output folder.
        files: what else is to be written, by kind.
        as_json: whether the result is printed as JSON.
        quiet: whether nothing is said of what is right.
    """

    request: Request
    out: Path
    files: Mapping[str, Path]
    as_json: bool = False
    quiet: bool = False


def answer(arguments: Sequence[str]) -> int | None:
    """The exit code, where the output folder is as this command would leave it, which is said; else None."""
    asked = understood(arguments)
    return None if asked is None else up_to_date(asked)


def up_to_date(asked: Asked) -> int | None:
    """The same of a command line that has been read."""
    folder = asked.out
    stamp = current(folder, asked.request)
    if stamp is None:
        return None
    shown = asked.as_json or stamp.exit_code or asked.files.keys() - {"depfile"}
    if shown and not (folder / RESULT).is_file():
        return None
    if "depfile" in asked.files:
        write_depfile(asked.files["depfile"], folder, stamp.inputs)
    if asked.files.keys() - {"depfile"}:
        from budgetc.ci.files import write_reports
        from budgetc.ci.verdicts import read_result

        write_reports(asked.files, Path(asked.request.spec), read_result(folder / RESULT))
    _tell(folder, stamp, asked)
    return stamp.exit_code


def write_depfile(path: Path, folder: Path, inputs: Iterable[str]) -> None:
    """Write what a folder's stamp depends on: the files that were read, and the budgetc that read them."""
    from budgetc.ci.files import write_text
    from budgetc.depfile import depfile

    write_text(path, depfile(str(folder / STAMP), [str(_OWN), *inputs]), "--depfile")


def _tell(folder: Path, stamp: Stamp, asked: Asked) -> None:
    """Say that nothing is to be done, and what came of it when it was done."""
    if asked.as_json:
        sys.stdout.write((folder / RESULT).read_text(encoding="utf-8"))
        sys.stdout.flush()
    if stamp.exit_code:
        from budgetc.ci.table import verdict_table
        from budgetc.ci.verdicts import read_result

        why = "nothing has changed since it missed its budgets; --force builds it all the same"
        print(f"{verdict_table(read_result(folder / RESULT))}\n\n{folder}: {why}", file=sys.stderr)
    elif not asked.quiet:
        print(f"{folder}: up to date", file=sys.stderr)


def understood(arguments: Sequence[str]) -> Asked | None:
    """The command line, where every option is one that an up-to-date folder can answer; else None, for the verb."""
    flags: set[str] = set()
    values: dict[str, list[str]] = {"target": [], "out": [], "set": []}
    files: dict[str, Path] = {}
    specs: list[str] = []
    rest = iter(arguments)
    for word in rest:
        name, equals, value = word.partition("=")
        if word in _FLAGS or word in _MODES:
            flags.add(word)
        elif name in _VALUES or name in _FILES:
            given = value if equals and name.startswith("--") else next(rest, "")
            if not given or (equals and not name.startswith("--")):
                return None
            if name in _FILES:
                files[_FILES[name]] = Path(given)
            else:
                values[_VALUES[name]].append(given)
        elif word.startswith("-"):
            return None
        else:
            specs.append(word)
    if len(specs) != 1:
        return None
    modes = [mode for flag, mode in _MODES.items() if flag in flags]
    if len(modes) > 1:
        return None
    mode = modes[0] if modes else ""
    request = request_of(Path(specs[0]), values["set"], values["target"], mode)
    # Without --out the folder has a name that stands in the spec.
    out = Path(values["out"][-1]) if values["out"] else find_folder(_PARENT, request)
    if out is None:
        return None
    return Asked(
        request,
        out,
        files,
        "--json" in flags,
        bool(flags & {"--quiet", "-q"}),
    )


def request_of(
    spec: Path, overrides: Sequence[str], targets: Sequence[str], mode: str = ""
) -> Request:
    """What is asked for, from the command line's words."""
    return Request(str(spec.absolute()), tuple(overrides), tuple(targets) or None, mode)
