"""The wheel of budgetc: every file of the packages is in it and no other, and what build systems ask is answered."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "compiler": "budgetc",
    "passes": "budgetc_passes",
    "specs": "budgetc_specs",
    "targets": "budgetc_targets",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = folder.glob("budgetc-*-py3-none-any.whl")
    return file


@pytest.mark.slow
def test_it_has_every_file_of_the_packages(wheel):
    wanted = {
        path.relative_to(ROOT / source).as_posix()
        for source, package in PACKAGES.items()
        for path in (ROOT / source / package).rglob("*")
        if path.is_file() and path.parent.name != "__pycache__"
    }
    assert {"budgetc/cmake/budgetcConfig.cmake", "budgetc/bazel/budgetc.bzl"} <= wanted
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert packed == wanted


@pytest.mark.slow
def test_an_install_of_it_answers_build_systems(wheel, tmp_path):
    """Without any of the dependencies, since these answers import nothing."""
    place = tmp_path / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--quiet", "--disable-pip-version-check", wheel], check=True)
    site = next((place / "lib").glob("python*/site-packages"))

    def said(*arguments):
        return subprocess.check_output([place / "bin" / "budgetc", *arguments], text=True).strip()

    assert said("--version").startswith("budgetc ")
    assert said("--cmakedir") == str(site / "budgetc" / "cmake")
    assert said("--bazeldir") == str(site / "budgetc" / "bazel")
    config = Path(said("--cmakedir")) / "budgetcConfig.cmake"
    # Where the configuration looks for the command first.
    assert "${_budgetc_here}/../../../../../bin" in config.read_text()
    assert (config.parents[5] / "bin" / "budgetc").samefile(place / "bin" / "budgetc")
    entries = next(site.glob("budgetc-*.dist-info")) / "entry_points.txt"
    assert "[cmake.prefix]\nbudgetc = budgetc.cmake\n" in entries.read_text()
