"""`budgetc cache`: what the cache holds, what of it can go, and whether it is whole."""

import json
import time
from typing import Annotated

import typer
from budgetc_specs.errors import Refusal, SpecError
from rich.table import Table

from budgetc.cache import cache_folder
from budgetc.cli.arguments import Json
from budgetc.cli.exits import guarded
from budgetc.cli.terminal import open_terminal, say

_DAY = 24 * 3600.0
_DAMAGED = 1
_SHOWN = 10

cache = typer.Typer(
    name="cache",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="What can be made again: see how much there is, remove what is old, check it.",
)


def ls(*, as_json: Json = False) -> int:
    """List the rooms of the cache: bytes, entries, and when they were used.

    BUDGETC_CACHE says where the cache is; by default it is budgetc in the user's cache folder.
    """
    from budgetc_specs.units import format_bytes

    from budgetc.upkeep import entries

    folder, now = cache_folder(), time.time()
    rooms: dict[str, list[tuple[int, float]]] = {}
    for entry in entries(folder):
        rooms.setdefault(entry.room, []).append((entry.size, now - entry.used))
    found = [
        {
            "room": room,
            "bytes": sum(size for size, _ in each),
            "entries": len(each),
            "newest_s": max(0.0, min(age for _, age in each)),
            "oldest_s": max(0.0, *(age for _, age in each)),
        }
        for room, each in rooms.items()
    ]
    if as_json:
        print(json.dumps({"budgetc": 1, "cache": str(folder), "rooms": found}, indent=2))
        return 0
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    table.add_column("room")
    for heading in ("size", "entries", "used last", "oldest use"):
        table.add_column(heading, justify="right")
    for room in found:
        ages = (_days(float(str(room[key]))) for key in ("newest_s", "oldest_s"))
        size = format_bytes(int(str(room["bytes"])))
        table.add_row(str(room["room"]), size, str(room["entries"]), *ages)
    terminal = open_terminal()
    if found:
        terminal.out.print(table)
    total = sum(int(str(room["bytes"])) for room in found)
    say(terminal.out, f"{folder}: {format_bytes(total)}", "dim")
    return 0


def gc(
    *,
    most: Annotated[
        str | None,
        typer.Option(
            "--max",
            metavar="SIZE",
            help="Leave so much at most, such as 500 MiB: what was used least recently goes.",
        ),
    ] = None,
    older: Annotated[
        float | None,
        typer.Option(
            "--older", metavar="DAYS", min=0.0, help="Remove what was not used for so many days."
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Remove what is not needed: all of it is made again when it is.

    What a running build holds stays. Without an option, only what killed runs have left half written goes.
    """
    from budgetc_specs.units import format_bytes, parse_bytes

    from budgetc.upkeep import collect

    try:
        limit = None if most is None else parse_bytes(most)
    except Refusal as error:
        raise SpecError.of(f"--max: {error.message}", error.repair) from error
    seconds = None if older is None else older * _DAY
    removed = collect(cache_folder(), most_bytes=limit, older_seconds=seconds)
    if as_json:
        gone = {"entries": len(removed.entries), "bytes": removed.size, "held": list(removed.kept)}
        print(json.dumps({"budgetc": 1, **gone}, indent=2))
        return 0
    terminal = open_terminal()
    say(terminal.out, f"removed {len(removed.entries)} entries, {format_bytes(removed.size)}")
    if removed.kept:
        say(
            terminal.out,
            f"left alone, since a build is running: {', '.join(removed.kept)}",
            "yellow",
        )
    return 0


def verify(
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove what is damaged; it is made again when needed.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Check everything that has a digest or a form; exit 1 where something is damaged and not repaired.

    What killed runs have left half written is no damage: nobody reads it, and `gc` removes it. zig looks after its own.
    """
    from budgetc.upkeep import entries, verify_cache

    folder = cache_folder()
    damaged = verify_cache(folder, repair=repair)
    unfinished = sum(entry.unfinished for entry in entries(folder))
    if as_json:
        listed = [{"path": str(each.entry.path), "why": each.why} for each in damaged]
        found = {"damaged": listed, "repaired": repair, "unfinished": unfinished}
        print(json.dumps({"budgetc": 1, **found}, indent=2))
    else:
        terminal = open_terminal()
        for each in damaged[:_SHOWN]:
            say(terminal.out, f"{each.entry.path}: {each.why}", "bold red")
        if len(damaged) > _SHOWN:
            say(terminal.out, f"and {len(damaged) - _SHOWN} more; --json lists them all")
        state = "clean" if not damaged else f"{len(damaged)} damaged"
        say(terminal.out, f"{folder}: {state}{', removed' if damaged and repair else ''}")
        if unfinished:
            say(
                terminal.out,
                f"{unfinished} half written by killed runs; `budgetc cache gc` removes them",
                "dim",
            )
        if damaged and not repair:
            say(terminal.out, "  `budgetc cache verify --repair` removes what is damaged.")
    return _DAMAGED if damaged and not repair else 0


def _days(seconds: float) -> str:
    if seconds < 3600:
        return f"{seconds / 60:.0f} min ago"
    return f"{seconds / 3600:.0f} h ago" if seconds < _DAY else f"{seconds / _DAY:.0f} d ago"


for _verb in (ls, gc, verify):
    cache.command(_verb.__name__)(guarded(_verb))
