"""Findings as SARIF 2.1.0, which code hosts show beside the line of the spec that they are about."""

import json
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from budgetc.ci.verdicts import Finding
from budgetc.version import VERSION

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
RULES = {
    "spec": "The spec or the command line is wrong.",
    "model": "The model is invalid, untrusted or beyond what can be compiled.",
    "build": "The build could not be done.",
    "budget-size": "The library is larger than allowed.",
    "budget-memory": "An inference takes more memory than allowed.",
    "budget-latency": "An inference takes longer than allowed.",
    "budget-quality": "Quality is lower than allowed.",
    "budget-worst-slice": "Quality of one slice is lower than allowed.",
    "budget-size-regression": "The library is larger than the baseline allows.",
    "budget-memory-regression": "An inference takes more memory than the baseline allows.",
    "budget-latency-regression": "An inference takes longer than the baseline allows, or was not held against it.",
    "budget-quality-regression": "Quality is lower than the baseline allows.",
    "no-artefact": "No artefact was handed over.",
}


def sarif(findings: Sequence[Finding], root: Path) -> str:
    """The SARIF text: one run of budgetc with a result for each finding.

    Args:
        findings: with paths absolute, or relative to the working directory.
        root: the folder that paths in the text are relative to, as far as they lie below it.
    """
    rules = list(RULES)
    driver = {
        "name": "budgetc",
        "version": VERSION,
        "rules": [{"id": r, "shortDescription": {"text": text}} for r, text in RULES.items()],
    }
    results = [
        {
            "ruleId": finding.rule,
            "ruleIndex": rules.index(finding.rule),
            "level": finding.level,
            "message": {"text": finding.message},
            **_locations(finding, root),
        }
        for finding in findings
    ]
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "originalUriBaseIds": {"SRCROOT": {"uri": f"{root.absolute().as_uri().rstrip('/')}/"}},
        "results": results,
    }
    value = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _locations(finding: Finding, root: Path) -> dict[str, object]:
    if finding.path is None:
        return {}
    path, base = Path(finding.path).absolute(), root.absolute()
    if path.is_relative_to(base):
        place = {"uri": quote(path.relative_to(base).as_posix()), "uriBaseId": "SRCROOT"}
    else:
        place = {"uri": path.as_uri()}
    physical: dict[str, object] = {"artifactLocation": place}
    # A code host shows a result without a line nowhere: what is about the whole file stands at its top.
    region = {"startLine": finding.line or 1}
    if finding.line is not None and finding.column is not None:
        region["startColumn"] = finding.column
        region["endColumn"] = finding.column + max(1, finding.width)
    physical["region"] = region
    return {"locations": [{"physicalLocation": physical}]}
