"""The page: one file without requests, small whatever the result, in which no text becomes markup."""

import hashlib
import json
import re
from html import escape
from html.parser import HTMLParser
from importlib.resources import files

import pytest
from budgetc.report.document import parse_result
from budgetc.report.page import MOST_BYTES, render, write_report
from budgetc_specs.errors import ModelError
from hypothesis import given, settings
from hypothesis import strategies as st

from .conftest import HOSTILE, result, searched_target

ASSETS = files("budgetc.report") / "assets"
VOID = {"meta", "link", "br", "img", "input", "path", "circle", "rect"}


class Parsed(HTMLParser):
    """Every tag with its attributes, the texts of scripts, and whether all that was opened was closed."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.scripts, self.words = [], [], [], []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1] += data
        else:
            self.words.append(data)


def without_libraries(page):
    for name in ("d3.min.js", "plot.umd.min.js"):
        page = page.replace((ASSETS / "vendored" / name).read_text().strip(), "")
    return page


@pytest.mark.parametrize("name", ["searched", "infeasible", "both", "hostile"])
def test_a_page_is_whole_and_asks_for_nothing(name, request):
    page = render(request.getfixturevalue(name))
    parsed = Parsed(page)
    assert parsed.open == []
    assert len(page.encode()) < MOST_BYTES
    tags = {tag for tag, _ in parsed.tags}
    assert not tags & {"img", "iframe", "object", "embed", "base", "form", "audio", "video"}
    for _, attributes in parsed.tags:
        assert not [key for key in attributes if key.startswith("on")]
        assert "src" not in attributes
        assert "style" not in attributes, "the policy allows none"
        assert attributes.get("href", "#")[0] == "#" or attributes["href"] == "data:,"
    assert len(parsed.scripts) == 4


def test_the_policy_names_every_script_and_style_by_its_hash(searched):
    page = render(searched)
    parsed = Parsed(page)
    policy = next(a["content"] for t, a in parsed.tags if "http-equiv" in a)
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert len(re.findall("'sha256-[^']+'", policy)) == 5


def test_no_text_becomes_markup(both, hostile):
    kind, harmless = Parsed(render(hostile)), Parsed(render(both))
    assert {t for t, _ in kind.tags} == {t for t, _ in harmless.tags}
    words = "".join(kind.words)
    assert "</script><img src=x onerror=alert(1)>\"'&{{7*7}}" in words
    page = without_libraries(render(hostile))
    assert not [c for c in page if not c.isprintable() and c != "\n"], "nothing invisible is left"
    assert "<img" not in page
    data = json.loads(kind.scripts[0])
    assert any(
        "\\u202egnp.exe" in text for text in data["targets"][0]["candidates"]["points"][0]["texts"]
    )


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=60))
def test_any_name(text):
    target = searched_target()
    target["target"] = target["layers"][0]["layer"] = target["chosen"]["recipe"] = text
    target["trials"] = target["trials"][:3]
    target["chosen"]["parts"]["arena_map"][0]["name"] = text
    parsed = Parsed(render({**result(target), "name": text}))
    assert parsed.open == []
    assert len(parsed.scripts) == 4
    assert json.loads(parsed.scripts[0])["targets"]


def test_every_figure_of_a_chart_stands_in_a_table(searched):
    parsed = Parsed(render(searched))
    words = " ".join(" ".join(parsed.words).split())
    for text in (
        "44.1 KiB",
        "26 us",
        "0.1 pp",
        "14,400",
        "≈",
        "pays",
        "goes",
        "no faster on this target",
    ):
        assert text in words


def test_empty_states():
    page = render({"budgetc": 1, "name": "", "targets": [{"target": "host"}]})
    words = "".join(Parsed(page).words)
    for text in (
        "Nothing was measured",
        "no ledger",
        "No candidate got far enough",
        "Nothing was built",
    ):
        assert text in words
    assert "Nothing was compiled" in render({"budgetc": 1})


def test_a_result_of_any_size_fits(searched):
    target = searched["targets"][0]
    target["trials"] += [target["trials"][1]] * 4000
    target["chosen"]["parts"]["arena_map"] *= 3000
    target["layers"] *= 2000
    target["sensitivity"] *= 5000
    target["chosen"]["ledger"][1]["notes"] *= 5000
    target["certificate"] = "x" * 3_000_000
    searched["name"] = "n" * 3_000_000
    page = render(searched)
    assert len(page.encode()) <= MOST_BYTES
    assert "result.json has them all" in page
    assert len(Parsed(page).open) == 0


def test_the_verdicts_on_many_targets_still_fit():
    page = render(result(*[searched_target()] * 60))
    parsed = Parsed(page)
    assert len(page.encode()) <= MOST_BYTES
    assert len(parsed.scripts) == 2, "there is nothing to draw"
    words = "".join(parsed.words)
    assert words.count("44.1 KiB\n") >= 60
    assert "A page cannot hold all about so many targets" in words


def test_more_targets_than_any_page_holds():
    with pytest.raises(ModelError, match="600 targets"):
        render(result(*[{"target": "t" * 4000}] * 600))


def test_written_whole(searched, tmp_path):
    path = write_report(searched, tmp_path)
    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8") == render(searched, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    write_report(searched, tmp_path)
    with pytest.raises(ModelError):
        write_report({}, tmp_path)
    assert "All 3 budgets" in path.read_text(encoding="utf-8"), "the old page stays"


def test_origins_come_from_the_manifest_of_the_same_recipe(searched, tmp_path):
    (tmp_path / "host").mkdir()
    manifest = tmp_path / "host" / "manifest.json"
    recipe = searched["targets"][0]["chosen"]["recipe"]
    found = {"recipe": recipe, "sources": {"model": "cafe1234"}, "tools": {"zig": "0.17"}}
    manifest.write_text(json.dumps(found))
    assert "cafe1234" in render(searched, tmp_path)
    assert "cafe1234" not in render(searched)
    manifest.write_text(json.dumps({**found, "recipe": "another"}))
    assert "cafe1234" not in render(searched, tmp_path)
    for damaged in ("{", "[]", '{"recipe": 1}'):
        manifest.write_text(damaged)
        assert "All 3 budgets" in render(searched, tmp_path)


def test_hostile_target_names_lead_to_no_other_file(searched, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "secret").mkdir()
    recipe = searched["targets"][0]["chosen"]["recipe"]
    text = json.dumps({"recipe": recipe, "tools": {"secret": "cafe1234"}})
    (tmp_path / "secret" / "manifest.json").write_text(text)
    for name in ("../secret", str(tmp_path / "secret"), HOSTILE):
        searched["targets"][0]["target"] = name
        assert "cafe1234" not in render(searched, tmp_path / "out")


def test_vendored_files_are_those_of_the_table():
    folder = ASSETS / "vendored"
    table = re.findall(
        r"^\| `(\S+)` \| .* \| `([0-9a-f]{64})` \|$",
        (folder / "README.md").read_text(),
        re.MULTILINE,
    )
    assert {name for name, _ in table} == {"d3.min.js", "plot.umd.min.js"}
    for name, digest in table:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    page = render({"budgetc": 1})
    for name in ("d3 7", "@observablehq/plot 0"):
        assert name in page, "the terms travel with the page"


def test_the_document_of_the_tests_has_every_key(both):
    """So that what the page shows of it is tested: no field of the target is at its default."""
    target = parse_result(both).targets[0]
    unset = {n for n in type(target).model_fields if n not in target.model_fields_set}
    assert unset <= {"proof", "certificate", "locked"}


def test_figures_of_a_lock_are_called_that(searched):
    text = "measured when it was locked, on <b>a CPU</b>; not in this run"
    searched["targets"][0]["locked"] = {"cpu": "a CPU", "fingerprint": "0", "text": text}
    page = render(searched)
    assert f"Built from a lock. Every figure was {escape(text)}." in page
    assert "<b>" not in page
