"""Dependency files: what make and ninja read is what was written, whatever the names hold."""

import os
import re
import subprocess
from pathlib import Path
from shutil import which

import pytest
from budgetc.depfile import depfile
from budgetc_specs.errors import SpecError
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

NAMES = st.text(alphabet="ab1.-_ #$\\:%()+=,@é", min_size=1, max_size=12).filter(
    lambda name: (
        not name.endswith(("\\", ":", ")"))
        and name.strip(" .") == name
        and "%" not in name
        and "\\:" not in name
        and not re.search(r"\\[#$=]", name)
    )
)

NINJA = """rule r
  command = cp rule.d read.d && touch out
  depfile = read.d
  deps = gcc
build out: r
"""


def write(folder: Path, names: list[str]) -> list[str]:
    paths = [folder / "plain", *(folder / f"x{n}{name}" for n, name in enumerate(names))]
    for path in paths:
        path.touch()
    (folder / "rule.d").write_text(depfile("out", map(str, paths)))
    return [str(path) for path in paths]


@pytest.mark.skipif(not which("ninja"), reason="ninja is not installed")
@given(st.lists(NAMES, min_size=1, max_size=3))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_ninja_reads_what_was_written(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("ninja")
    paths = write(folder, names)
    (folder / "build.ninja").write_text(NINJA)
    subprocess.run(["ninja"], cwd=folder, check=True, capture_output=True)
    done = subprocess.run(
        ["ninja", "-t", "deps", "out"], cwd=folder, check=True, capture_output=True, text=True
    )
    assert [line.strip() for line in done.stdout.splitlines()[1:] if line.strip()] == paths


@pytest.mark.skipif(not which("make"), reason="make is not installed")
@given(st.lists(NAMES, min_size=1, max_size=3))
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_make_reads_what_was_written(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("make")
    paths = write(folder, names)
    (folder / "Makefile").write_text("include rule.d\nout: ; @touch $@\n")

    def idle() -> bool:
        command = ["make", "--question", "out"]
        return subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode == 0

    subprocess.run(["make", "out"], cwd=folder, check=True, capture_output=True)
    assert idle()
    for path in paths:  # each of them counts
        later = (folder / "out").stat().st_mtime_ns + 10**9
        Path(path).touch()

        os.utime(path, ns=(later, later))
        assert not idle(), path
        os.utime(folder / "out", ns=(later, later))
    Path(paths[0]).unlink()  # gone: no error, but a reason to build
    assert not idle()
    subprocess.run(["make", "out"], cwd=folder, check=True, capture_output=True)


def test_a_rule_for_the_target_and_one_for_each_input():
    assert depfile("out/stamp.json", ["/a b", "/c#$d"]) == (
        "out/stamp.json: \\\n  /a\\ b \\\n  /c\\#$$d\n\n/a\\ b:\n\n/c\\#$$d:\n"
    )


@pytest.mark.parametrize(
    "name", ["a\nb", "a;b", "a|b", "a\\", "a&", "a\tb", "a'b", "*", "\\:", "a(1)", "a\\=b"]
)
def test_a_name_that_one_of_them_cannot_read_is_refused(name):
    with pytest.raises(SpecError, match="cannot stand in a dependency file"):
        depfile("out", [name])
