"""JUnit, SARIF and Markdown of real results and errors, held against what their formats say.

SARIF is read by sarif-pydantic, whose classes are SARIF 2.1.0's, and JUnit by junitparser. The rules that concern what
is written here are stated below as well, and more strictly: of SARIF the required properties and the types and bounds
of those that are used; of JUnit the order of elements, the required attributes, and that counts are those of the
elements.
"""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as Xml

import jsonschema
import junitparser
import pytest
from budgetc.ci.junit import junit
from budgetc.ci.markdown import MOST_CHARACTERS, markdown
from budgetc.ci.sarif import RULES, sarif
from budgetc.ci.schema import result_schema
from budgetc.ci.verdicts import Finding, findings_of_result
from hypothesis import given
from hypothesis import strategies as st
from sarif_pydantic import Sarif

REGION = {
    "type": "object",
    "required": ["startLine"],
    "additionalProperties": False,
    "properties": {
        name: {"type": "integer", "minimum": 1}
        for name in ("startLine", "startColumn", "endColumn")
    },
}
TEXT = {
    "type": "object",
    "required": ["text"],
    "additionalProperties": False,
    "properties": {"text": {"type": "string"}},
}
ARTIFACT = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "uri": {"type": "string", "pattern": r"^[^\s\\]+$"},
        "uriBaseId": {"const": "SRCROOT"},
    },
}
PHYSICAL = {
    "type": "object",
    "required": ["artifactLocation"],
    "additionalProperties": False,
    "properties": {"artifactLocation": ARTIFACT, "region": REGION},
}
RESULT = {
    "type": "object",
    "required": ["message"],
    "additionalProperties": False,
    "properties": {
        "ruleId": {"enum": list(RULES)},
        "ruleIndex": {"type": "integer", "minimum": -1},
        "level": {"enum": ["none", "note", "warning", "error"]},
        "message": TEXT,
        "locations": {
            "type": "array",
            "items": {
                "type": "object",
                "additionalProperties": False,
                "properties": {"physicalLocation": PHYSICAL},
            },
        },
    },
}
RULE = {
    "type": "object",
    "required": ["id"],
    "additionalProperties": False,
    "properties": {"id": {"type": "string"}, "shortDescription": TEXT},
}
DRIVER = {
    "type": "object",
    "required": ["name"],
    "additionalProperties": False,
    "properties": {
        "name": {"type": "string"},
        "version": {"type": "string"},
        "rules": {"type": "array", "uniqueItems": True, "items": RULE},
    },
}
RUN = {
    "type": "object",
    "required": ["tool"],
    "additionalProperties": False,
    "properties": {
        "tool": {"type": "object", "required": ["driver"], "properties": {"driver": DRIVER}},
        "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
        "originalUriBaseIds": {"type": "object", "additionalProperties": ARTIFACT},
        "results": {"type": "array", "items": RESULT},
    },
}
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {"type": "array", "items": RUN},
    },
}


def check_sarif(text: str) -> list[dict]:
    value = json.loads(text)
    jsonschema.Draft7Validator(SARIF).validate(value)
    Sarif.model_validate(value)
    results = value["runs"][0]["results"]
    rules = [rule["id"] for rule in value["runs"][0]["tool"]["driver"]["rules"]]
    assert all(rules[each["ruleIndex"]] == each["ruleId"] for each in results)
    return results


def check_junit(text: str) -> Xml.Element:
    root = Xml.fromstring(text.encode())
    read = junitparser.JUnitXml.fromstring(text.encode())
    counted = [(suite.tests, suite.failures, suite.errors) for suite in read]
    read.update_statistics()
    assert [(suite.tests, suite.failures, suite.errors) for suite in read] == counted
    assert root.tag == "testsuites"
    assert [suite.tag for suite in root] == ["testsuite"] * len(root)
    for suite in root:
        cases = suite.findall("testcase")
        assert [e.tag for e in suite if e.tag != "properties"] == ["testcase"] * len(cases)
        assert {"name", "tests", "failures", "errors", "skipped", "time"} <= set(suite.keys())
        assert suite.get("tests") == str(len(cases))
        assert suite.get("failures") == str(len(suite.findall("testcase/failure")))
        assert suite.get("errors") == str(len(suite.findall("testcase/error")))
        assert all({"name", "classname", "time"} <= set(case.keys()) for case in cases)
        names = [case.get("name") for case in cases]
        assert len(names) == len(set(names))
        for case in cases:
            assert len(case) <= 1
            assert {e.tag for e in case} <= {"failure", "error", "system-out"}
    for key in ("tests", "failures", "errors"):
        assert root.get(key) == str(sum(int(suite.get(key)) for suite in root))
    return root


