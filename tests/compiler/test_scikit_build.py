"""scikit-build-core: it finds the package for CMake by itself, and a wheel has the model and a program that runs it."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest

from .test_build_systems import BIN, PROJECTS, class_of, tool


@pytest.mark.slow
def test_a_wheel_by_scikit_build_core_runs_the_model(tmp_path, make_tiny, cli_environment):
    tool("cmake")
    tool("c++")
    project = tmp_path / "project"
    shutil.copytree(PROJECTS / "scikit", project)
    shutil.copyfile(PROJECTS / "cmake" / "classify.cpp", project / "classify.cpp")
    (project / "animals").mkdir()
    (project / "animals" / "__init__.py").write_text('"""Names of animals."""\n')
    (project / "model").mkdir()
    make_tiny(project / "model")
    build = "import scikit_build_core.build as build; print(build.build_wheel('dist'))"
    # As in an isolated build, CMake hears of budgetc by the entry point alone.
    kept = {k: v for k, v in cli_environment.items() if not k.startswith(("CMAKE", "VIRTUAL_ENV"))}
    done = subprocess.run(
        [sys.executable, "-c", build],
        cwd=project,
        env={**kept, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (project / "dist").glob("animals-1.0-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "unpacked")
    folder = tmp_path / "unpacked" / "animals"
    expected = class_of(project / "model")
    shutil.rmtree(project)  # what is in the wheel needs nothing else
    (folder / "classify").chmod(0o755)
    assert subprocess.check_output([folder / "classify"], text=True) == f"class {expected}\n"
    assert (folder / "libtiny.so").is_file()
