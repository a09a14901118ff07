"""`budgetc diff` of real artefacts says what changed, for people and for programs."""

import json
import shutil


def test_an_artefact_and_a_changed_one(compiled, budgetc_cli, tmp_path):
    out, _ = compiled
    changed = tmp_path / "changed"
    shutil.copytree(out / "host", changed)
    manifest = json.loads((changed / "manifest.json").read_text())
    manifest["measurement"]["size"]["bytes"] *= 2
    (changed / "manifest.json").write_text(json.dumps(manifest))
    done = budgetc_cli("diff", out / "host", changed)
    assert done.returncode == 0, done.stderr
    (row,) = (line.split() for line in done.stdout.splitlines() if line.startswith("size "))
    assert row[-1] == "+100.0"
    told = json.loads(budgetc_cli("diff", out, out, "--json").stdout)
    (target,) = told["targets"]
    assert target["layers"] == []
    assert all(c["before"] == c["after"] for c in target["figures"])


def test_no_artefact(budgetc_cli, tmp_path):
    done = budgetc_cli("diff", tmp_path, tmp_path)
    assert done.returncode == 2
    assert "holds no manifest.json" in done.stderr
