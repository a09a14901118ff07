"""`budgetc check`: everything that a spec names is read and checked, every operator too; nothing is compiled."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from budgetc.cli.arguments import (
    Junit,
    Markdown,
    Overrides,
    Sarif,
    errors_in,
    named_files,
)
from budgetc.cli.completion import spec_files
from budgetc.cli.exits import signals_later
from budgetc.cli.terminal import open_terminal, say

if TYPE_CHECKING:
    from budgetc_specs.budgets import Budgets
    from budgetc_specs.capability import Capability
    from budgetc_specs.recipe import Recipe
    from budgetc_specs.spec import Spec

    from budgetc.data import Data
    from budgetc.lower.lowered import Port
    from budgetc.model import Model
    from budgetc.splits import Splits


def check(
    specs: Annotated[
        list[Path],
        typer.Argument(
            metavar="SPEC...",
            help="Specs: YAML, JSON or TOML files.",
            autocompletion=spec_files,
        ),
    ],
    overrides: Overrides = None,
    junit: Junit = None,
    sarif: Sarif = None,
    markdown: Markdown = None,
) -> int:
    """Check specs and all that they name, without compiling."""
    files = named_files(junit=junit, sarif=sarif, markdown=markdown)
    for spec in specs:  # up to the first that is wrong
        with errors_in(files, spec):
            _check(spec, overrides)
    if files:
        from budgetc.ci.files import write_clean

        write_clean(files, specs[0])
    return 0


def _check(spec: Path, overrides: list[str] | None) -> None:
    """Read and check everything, and print what it is."""
    from budgetc_specs.document import load_spec

    loaded = load_spec(spec, overrides or ())
    with signals_later():  # after the spec, whose errors need no wait
        from budgetc.compile import load_inputs
        from budgetc.survey import check_operators

    model, splits, metric = load_inputs(loaded)
    kernels, *_ = [check_operators(m, _recipe(loaded), _sheets(loaded)) for m in model.entries]
    out = open_terminal().out
    grid = Table.grid(padding=(0, 2))
    for name, text in _facts(loaded, model, splits, metric.name, kernels):
        grid.add_row(name, text)
    out.print(grid)
    say(out, f"{spec}: ok", "green")


def _facts(
    spec: "Spec",
    model: "Model",
    splits: "Splits",
    metric: str,
    kernels: dict[str, int],
) -> list[tuple[str, str]]:
    from budgetc_specs.units import format_bytes

    from budgetc.hardware import hardware_of

    facts = [("model", f"{spec.model.name}, opset {model.opset}")]
    for each in model.entries:
        facts += [("input", _port(p)) for p in each.inputs]
        facts += [("output", _port(p)) for p in each.outputs]
    facts.append(("parameters", f"{model.parameter_count:,} in {format_bytes(model.weight_bytes)}"))
    if model.quantized:
        facts.append(("quantized", "already: its codes are kept"))
    facts.append(("kernels", _kernels(kernels)))
    evaluation = splits.evaluation
    facts.append(("calibration", _samples(splits.calibration)))
    facts.append(("evaluation", _samples(evaluation) + (f", {metric}" if evaluation else "")))
    if evaluation and evaluation.slices is not None:
        facts.append(("slices", str(len(set(evaluation.slices.tolist())))))
    if spec.passes == "auto":
        facts.append(("validation", splits.sentence))
    facts.append(("passes", str(spec.passes)))
    for name, section in spec.targets.items():
        hardware = hardware_of(spec, name)
        words = [hardware.board.summary] if hardware.board else [section.kind, section.cpu or ""]
        words.append(f"{section.threads} threads" if section.threads > 1 else "")
        facts.append((f"target {name}", ", ".join(w for w in words if w)))
        facts += [(f"  {budget}", text) for budget, text in budget_texts(hardware.budgets)]
    return facts


def _recipe(spec: "Spec") -> "Recipe":
    """The spec's own passes where they need no data, else those that every candidate begins with."""
    from budgetc.registry import make_passes
    from budgetc.search.recipes import float_recipe

    if spec.passes == "auto":
        return float_recipe()
    needs = [each.needs() for each in make_passes(spec.passes)]
    return float_recipe() if any(n.calibration or n.lessons for n in needs) else spec.passes


def _sheets(spec: "Spec") -> "list[tuple[str, Capability]]":
    from budgetc.hardware import hardware_of

    return [(h.kind, h.capability) for h in (hardware_of(spec, name) for name in spec.targets)]


def _kernels(counts: dict[str, int]) -> str:
    """How much of the model has kernels of our own."""
    rest = [f"{n} {name}" if n > 1 else name for name, n in counts.items() if name != "own"]
    foreign = f", and code without a schedule for {', '.join(rest)}" if rest else ""
    return f"{counts.get('own', 0)} of our own{foreign}"


def budget_texts(budgets: "Budgets") -> list[tuple[str, str]]:
    """Each budget that is set, by name, as people write it."""
    from budgetc_specs.units import (
        format_bytes,
        format_percent,
        format_points,
        format_seconds,
    )

    texts = []
    for name, each in (("size", budgets.size), ("memory", budgets.memory)):
        if each:
            texts.append((name, f"at most {format_bytes(each.max_bytes)}", each.level))
    if latency := budgets.latency:
        limit = latency.max
        words = format_seconds(limit) if isinstance(limit, float) else str(limit)
        texts.append(("latency", f"{latency.statistic} at most {words}", latency.level))
    if quality := budgets.quality:
        bounds = [f"at least {quality.min}"] if quality.min is not None else []
        if quality.drop is not None:
            bounds.append(f"drop at most {format_points(quality.drop)}")
        if quality.worst_slice is not None:
            bounds.append(f"at most {format_points(quality.worst_slice)} in the worst slice")
        texts.append(("quality", ", ".join(bounds), quality.level))
    if asked := budgets.max_regression:
        source = asked.baseline.name
        for name in ("size", "memory", "latency", "quality"):
            if allowed := getattr(asked, name):
                points = name == "quality"
                amount = format_points(allowed.max) if points else format_percent(allowed.max)
                words = f"at most {amount} {'below' if points else 'above'} {source}"
                texts.append((f"{name} regression", words, allowed.level))
    return [(n, t + (" (warning only)" if level == "warning" else "")) for n, t, level in texts]


def _port(port: "Port") -> str:
    return f"{port.name}: {port.dtype} {list(port.shape)}"


def _samples(data: "Data | None") -> str:
    if data is None:
        return "none"
    rest = f", {data.left_over} left over" if data.left_over else ""
    return f"{data.count} samples of {data.path.name}{rest}"
