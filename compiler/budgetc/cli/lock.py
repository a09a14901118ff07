"""`budgetc lock`, and `budgetc compile --locked`: what was found once, written down and built again."""

import json
from collections.abc import Sequence
from pathlib import Path

from budgetc.cli.arguments import Json, LockFile, OutFolder, Overrides, Quiet, SpecFile
from budgetc.cli.exits import signals_later
from budgetc.cli.terminal import open_terminal, say
from budgetc.stamp import Stamp, outputs_of, take_inputs, write_stamp


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
    with observed(terminal, loaded.search.time, quiet=quiet) as observer:
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
    depfile: Path | None,
    frozen: bool,
    as_json: bool,
    quiet: bool,
) -> int:
    """Build what a lock says; the spec is read only to see whether the lock fits it, and not at all if frozen."""
    from budgetc_specs.document import load_spec

    from budgetc.cli.current import request_of, write_depfile
    from budgetc.cli.live import observed
    from budgetc.lock import files_of, lock_file, read_lock

    terminal = open_terminal()
    file = lock or lock_file(spec)
    loaded = None if frozen else load_spec(spec, overrides)
    with observed(terminal, loaded.search.time if loaded else 0.0, quiet=quiet) as observer:
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
        if depfile is not None:
            write_depfile(depfile, destination, seen)
        folders = compile_(
            file,
            None if loaded is None else Sources.of(loaded),
            targets=target,
            out=destination,
            observer=observer,
        )
    request = request_of(spec, overrides, target or (), locked_mode(lock, frozen=frozen))
    write_stamp(destination, Stamp(request, seen, outputs_of(destination, folders), 0))
    if as_json:
        print(
            json.dumps({"budgetc": 1, "folders": {n: str(f) for n, f in folders.items()}}, indent=2)
        )
    elif not quiet:
        for name, folder in folders.items():
            say(terminal.out, f"{name}: {folder}")
    return 0


def locked_mode(lock: Path | None, *, frozen: bool) -> str:
    """How a stamp tells builds from locks apart: another lock is another request."""
    mode = "frozen" if frozen else "locked"
    return mode if lock is None else f"{mode} by {lock.absolute()}"
