"""What results depend on: any change of the code, or of what it is built on, is another digest."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from budgetc.fingerprint import PACKAGES
from budgetc.provenance import code_digest, source_digest

ROOT = Path(__file__).parents[2]
ROOTS = ("compiler", "passes", "specs", "targets")


def digest_of(*paths: Path) -> str:
    """In a process that has these first on its path."""
    code = "from budgetc.provenance import code_digest; print(code_digest())"
    path = os.pathsep.join(map(str, paths))
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def test_the_same_in_every_process_and_wherever_it_lies(tmp_path):
    for root in ROOTS:
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / root, tmp_path / root, ignore=skipped)
    places = [tmp_path / root for root in ROOTS]
    assert len(code_digest()) == 64
    assert digest_of(*places) == code_digest()
    seen = {code_digest()}
    for package in PACKAGES:  # one byte of one file of any of them
        file = next(p for p in sorted(tmp_path.glob(f"*/{package}/**/*.py")) if p.stat().st_size)
        file.write_bytes(file.read_bytes() + b"\n")
        seen.add(digest_of(*places))
    (next(tmp_path.glob("*/budgetc_specs")) / "new.py").touch()
    seen.add(digest_of(*places))
    (next(tmp_path.glob("*/budgetc_specs")) / "notes.txt").touch()
    seen.add(digest_of(*places))
    assert len(seen) == 1 + len(PACKAGES) + 1


def test_a_plugin_or_another_release_of_one_changes_it(tmp_path):
    info = tmp_path / "odd-1.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[budgetc.passes]\nodd-pass = odd:Pass\n")
    digests = {code_digest()}
    for version in ("1", "2"):
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: odd\nVersion: {version}\n")
        digests.add(digest_of(tmp_path, *(ROOT / root for root in ROOTS)))
    assert len(digests) == 3


def test_a_module_that_is_no_package_has_a_digest_too(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("one_of_a_plugin", "other_of_a_plugin"):
        (tmp_path / f"{name}.py").write_text(f"name = {name!r}\n")
    assert source_digest("one_of_a_plugin") != source_digest("other_of_a_plugin")
