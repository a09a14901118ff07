"""The report of a compilation: the verdict on every budget, what onnxruntime makes of it, and what was tried."""

from collections.abc import Sequence
from functools import partial

from budgetc_specs.errors import printable
from budgetc_specs.units import format_amount, format_bytes, format_points, format_seconds
from rich.console import Console
from rich.table import Table
from rich.text import Text

from budgetc.cli.memory_map import print_memory_map
from budgetc.cli.shorthand import shorthand
from budgetc.cli.terminal import plain_table, say
from budgetc.result import Result, TargetResult, Trial
from budgetc.verdict import Verdict

_STYLES = {"PASS": "green", "WARN": "yellow", "UNDECIDED": "yellow", "FAIL": "bold red"}
_NONE = "-"
_UNBUILT = 5
"""Candidates that were not built, in the table."""


def print_report(console: Console, result: Result, *, verbose: bool) -> None:
    """Everything there is to say about a result; with `verbose` also what each pass did."""
    for each in result.targets:
        _print_target(console, each, verbose=verbose)
    if len(result.targets) > 1:
        console.line()
        console.print(_matrix(result.targets))


def print_misses(console: Console, result: Result) -> None:
    """Only what went wrong, with the verdicts on what comes nearest, for who wants to hear nothing else."""
    for each in result.targets:
        if each.exit_code:
            say(console, f"{each.target}: {_why_nothing(each)}")
            if each.nearest is not None:
                console.print(_verdicts(each.nearest.verdicts))


def _print_target(console: Console, result: TargetResult, *, verbose: bool) -> None:
    shown = result.chosen or result.nearest
    say(console, f"\n{result.target}: {result.capability.target}, {result.capability.cpu}", "bold")
    if result.chosen is None:
        say(console, _why_nothing(result), "bold red")
    if shown is not None:
        if result.chosen is None:
            say(console, f"\nnearest point: {shown.recipe}")
        console.line()
        console.print(_verdicts(shown.verdicts))
        for verdict in shown.verdicts:
            if verbose or verdict.status != "PASS":
                say(console, f"  {verdict.text}", "" if verdict.holds else "red")
            if verdict.doubt:
                say(console, f"  {verdict.budget}: {verdict.doubt}", "yellow")
        _print_doubts(console, shown)
        _print_tuning(console, shown)
        console.line()
        console.print(_comparison(result, shown))
    console.line()
    console.print(_candidates(result))
    _print_search(console, result)
    if verbose:
        _print_ledger(console, result)
        if shown is not None:
            console.line()
            print_memory_map(console, shown.parts)
    if result.folder is not None:
        say(console, f"\nwritten to {result.folder}", "bold green")


def _print_search(console: Console, result: TargetResult) -> None:
    """How far the search went, and what each pass of the chosen recipe is good for."""
    search = result.search
    if search is None:
        return
    hidden = len(result.trials) - len(_worth_a_row(result))
    more = f"; {hidden} more in the report" if hidden else ""
    say(
        console,
        f"looked at {search.simulated} candidates, built {search.built}, in "
        f"{format_seconds(search.seconds)}{more}; ~ is what is expected of those that were not built",
        "dim",
    )
    say(console, search.validation, "dim")
    for payment in result.pays:
        say(console, f"  {payment.step}: {payment.text}", "" if payment.kept else "yellow")


def _print_doubts(console: Console, trial: Trial) -> None:
    """That nobody has seen the binary run, or run at its own speed."""
    measurement = trial.measurement
    if measurement is None:
        return
    if not measurement.executed:
        reason = f": {measurement.reason}" if measurement.reason else ""
        say(console, f"  the library was not executed here{reason}", "yellow")
    elif measurement.emulated:
        say(
            console,
            "  the library ran on an emulator: its results are checked, its times are not known",
        )
        if measurement.instructions is None:
            counted = f"its instructions are not counted: {measurement.uncounted}"
        else:
            counted = f"{measurement.instructions / 1e6:.3g} million instructions an inference"
        say(console, f"  {counted}")


def _print_tuning(console: Console, trial: Trial) -> None:
    """How schedules were chosen where tuning was asked for, and what of it was not as planned."""
    tuned = trial.parts.get("tuned", {})
    if tuned:
        say(console, f"  schedules {tuned['how']}", "dim")
        for note in tuned["notes"]:
            say(console, f"  while tuning: {note}", "yellow")


def _why_nothing(result: TargetResult) -> str:
    proven = " (proven before anything was built)" if result.exit_code == 3 else ""
    wrong = [t for t in result.trials if t.outcome == "wrong numbers"]
    lines = [f"no artefact was written: no candidate keeps every budget{proven}"]
    if wrong:
        lines = [
            "no artefact was written: the binary's numbers are wrong, which is a fault of budgetc"
        ]
        lines += [f"  {t.recipe}: {t.reason}" for t in wrong]
    lines += [f"  {line}" for line in result.certificate.splitlines()]
    if not result.certificate and not wrong:
        lines += [f"  {t.recipe}: {t.outcome}: {t.reason}" for t in result.trials]
    return "\n".join(lines)


def _matrix(results: Sequence[TargetResult]) -> Table:
    """Every target against every budget, so that one look says where it fails."""
    shown = [(r, r.chosen or r.nearest) for r in results]
    names = list(dict.fromkeys(v.budget for _, t in shown if t for v in t.verdicts))
    table = plain_table("target", "hardware", *names, "artefact")
    for result, trial in shown:
        found = {v.budget: v for v in trial.verdicts} if trial else {}
        cells = [_cell(found.get(name)) for name in names]
        hardware = f"{result.capability.target}, {result.capability.cpu}"
        table.add_row(Text(result.target, "bold"), Text(hardware), *cells, _handed_over(result))
    return table


