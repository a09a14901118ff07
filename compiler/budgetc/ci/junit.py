"""A result as JUnit XML: a target is a suite of tests, a budget is a test case.

PASS  a case without anything        WARN       a case whose output says why
FAIL  a failure                      UNDECIDED  a failure, since no artefact is handed over
no artefact for another reason       a case `artefact` with an error
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as Xml

from budgetc.ci.verdicts import Finding, Target, Verdict, targets_of

# What XML 1.0 allows in a text.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(name: str, result: Mapping[str, Any] | None, findings: Sequence[Finding] = ()) -> str:
    """The XML text.

    Args:
        name: of the whole, as reports show it.
        result: None where there is none, since an error ended the run.
        findings: that error, each finding a case with an error.
    """
    suites = [_suite(name, target) for target in targets_of(result)] if result else []
    if findings:
        suites.append(_errors(name, findings))
    root = Xml.Element("testsuites", {"name": _clean(name), **_sums(suites)})
    root.extend(suites)
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, "unicode") + "\n"


def _suite(name: str, target: Target) -> Xml.Element:
    suite = Xml.Element("testsuite", name=_clean(f"{name}.{target.name}"))
    properties = Xml.SubElement(suite, "properties")
    told = {"hardware": target.hardware, "recipe": target.recipe}
    if target.locked:
        told["figures"] = target.locked
    for key, value in told.items():
        Xml.SubElement(properties, "property", name=key, value=_clean(value))
    for verdict in target.verdicts:
        suite.append(_case(f"{name}.{target.name}", verdict))
    if target.exit_code and all(v.holds for v in target.verdicts):
        case = _plain_case(f"{name}.{target.name}", "artefact")
        first = target.certificate.partition("\n")[0]
        error = Xml.SubElement(case, "error", type="no-artefact", message=_clean(first))
        error.text = _clean(target.certificate)
        suite.append(case)
    _count(suite, target.seconds)
    return suite


def _case(suite: str, verdict: Verdict) -> Xml.Element:
    case = _plain_case(suite, verdict.budget)
    said = "\n".join(filter(None, [verdict.text, verdict.doubt]))
    if not verdict.holds:
        failure = Xml.SubElement(case, "failure", type=verdict.status, message=_clean(verdict.text))
        failure.text = _clean(f"limit {verdict.limit}, measured {verdict.measured}\n{said}")
    else:
        Xml.SubElement(case, "system-out").text = _clean(f"{verdict.status}: {said}")
    return case


def _errors(name: str, findings: Sequence[Finding]) -> Xml.Element:
    suite = Xml.Element("testsuite", name=_clean(name))
    for number, finding in enumerate(findings, 1):
        case = _plain_case(name, f"{finding.rule} {number}")
        first = finding.message.partition("\n")[0]
        error = Xml.SubElement(case, "error", type=finding.rule, message=_clean(first))
        where = ":".join(str(p) for p in (finding.path, finding.line, finding.column) if p)
        error.text = _clean(f"{where}: {finding.message}" if where else finding.message)
        suite.append(case)
    _count(suite, 0.0)
    return suite


def _plain_case(suite: str, name: str) -> Xml.Element:
    return Xml.Element("testcase", classname=_clean(suite), name=_clean(name), time="0.000")


def _count(suite: Xml.Element, seconds: float) -> None:
    for key, tag in (("tests", "testcase"), ("failures", "*/failure"), ("errors", "*/error")):
        suite.set(key, str(len(suite.findall(tag))))
    suite.set("skipped", "0")
    suite.set("time", f"{seconds:.3f}")


def _sums(suites: Sequence[Xml.Element]) -> dict[str, str]:
    counts = {
        k: str(sum(int(s.get(k, 0)) for s in suites)) for k in ("tests", "failures", "errors")
    }
    return {**counts, "time": f"{sum(float(s.get('time', 0)) for s in suites):.3f}"}


def _clean(text: str) -> str:
    """The text without what no XML document may hold, not even escaped."""
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", text)
