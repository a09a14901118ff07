"""CMake, make and Meson with a model as a dependency: built again when an input changes, failed by a budget."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from budgetc import cmake
from onnx import numpy_helper

PROJECTS = Path(__file__).parent / "build_systems"
BIN = Path(sys.executable).parent

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@dataclass
class Project:
    """A project in a folder of its own."""

    folder: Path
    steps: list[list[str]]
    program: str
    stamp: str
    idle: str
    environment: dict[str, str]

    def build(self) -> tuple[int, str]:
        """Run the build system; its exit code and all that it said."""
        for step in self.steps:
            done = subprocess.run(
                step,
                cwd=self.folder,
                env=self.environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if done.returncode:
                break
        return done.returncode, done.stdout

    def classify(self) -> str:
        done = subprocess.run(
            [self.folder / self.program],
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout


def tool(name: str) -> str:
    found = shutil.which(name, path=f"{BIN}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def steps_of(system: str) -> tuple[list[list[str]], str, str, str]:
    """What is called, the program that comes of it, the stamp, and what is said when there is nothing to do."""
    if system == "make":
        return [[tool("make")]], "classify", "build/tiny/stamp.json", "up to date"
    if system == "meson":
        meson, ninja = tool("meson"), tool("ninja")
        steps = [[meson, "setup", "out", "--reconfigure"], [ninja, "-C", "out"]]
        return steps, "out/classify", "out/stamp.json", "no work to do"
    generator = {"cmake-ninja": "Ninja", "cmake-make": "Unix Makefiles"}[system]
    tool("ninja" if generator == "Ninja" else "make")
    configure = [tool("cmake"), "-S", ".", "-B", "out", "-G", generator]
    steps = [[*configure, f"-Dbudgetc_DIR={cmake.__path__[0]}"], [tool("cmake"), "--build", "out"]]
    idle = "no work to do" if generator == "Ninja" else "Built target classify"
    return steps, "out/classify", "out/tiny.budgetc/stamp.json", idle


@pytest.fixture
def project(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    make_tiny: Callable[[Path], Path],
    cli_environment: dict[str, str],
) -> Project:
    system = request.param
    tool("cc")
    steps, program, stamp, idle = steps_of(system)
    folder = tmp_path / "a project"
    shutil.copytree(PROJECTS / system.partition("-")[0], folder)
    (folder / "model").mkdir()
    spec = make_tiny(folder / "model")
    move_weights_out(spec.parent / "tiny.onnx")
    shutil.copyfile(spec.parent / "evaluation.npz", spec.parent / "calibration.npz")
    text = spec.read_text().replace("{eval", "{calibration: calibration.npz, eval")
    spec.write_text(text)
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return Project(folder, steps, program, stamp, idle, {**cli_environment, "PATH": path})


def move_weights_out(path: Path) -> None:
    model = onnx.load(path)
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)


def class_of(folder: Path) -> int:
    """The class that the model gives the numbers from 0 to 7."""
    weights = numpy_helper.to_array(onnx.load(folder / "tiny.onnx").graph.initializer[0])
    return int((np.arange(8, dtype=np.float32) @ weights).argmax())


def turn_weights_round(folder: Path) -> None:
    """Other weights in the external file, and the answers that they give."""
    weights = np.fromfile(folder / "weights.bin", np.float32).reshape(8, 4)[:, ::-1]
    np.ascontiguousarray(weights).tofile(folder / "weights.bin")
    x = np.load(folder / "evaluation.npz")["x"]
    np.savez(folder / "evaluation.npz", x=x, label=(x @ weights).argmax(axis=1))


@pytest.mark.slow
@pytest.mark.parametrize(
    "project",
    [
        "cmake-ninja",
        pytest.param("cmake-make", marks=pytest.mark.large),
        "make",
        pytest.param("meson", marks=pytest.mark.large),
    ],
    indirect=True,
)
def test_a_model_is_a_dependency_like_any_other(project: Project) -> None:
    code, said = project.build()
    assert code == 0, said
    model = project.folder / "model"
    stamp = project.folder / project.stamp
    expected = class_of(model)
    assert project.classify() == f"class {expected}\n"

    library = next(stamp.parent.glob("*/libtiny.so"))
    built = (library.stat().st_mtime_ns, stamp.stat().st_mtime_ns)
    code, said = project.build()
    assert (code, project.idle in said) == (0, True), said
    assert (library.stat().st_mtime_ns, stamp.stat().st_mtime_ns) == built

    x = np.load(model / "calibration.npz")["x"]
    np.savez(model / "calibration.npz", x=x * 2)
    before = stamp.read_text()
    code, said = project.build()
    assert code == 0, said
    assert stamp.read_text() != before
    assert library.stat().st_mtime_ns == built[0], "the same bytes, and so the same time"

    (model / "spec.yaml").write_text((model / "spec.yaml").read_text() + "# a comment\n")
    before = stamp.read_text()
    code, said = project.build()
    assert code == 0, said
    assert stamp.read_text() != before

    turn_weights_round(model)
    code, said = project.build()
    assert code == 0, said
    assert project.classify() == f"class {3 - expected}\n"
    code, said = project.build()
    assert (code, project.idle in said) == (0, True), said

    spec = model / "spec.yaml"
    spec.write_text(spec.read_text().replace("64 KiB", "1 KiB"))
    for _ in range(2):  # not once only
        code, said = project.build()
        assert code != 0
        rows = [line.split() for line in said.splitlines()]
        row = next(row for row in rows if row[:1] == ["size"] and row[-1:] == ["FAIL"])
        assert row[1:3] == ["1", "KiB"]


LISTS = """cmake_minimum_required(VERSION 3.20)
project(cross NONE)
find_package(budgetc CONFIG REQUIRED)
budgetc_add_model(tiny SPEC model/spec.yaml {})
get_target_property(folder tiny BUDGETC_FOLDER)
message(STATUS "it lies in ${{folder}}")
"""


@pytest.mark.parametrize(
    ("arguments", "processor", "said"),
    [
        ("", None, "tiny.budgetc/host"),
        ("", "aarch64", "tiny.budgetc/pi"),
        ("TARGET pi", None, "tiny.budgetc/pi"),
        ("SET output.name=other", "arm64", "tiny.budgetc/pi"),
        ("", "armv7l", 'no target of the spec is for the processor "armv7l"'),
        ("TARGET pie", None, 'did you mean "pi"?'),
        ("TARGET web", None, "tiny.wasm is nothing that a program links against"),
        ("TARGTE pi", None, "unknown arguments: TARGTE;pi"),
    ],
)
def test_the_toolchain_picks_the_target(
    arguments: str,
    processor: str | None,
    said: str,
    tmp_path: Path,
    make_tiny: Callable[[Path], Path],
    cli_environment: dict[str, str],
) -> None:
    (tmp_path / "model").mkdir()
    spec = make_tiny(tmp_path / "model")
    spec.write_text(
        spec.read_text()
        + "targets: {host: {}, pi: {kind: aarch64, cpu: cortex-a72}, web: {kind: wasm32}}\n"
    )
    (tmp_path / "CMakeLists.txt").write_text(LISTS.format(arguments))
    command = [tool("cmake"), "-S", ".", "-B", "out", f"-DCMAKE_PREFIX_PATH={cmake.__path__[0]}"]
    if processor:
        lines = f"set(CMAKE_SYSTEM_NAME Linux)\nset(CMAKE_SYSTEM_PROCESSOR {processor})\n"
        (tmp_path / "toolchain.cmake").write_text(lines)
        command.append("-DCMAKE_TOOLCHAIN_FILE=toolchain.cmake")
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**cli_environment, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said in " ".join((done.stdout + done.stderr).split())
    assert (done.returncode == 0) == said.startswith("tiny.budgetc")


CROSS = """cmake_minimum_required(VERSION 3.20)
project(cross C)
find_package(budgetc CONFIG REQUIRED)
budgetc_add_model(tiny SPEC model/spec.yaml SET output.kind=static)
add_executable(classify classify.c)
target_link_libraries(classify PRIVATE tiny)
"""

AARCH64 = 183
"""The number of the architecture in ELF files."""


@pytest.mark.slow
@pytest.mark.large
def test_a_toolchain_file_builds_model_and_program_for_another_machine(
    tmp_path: Path,
    make_tiny: Callable[[Path], Path],
    cli_environment: dict[str, str],
) -> None:
    """With zig as the cross compiler, and a generator that builds several configurations from one folder."""
    (tmp_path / "model").mkdir()
    spec = make_tiny(tmp_path / "model")
    pi = "pi: {kind: aarch64, cpu: cortex-a72}"
    spec.write_text(f"{spec.read_text()}targets: {{host: {{}}, {pi}}}\n")
    (tmp_path / "CMakeLists.txt").write_text(CROSS)
    shutil.copyfile(PROJECTS / "make" / "classify.c", tmp_path / "classify.c")
    compiler = tmp_path / "cc-aarch64"
    compiler.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -m ziglang cc -target aarch64-linux-musl "$@"\n'
    )
    compiler.chmod(0o755)
    (tmp_path / "toolchain.cmake").write_text(
        "set(CMAKE_SYSTEM_NAME Linux)\nset(CMAKE_SYSTEM_PROCESSOR aarch64)\n"
        f'set(CMAKE_C_COMPILER "{compiler}")\n'
    )
    tool("ninja")

    def run(*command: str) -> str:
        done = subprocess.run(
            [tool("cmake"), *command],
            cwd=tmp_path,
            env={
                **cli_environment,
                "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
                "ZIG_GLOBAL_CACHE_DIR": f"{cli_environment['BUDGETC_CACHE']}/zig",
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    toolchain = f"-DCMAKE_TOOLCHAIN_FILE={tmp_path / 'toolchain.cmake'}"
    folder = f"-Dbudgetc_DIR={cmake.__path__[0]}"
    run("-S", ".", "-B", "out", "-G", "Ninja Multi-Config", toolchain, folder)
    library = tmp_path / "out" / "tiny.budgetc" / "pi" / "libtiny.a"
    for configuration in ("Release", "Debug"):
        run("--build", "out", "--config", configuration)
        program = tmp_path / "out" / configuration / "classify"
        assert int.from_bytes(program.read_bytes()[18:20], "little") == AARCH64
        if qemu := shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static"):
            said = subprocess.check_output([qemu, program], text=True)
            assert said == f"class {class_of(tmp_path / 'model')}\n"
    built = library.stat().st_mtime_ns
    assert "no work to do" in run("--build", "out", "--config", "Release")
    assert library.stat().st_mtime_ns == built
    assert not (tmp_path / "out" / "tiny.budgetc" / "host").exists()