@pytest.fixture(scope="module")
def kept(compiled) -> dict:
    return json.loads(compiled[1].stdout)


@pytest.fixture(scope="module")
def missed(tmp_path_factory, make_tiny, budgetc_cli):
    folder = tmp_path_factory.mktemp("missed")
    make_tiny(folder)
    files = ("--junit", "r/j.xml", "--sarif", "r/s.json", "--markdown", "r/m.md")
    done = budgetc_cli(
        *("compile", "spec.yaml", "--set", "budgets.size=1 KiB", "--out", "out", "--json", *files),
        cwd=folder,
    )
    assert done.returncode == 1, done.stderr
    return folder, done


def test_json_is_what_its_schema_says(kept, missed):
    jsonschema.Draft7Validator.check_schema(result_schema())
    validator = jsonschema.Draft7Validator(result_schema())
    validator.validate(kept)
    validator.validate(json.loads(missed[1].stdout))
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({**kept, "budgetc": 2})


def test_junit_has_a_case_for_each_budget(kept, missed):
    (suite,) = check_junit(junit("tiny", kept))
    assert [case.get("name") for case in suite.findall("testcase")] == ["size", "quality"]
    (suite,) = check_junit((missed[0] / "r" / "j.xml").read_text())
    (failure,) = suite.findall("testcase/failure")
    assert failure.get("type") == "FAIL"
    assert "limit 1 KiB" in failure.text


def test_sarif_names_the_budget_that_is_missed(kept, missed):
    assert check_sarif(sarif(findings_of_result(kept, "spec.yaml"), Path.cwd())) == []
    (result,) = check_sarif((missed[0] / "r" / "s.json").read_text())
    assert (result["ruleId"], result["level"]) == ("budget-size", "error")
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"] == {"uri": "spec.yaml", "uriBaseId": "SRCROOT"}


def test_markdown_has_a_row_for_each_budget(missed):
    text = (missed[0] / "r" / "m.md").read_text()
    assert text.startswith("### ❌ tiny: no artefact")
    assert re.search(r"^\| ❌ \| size \| 1 KiB \| 1.6 KiB \| - \|$", text, re.MULTILINE)


@pytest.mark.parametrize("verb", ["check", "compile"])
def test_an_error_stands_at_its_line(verb, tiny, budgetc_cli):
    tiny.write_text(tiny.read_text().replace("size: 64 KiB", "size: 64"))
    files = ("--junit", "j.xml", "--sarif", "s.json", "--markdown", "m.md")
    done = budgetc_cli(verb, tiny.name, *files, cwd=tiny.parent)
    assert done.returncode == 2
    (result,) = check_sarif((tiny.parent / "s.json").read_text())
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "spec.yaml"
    assert place["region"] == {"startLine": 5, "startColumn": 9, "endColumn": 11}
    (suite,) = check_junit((tiny.parent / "j.xml").read_text())
    assert suite.get("errors") == "1"
    assert "spec.yaml:5:9" in (tiny.parent / "m.md").read_text()


def test_a_check_without_findings(tiny, budgetc_cli):
    files = ("--junit", "j.xml", "--sarif", "s.json", "--markdown", "m.md")
    done = budgetc_cli("check", tiny, *files, cwd=tiny.parent)
    assert done.returncode == 0, done.stderr
    assert check_sarif((tiny.parent / "s.json").read_text()) == []
    assert len(check_junit((tiny.parent / "j.xml").read_text())) == 0
    assert "✅" in (tiny.parent / "m.md").read_text()


FINDINGS = st.lists(
    st.builds(
        Finding,
        st.sampled_from(list(RULES)),
        st.sampled_from(["error", "warning"]),
        st.text(max_size=60),
        st.none() | st.sampled_from(["spec.yaml", "a b/ü#.yaml", "/elsewhere/spec.yaml"]),
        st.none() | st.integers(1, 10**6),
        st.none() | st.integers(1, 10**6),
        st.integers(0, 100),
    ),
    max_size=4,
)


@given(FINDINGS)
def test_whatever_is_found_can_be_read(findings):
    assert len(check_sarif(sarif(findings, Path.cwd()))) == len(findings)
    check_junit(junit("x", None, findings))
    text = markdown("x", None, findings)
    assert text.isprintable() or "\n" in text


def test_markdown_is_never_longer_than_a_comment_may_be():
    found = [
        Finding("spec", "error", f"{n}: " + "@all | <b> " * 50, "spec.yaml") for n in range(500)
    ]
    text = markdown("x", None, found)
    assert len(text) <= MOST_CHARACTERS
    assert text.endswith("result.json has all of it*\n")
    assert "@all" not in text.replace("\\@all", "")
