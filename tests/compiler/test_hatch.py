"""The build hook of hatchling: a wheel with a model that runs where neither budgetc nor tvm nor onnx is."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

PROJECT = """[build-system]
requires = ["hatchling", "budgetc"]
build-backend = "hatchling.build"

[project]
name = "animals"
version = "1.0"
dependencies = ["numpy"]

[tool.hatch.build.targets.wheel]
packages = ["animals"]

[tool.hatch.build.targets.wheel.hooks.budgetc]
spec = "model/spec.yaml"
package = "animals/model"
"""

PROGRAM = """
import sys
from animals.model import model
import numpy as np
print(model({"x": np.arange(8, dtype=np.float32).reshape(1, 8)})["y"].tolist())
print([name for name in ("budgetc", "tvm", "onnx", "onnxruntime", "pydantic") if name in sys.modules])
try:
    import budgetc
except ImportError:
    print("no budgetc here")
"""


@pytest.fixture
def project(tmp_path, make_tiny):
    folder = tmp_path / "project"
    (folder / "animals").mkdir(parents=True)
    (folder / "animals" / "__init__.py").write_text('"""Names of animals."""\n')
    (folder / "pyproject.toml").write_text(PROJECT)
    (folder / "model").mkdir()
    make_tiny(folder / "model")
    return folder


def build(project: Path, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel"],
        cwd=project,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_wheel_has_a_model_that_runs_without_budgetc(project, cli_environment, tmp_path):
    done = build(project, cli_environment)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (project / "dist").glob("*.whl")
    assert wheel.name == "animals-1.0-py3-none-manylinux_2_17_x86_64.whl"
    with zipfile.ZipFile(wheel) as archive:
        assert {"animals/model/libtiny.so", "animals/model/manifest.json"} <= set(
            archive.namelist()
        )

    # An environment of its own that has numpy and the wheel, and nothing else.
    venv.create(tmp_path / "venv", with_pip=False, symlinks=True)
    python = tmp_path / "venv" / "bin" / "python"
    site = next((tmp_path / "venv" / "lib").glob("python*/site-packages"))
    for found in Path(np.__file__).parents[1].glob("numpy*"):
        (site / found.name).symlink_to(found)
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-index"]
    rest = ["--no-deps", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, *rest, str(wheel)], check=True)
    done = subprocess.run([python, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    outputs, imported, without = done.stdout.splitlines()
    graph = onnx.load(project / "model" / "tiny.onnx").graph
    expected = np.arange(8, dtype=np.float32) @ numpy_helper.to_array(graph.initializer[0])
    np.testing.assert_allclose(eval(outputs)[0], expected, rtol=1e-5)
    assert (imported, without) == ("[]", "no budgetc here")


@pytest.mark.slow
def test_a_missed_budget_fails_the_wheel(project, cli_environment):
    spec = project / "model" / "spec.yaml"
    spec.write_text(spec.read_text().replace("64 KiB", "1 KiB"))
    done = build(project, cli_environment)
    assert done.returncode == 1
    assert "FAIL" in done.stderr
    assert "budgetc ended with 1" in done.stderr
    assert not list(project.glob("dist/*.whl"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("spec =", "spek ="), "no option 'spek'"),
        (('package = "animals/model"', ""), 'needs the option "package"'),
        (("model/spec.yaml", "model/none.yaml"), "no such file"),
    ],
)
def test_what_is_wrong_with_the_options_is_said(change, said, project, cli_environment):
    (project / "pyproject.toml").write_text(PROJECT.replace(*change))
    done = build(project, cli_environment)
    assert done.returncode == 1
    assert said in done.stderr
