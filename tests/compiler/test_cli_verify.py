"""`budgetc verify` runs a library again beside its model, and knows a file that is not the one that was written."""

import json
import shutil


def test_an_artefact_is_what_it_was(compiled, budgetc_cli):
    done = budgetc_cli("verify", compiled[0] / "host", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    assert "every file is the one that was written" in done.stdout
    assert "agrees" in done.stdout
    told = json.loads(budgetc_cli("verify", compiled[0] / "host", "--json").stdout)
    assert told["budgetc"] == 1


def test_a_file_that_was_changed(compiled, budgetc_cli, tmp_path):
    folder = tmp_path / "host"
    shutil.copytree(compiled[0] / "host", folder)
    header = next(folder.glob("*.h"))
    header.write_text(header.read_text() + "\n")
    done = budgetc_cli("verify", folder)
    assert done.returncode == 7
    assert f"{header.name} is not the file that was written" in done.stderr
