"""`budgetc lock`, and `budgetc compile --locked`: what was found once, written down and built again."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from budgetc.cli.arguments import Json, LockFile, OutFolder, Overrides, Quiet, SpecFile
from budgetc.cli.exits import signals_later
from budgetc.cli.terminal import open_terminal, say
from budgetc.stamp import PAGE, Stamp, outputs_of, take_inputs, write_stamp


def lock_spec(
    spec: SpecFile,
    *,
    out: OutFolder = None,
    overrides: Overrides = None,
    lock: LockFile = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Compile all targets, and write down what was found: `compile --locked` builds it again byte for byte.

    Put the lock and the folder beside it (spec.lock and spec.lock.d) under version control. Where a budget is missed
    the lock stays as it was.
    """
    from budgetc_specs.document import load_spec

    from budgetc.cli.compile import print_result
    from budgetc.cli.live import observed
    from budgetc.lock import lock_file

    loaded = load_spec(spec, overrides or ())
    terminal = open_terminal()
    file = lock or lock_file(spec)
    with observed(terminal, loaded.longest, quiet=quiet) as observer:
        with signals_later():
            from budgetc.locked import lock as lock_
        result = lock_(loaded, file, out=out, observer=observer)
    print_result(terminal, result, as_json=as_json, quiet=quiet, verbose=False)
    if not quiet:
        state = "left as it was: a budget is missed" if result.exit_code else "written"
        say(terminal.err, f"the lock: {file}, {state}", "dim")
    return result.exit_code


def compile_locked(
    spec: Path,
    lock: Path | None,
    *,
    target: list[str] | None,
    out: Path | None,
    overrides: Sequence[str],
    files: Mapping[str, Path],
    frozen: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Build what a lock says; the spec is read only to see whether the lock fits it, and not at all if frozen."""
    from budgetc_specs.document import load_spec

    from budgetc.ci.files import write_reports
    from budgetc.ci.table import verdict_table
    from budgetc.cli.current import request_of, write_depfile
    from budgetc.cli.live import observed
    from budgetc.lock import files_of, lock_file, read_lock

    terminal = open_terminal()
    file = lock or lock_file(spec)
    loaded = None if frozen else load_spec(spec, overrides)
    with observed(terminal, loaded.longest if loaded else 0.0, quiet=quiet) as observer:
        with signals_later():
            from budgetc.inputs import input_files
            from budgetc.locked import Sources
            from budgetc.locked import compile_locked as compile_
        found = read_lock(file)
        destination = out or Path("build") / found.name
        inputs = files_of(found)
        if loaded is not None:
            inputs += input_files(loaded, spec, target or tuple(loaded.targets))
        seen = take_inputs(inputs)
        if "depfile" in files:
            write_depfile(files["depfile"], destination, seen)
        result = compile_(
            file,
            None if loaded is None else Sources.of(loaded),
            targets=target,
            out=destination,
            observer=observer,
        )
    request = request_of(spec, overrides, target or (), locked_mode(lock, frozen=frozen))
    outputs = outputs_of(destination, [each["target"] for each in result["targets"]])
    write_stamp(destination, Stamp(request, seen, outputs, 0))
    write_reports(files, spec, result)
    if not quiet:
        console = terminal.err if as_json else terminal.out
        say(console, f"\n{verdict_table(result)}\n")
        for built in result["targets"]:
            say(console, f"written to {built['folder']}", "bold green")
        say(terminal.err, f"the report: {destination / PAGE}", "dim")
    if as_json:
        print(json.dumps(result, indent=2))
    return 0


def locked_mode(lock: Path | None, *, frozen: bool) -> str:
    """How a stamp tells builds from locks apart: another lock is another request."""
    mode = "frozen" if frozen else "locked"
    return mode if lock is None else f"{mode} by {lock.absolute()}"
