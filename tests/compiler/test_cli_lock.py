"""`budgetc lock` and `compile --locked`: exit codes, and what they say."""

import json

from budgetc.cli.lock import locked_mode


def test_a_lock_from_beginning_to_end(budgetc_cli, tiny):
    out = tiny.parent / "out"
    done = budgetc_cli("lock", tiny, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "tiny.lock, written" in done.stderr.replace("spec.lock", "tiny.lock")
    lock = tiny.with_suffix(".lock")
    text = lock.read_text()
    again = budgetc_cli("compile", tiny, "--locked", "--out", tiny.parent / "again", "--json")
    assert again.returncode == 0, again.stderr
    (target,) = json.loads(again.stdout)["targets"]
    assert target["folder"].endswith("again/host")
    assert lock.read_text() == text

    changed = budgetc_cli("compile", tiny, "--locked", "--set", "budgets.size=60 KiB")
    assert changed.returncode == 5
    assert "spec budgets.size.max_bytes: 64 KiB in the lock, 60 KiB now" in changed.stderr
    assert "budgetc lock" in changed.stderr

    (tiny.parent / "tiny.onnx").unlink()
    frozen = budgetc_cli("compile", tiny, "--frozen", "-q", "--out", tiny.parent / "frozen")
    assert (frozen.returncode, frozen.stdout, frozen.stderr) == (0, "", "")
    assert (tiny.parent / "frozen" / "host" / "libtiny.so").read_bytes() == (
        out / "host" / "libtiny.so"
    ).read_bytes()


def test_no_lock_is_told(budgetc_cli, tiny):
    done = budgetc_cli("compile", tiny, "--locked")
    assert done.returncode == 5
    assert "there is no lock to be read" in done.stderr


def test_a_lock_that_nobody_asked_for(budgetc_cli, tiny):
    done = budgetc_cli("compile", tiny, "--lock", "spec.lock")
    assert done.returncode == 2
    assert "--lock without --locked or --frozen" in done.stderr


def test_another_lock_is_another_request(tmp_path):
    plain = locked_mode(None, frozen=False)
    other = locked_mode(tmp_path / "other.lock", frozen=False)
    assert len({plain, other, locked_mode(None, frozen=True)}) == 3
