"""`budgetc init`: a first spec for a model, with budgets that can be kept."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from budgetc_specs.errors import SpecError, quoted
from rich.table import Table

from budgetc.cli.arguments import Quiet
from budgetc.cli.completion import archives, hardware_names, metric_names, model_files
from budgetc.cli.exits import signals_later
from budgetc.cli.terminal import open_terminal, plain_table, say

if TYPE_CHECKING:
    from budgetc.first_spec import Baseline

_SUFFIXES = {".yaml", ".yml"}


def init(
    model: Annotated[
        Path,
        typer.Argument(metavar="MODEL", help="The ONNX model.", autocompletion=model_files),
    ],
    *,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="FILE",
            help="Samples to judge quality on, an .npz archive; without, some are made up.",
            autocompletion=archives,
        ),
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(
            "--calibration",
            metavar="FILE",
            help="Samples to take ranges from; by default those of --data.",
            autocompletion=archives,
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            "--target",
            "-t",
            metavar="NAME",
            help="A kind, a CPU or a board; by default host. May be repeated.",
            autocompletion=hardware_names,
        ),
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option(
            "--shape",
            metavar="INPUT=1,3,224,224",
            help="The shape of an input that the model leaves dimensions of free. May be repeated.",
        ),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            "--metric",
            metavar="NAME",
            help="How quality is measured; by default what suits the samples.",
            autocompletion=metric_names,
        ),
    ] = "",
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE", help="The spec to write.")
    ] = Path("spec.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    quiet: Quiet = False,
) -> int:
    """Write a first spec for a model, with budgets made of what is measured.

    The model is built as it is and as int8, and both are measured beside onnxruntime. Without data, numbers are made
    up and written beside the spec.
    """
    from budgetc_specs.document import load_spec

    from budgetc.cli.live import observed

    terminal = open_terminal()
    shapes = dict(map(_shape, shape or ()))
    if out.suffix not in _SUFFIXES:
        raise SpecError.of(
            f"{out} is not a name for YAML", 'write it to a file such as "spec.yaml".'
        )
    _refuse_existing([out], force=force)
    with observed(terminal, 0.0, quiet=quiet) as observer:
        with signals_later():
            from budgetc.first_spec import Wish, draft, measure
            from budgetc.spec_text import SCHEMA, spec_text
            from budgetc.store import write_atomic

        wish = Wish(model, out, data, calibration, tuple(target or ["host"]), metric, shapes)
        drafted = draft(wish)
        if drafted.made_up is not None:
            _refuse_existing([drafted.evaluation], force=force)
        baselines = measure(drafted, observer)
    if drafted.made_up is not None:
        write_atomic(drafted.evaluation, drafted.made_up)
    write_atomic(out, spec_text(drafted, baselines, out).encode())
    load_spec(out)  # what was written can be read
    schema = out.parent / SCHEMA
    if force or not schema.exists():
        from budgetc_specs.schema import json_schema

        write_atomic(
            schema, (json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n").encode()
        )
    if not quiet:
        terminal.out.print(_table(baselines))
        say(terminal.out, f"\n{out}: written; `budgetc compile {out}` builds it", "green")
    return 0


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    """An input and its shape, from `name=1,3,224,224`."""
    name, equals, dims = text.rpartition("=")
    numbers = dims.strip("[] ").replace("x", ",").split(",")
    if (
        not equals
        or not name
        or not all(n.strip().isascii() and n.strip().isdigit() for n in numbers)
    ):
        raise SpecError.of(
            f"--shape: {quoted(text)} is no input with its shape",
            'write its name, = and numbers, such as "image=1,3,224,224".',
        )
    return name, tuple(int(n) for n in numbers)


def _refuse_existing(files: Sequence[Path], *, force: bool) -> None:
    for file in files:
        if file.exists() and not force:
            raise SpecError.of(
                f"{file} exists already", "--force replaces it; --out FILE writes another spec."
            )


def _table(baselines: "Sequence[Baseline]") -> Table:
    from budgetc_specs.units import format_bytes, format_points, format_seconds
    from rich.text import Text

    table = plain_table("target", "model", ">size", ">memory", ">latency", ">onnxruntime", ">drop")
    for each in baselines:
        for name, found in (("float", each.plain), ("int8", each.int8)):
            if found is None:
                table.add_row(Text(each.target), Text(f"no {name}: {each.why_not}"))
                continue
            latency = None if found.emulated else found.latency
            times = ("-", "-")
            if latency is not None:
                peer = latency.peers.get("onnxruntime")
                ours = latency.ours.statistic(latency.statistic)
                theirs = format_seconds(peer.statistic(latency.statistic)) if peer else "-"
                times = (format_seconds(ours), theirs)
            drop = format_points(found.quality.drop) if found.quality else "-"
            memory = "-" if found.memory.stack is None else format_bytes(found.memory.total)
            size = format_bytes(found.size.deployed)
            table.add_row(Text(each.target), name, size, memory, *times, drop)
    return table
