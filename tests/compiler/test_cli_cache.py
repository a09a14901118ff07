"""`budgetc cache`: what it prints, and its exit codes."""

import json

from budgetc.store import Shelf


def test_listing_checking_and_removing(budgetc_cli, tmp_path):
    env = {"BUDGETC_CACHE": str(tmp_path)}
    Shelf(tmp_path / "judged").put("question", 1.5)
    done = budgetc_cli("cache", "ls", "--json", env=env)
    assert done.returncode == 0, done.stderr
    (room,) = json.loads(done.stdout)["rooms"]
    assert (room["room"], room["entries"]) == ("judged", 1)
    assert "judged" in budgetc_cli("cache", "ls", env=env).stdout
    assert "clean" in budgetc_cli("cache", "verify", env=env).stdout

    Shelf(tmp_path / "judged").path("question").write_text("{}")
    found = budgetc_cli("cache", "verify", env=env)
    assert found.returncode == 1
    assert "--repair" in found.stdout
    assert budgetc_cli("cache", "verify", "--repair", env=env).returncode == 0
    assert budgetc_cli("cache", "verify", env=env).returncode == 0

    Shelf(tmp_path / "judged").put("question", 1.5)
    assert "removed 1 entries" in budgetc_cli("cache", "gc", "--max", "1 B", env=env).stdout
    refused = budgetc_cli("cache", "gc", "--max", "much", env=env)
    assert refused.returncode == 2
    assert "--max" in refused.stderr