def _cell(verdict: Verdict | None) -> Text:
    if verdict is None:
        return Text(_NONE, "dim")
    figure = _NONE if verdict.measured is None else format_amount(verdict.measured, verdict.unit)
    return Text.assemble(f"{figure} ", (verdict.status, _STYLES[verdict.status]))


def _handed_over(result: TargetResult) -> Text:
    if result.chosen is not None:
        return Text("written" if result.folder else "kept", "green")
    return Text("out of reach" if result.exit_code == 3 else "none", "bold red")


def _verdicts(verdicts: Sequence[Verdict]) -> Table:
    table = plain_table("budget", ">limit", ">measured", ">interval", "status")
    for v in verdicts:
        form = partial(format_amount, unit=v.unit)
        interval = f"{form(v.interval.low)} to {form(v.interval.high)}" if v.interval else _NONE
        peer = v.unit.removeprefix("x") if v.unit.startswith("x ") else ""
        table.add_row(
            Text(v.budget, "bold"),
            Text(form(v.limit) + peer),
            Text(_NONE if v.measured is None else form(v.measured)),
            Text(interval),
            Text(v.status, _STYLES[v.status]),
        )
    if not verdicts:
        table.add_row(Text("no budgets are set", "dim"))
    return table


def _comparison(result: TargetResult, trial: Trial) -> Table:
    """The artefact beside what onnxruntime makes of the same model."""
    measurement, baseline = trial.measurement, result.baseline
    sizes = baseline.get("model_bytes", {})
    table = plain_table("", ">budgetc", *(f">{_peer(name)}" for name in sizes))
    own_size = format_bytes(measurement.size.deployed) if measurement else _NONE
    table.add_row("size", own_size, *(f"{format_bytes(b)} model" for b in sizes.values()))
    for each in (measurement, *measurement.further) if measurement else ():
        if latency := each.latency:
            own = latency.ours.statistic(latency.statistic)
            row = [format_seconds(own)]
            for name in sizes:
                if name not in latency.peers:  # the library ran on a device, and no peer beside it
                    row.append(_NONE)
                    continue
                theirs = latency.peers[name].statistic(latency.statistic)
                row.append(f"{format_seconds(theirs)} ({theirs / own:.2f}x)")
            table.add_row(f"latency {latency.statistic} {each.entry}".strip(), *row)
    if measurement and measurement.quality:
        quality = measurement.quality
        others = [f"{quality.reference:.4g}" if n == "onnxruntime" else _NONE for n in sizes]
        table.add_row(quality.metric, f"{quality.value:.4g}", *others)
    return table


def _peer(name: str) -> str:
    return {"onnxruntime": "onnxruntime float", "onnxruntime-int8": "onnxruntime int8"}.get(
        name, name
    )


def _candidates(result: TargetResult) -> Table:
    table = plain_table("#", "candidate", "outcome", ">size", ">latency", ">quality drop", "why")
    for number, trial in _worth_a_row(result):
        size, latency, quality = _figures(trial)
        style = "green" if trial is result.chosen else ""
        table.add_row(
            str(number),
            Text(shorthand(trial.recipe), style),
            Text(trial.outcome, style),
            size,
            latency,
            quality,
            Text(_why(trial)),
        )
    return table


def _why(trial: Trial) -> str:
    if trial.reason:
        return printable(trial.reason.partition("\n")[0])
    missed = [v.budget for v in trial.verdicts if not v.holds]
    return f"misses {', '.join(missed)}" if missed else ""


def _worth_a_row(result: TargetResult) -> list[tuple[int, Trial]]:
    """Candidates that were built, and of the others those that a person would ask for first."""
    numbered = list(enumerate(result.trials, 1))
    told = [(n, t) for n, t in numbered if t.measurement or t.outcome != "not built"]
    rest = [(n, t) for n, t in numbered if not t.measurement and t.outcome == "not built"]
    return sorted(told + rest[:_UNBUILT])


def _figures(trial: Trial) -> tuple[str, str, str]:
    measurement, expected = trial.measurement, trial.predicted
    if measurement is None and expected is not None:
        return (
            f"~{format_bytes(expected.size)}",
            f"~{format_seconds(expected.latency)}" if expected.latency is not None else _NONE,
            f"~{format_points(expected.drop)}" if expected.drop is not None else _NONE,
        )
    if measurement is None:
        return _NONE, _NONE, _NONE
    latency, quality = measurement.latency, measurement.quality
    return (
        format_bytes(measurement.size.deployed),
        format_seconds(latency.ours.statistic(latency.statistic)) if latency else _NONE,
        format_points(quality.drop) if quality else _NONE,
    )


def _print_ledger(console: Console, result: TargetResult) -> None:
    for number, trial in enumerate(result.trials, 1):
        say(console, f"\ncandidate {number}: {trial.recipe}", "bold")
        for entry in trial.ledger:
            state = "changed" if entry["modified"] else "left as it was"
            weights = format_bytes(entry["weight_bytes"])
            say(console, f"  {entry['pass']}: {state}, weights {weights}")
            for note in entry["notes"]:
                refused = "refused: " if note["kind"] == "refused" else ""
                where = f"{note['node']}: " if note["node"] else ""
                say(console, f"    {where}{refused}{note['text']}", "dim")
        if trial.agreement:
            say(console, f"  against onnxruntime: {trial.agreement}")
        for key, value in trial.parts.items():
            if key not in {"arena_map", "layers"}:
                say(console, f"  {key}: {value}", "dim")
        for schedule in trial.schedules:
            words = ", ".join(f"{key} {value}" for key, value in schedule.items())
            say(console, f"  schedule: {words}", "dim")
