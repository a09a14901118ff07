"""`budgetc report` draws the page of a result again, prints its JSON, and refuses what is none."""

import json


def test_a_page_beside_the_result(budgetc_cli, compiled, tmp_path):
    (tmp_path / "result.json").write_text(compiled[1].stdout)
    done = budgetc_cli("report", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    page = tmp_path / "report.html"
    assert done.stdout == f"written to {page}\n"
    assert "Both budgets are met on host" in page.read_text(encoding="utf-8")
    elsewhere = tmp_path / "page.html"
    done = budgetc_cli("report", tmp_path / "result.json", "--out", elsewhere)
    assert done.returncode == 0
    assert elsewhere.read_bytes() == page.read_bytes()


def test_the_same_data_as_json(budgetc_cli, compiled, tmp_path):
    (tmp_path / "result.json").write_text(compiled[1].stdout)
    done = budgetc_cli("report", tmp_path, "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads(compiled[1].stdout)
    assert [p.name for p in tmp_path.iterdir()] == ["result.json"], "no page was asked for"


def test_in_a_browser(budgetc_cli, compiled, tmp_path):
    (tmp_path / "result.json").write_text(compiled[1].stdout)
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\nprintf %s "$1" > {tmp_path}/opened\n')
    browser.chmod(0o755)
    done = budgetc_cli("report", tmp_path, "--open", env={"BROWSER": f"{browser} %s"})
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "opened").read_text() == (tmp_path / "report.html").as_uri()


def test_what_is_no_result(budgetc_cli, tmp_path):
    done = budgetc_cli("report", tmp_path)
    assert done.returncode == 2
    assert "result.json" in done.stderr
    (tmp_path / "result.json").write_text('{"budgetc": 7}')
    done = budgetc_cli("report", tmp_path)
    assert done.returncode == 7
    assert "compile the model again" in done.stderr


def test_where_no_page_can_be(budgetc_cli, compiled, tmp_path):
    (tmp_path / "result.json").write_text(compiled[1].stdout)
    done = budgetc_cli("report", tmp_path, "--out", tmp_path)
    assert done.returncode == 2
    assert "is a folder" in done.stderr
    done = budgetc_cli("report", tmp_path, "--out", tmp_path / "no" / "page.html")
    assert done.returncode == 2
    assert "does not exist" in done.stderr
