"""The verdicts of a result as plain text, for logs of builds that run nothing of the terminal's machinery."""

from collections.abc import Mapping
from typing import Any

from budgetc_specs.errors import printable

from budgetc.ci.verdicts import Target, targets_of

_HEAD = ("budget", "limit", "measured", "interval", "status")


def verdict_table(result: Mapping[str, Any]) -> str:
    """Each target with its budgets, one a line, and why there is no artefact where there is none."""
    return "\n\n".join(_target(target) for target in targets_of(result))


def _target(target: Target) -> str:
    rows = [_HEAD]
    rows += [(v.budget, v.limit, v.measured, v.interval, v.status) for v in target.verdicts]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [f"{target.name}: {target.hardware}", *filter(None, [target.locked])]
    if target.verdicts:
        cells = (zip(row, widths, strict=True) for row in rows)
        lines += ["   ".join(f"{cell:<{width}}" for cell, width in row).rstrip() for row in cells]
    lines += [f"  {v.text}" for v in target.verdicts if v.status != "PASS"]
    if target.exit_code:
        lines += [f"  {line}" for line in target.certificate.splitlines()]
    return "\n".join(printable(line) for line in lines)
