"""A result as Markdown, short enough for a comment on a pull request."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from budgetc_specs.errors import printable

from budgetc.ci.verdicts import Finding, Target, targets_of

MOST_CHARACTERS = 65_536
"""What GitHub takes as one comment; GitLab takes more."""

_CUT = "\n\n*cut here: a comment holds no more; result.json has all of it*\n"
_MARKS = {"PASS": "✅", "WARN": "⚠️", "UNDECIDED": "❔", "FAIL": "❌"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#~!&@])")
_NEWLINES = re.compile(r"\s*[\r\n]+\s*")


def markdown(name: str, result: Mapping[str, Any] | None, findings: Sequence[Finding] = ()) -> str:
    """The text: what came of it, then a table for each target, then what was found.

    Args:
        name: of what was compiled.
        result: None where there is none, since an error ended the run.
        findings: that error.

    Returns:
        At most `MOST_CHARACTERS`; what is beyond is cut at the end of a line, which is said.
    """
    targets = list(targets_of(result)) if result else []
    kept = not findings and all(t.exit_code == 0 for t in targets)
    state = "every budget is kept" if kept else "no artefact for every target"
    if kept and any(t.locked for t in targets):
        state = "built from its lock, with which every budget was kept"
    if not result:
        state = "the check found faults" if findings else "the check found nothing"
    parts = [f"### {_MARKS['PASS' if kept else 'FAIL']} {_escaped(name)}: {state}"]
    parts += [_target(target) for target in targets]
    parts += [_finding(finding) for finding in findings]
    return _capped("\n\n".join(parts) + "\n")


def _target(target: Target) -> str:
    lines = [f"**{_escaped(target.name)}** ({_escaped(target.hardware)})", ""]
    if target.verdicts:
        lines += ["| | budget | limit | measured | interval |", "|---|---|---|---|---|"]
        for v in target.verdicts:
            cells = (_MARKS.get(v.status, ""), *map(_escaped, (v.budget, v.limit, v.measured)))
            lines.append(f"| {' | '.join((*cells, _escaped(v.interval)))} |")
        lines.append("")
    lines += [f"- {_escaped(target.locked)}"] if target.locked else []
    lines += [f"- {_escaped(v.text)}" for v in target.verdicts if v.status != "PASS"]
    lines += [f"- {_escaped(v.budget)}: {_escaped(v.doubt)}" for v in target.verdicts if v.doubt]
    if target.exit_code:
        lines += [f"- {_escaped(line)}" for line in target.certificate.splitlines() if line.strip()]
    if target.recipe:
        which = "recipe" if target.written else "nearest"
        lines += ["", f"{which}: {_code(target.recipe)}"]
    return "\n".join(lines).strip()


def _finding(finding: Finding) -> str:
    where = ":".join(str(p) for p in (finding.path, finding.line, finding.column) if p)
    first, _, rest = finding.message.partition("\n")
    text = f"{_code(where)}: {_escaped(first)}" if where else _escaped(first)
    return f"- {text}" + (f"\n  {_escaped(rest)}" if rest.strip() else "")


def _escaped(text: str) -> str:
    """The text on one line, with nothing in it that is markup, a mention or a reference."""
    return _SPECIAL.sub(r"\\\1", printable(_NEWLINES.sub(" ", text.strip())))


def _code(text: str) -> str:
    return f"`` {printable(text).replace('``', '` `')} ``"


def _capped(text: str) -> str:
    if len(text) <= MOST_CHARACTERS:
        return text
    head = text[: MOST_CHARACTERS - len(_CUT)]
    return head[: head.rindex("\n")] + _CUT
