"""The command line as its users start it, and a model so small that it compiles in seconds."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from budgetc.registry import find_target
from budgetc_specs.capability import Capability
from onnx import TensorProto, helper, numpy_helper

CLASSES, FEATURES, SAMPLES = 4, 8, 32

Command = Callable[..., "subprocess.CompletedProcess[str]"]

SPEC = """budgetc: 1
model: tiny.onnx
data: {evaluation: evaluation.npz}
budgets:
  size: 64 KiB
  quality: {drop: 0 pp}
passes: clean
"""


@pytest.fixture(scope="session")
def avx2() -> Capability:
    """A sheet that does not depend on the machine: blocks of eight channels, weights of seven bits."""
    return find_target("x86-64").capability("x86-64-v3", 1)


@pytest.fixture(scope="session")
def cli_environment(zig_cache: Path) -> dict[str, str]:
    """The environment of a command: a cache of the tests' own, and no colours."""
    kept = {k: v for k, v in os.environ.items() if k not in {"FORCE_COLOR", "TTY_COMPATIBLE"}}
    return {**kept, "BUDGETC_CACHE": str(zig_cache), "NO_COLOR": "1"}


@pytest.fixture(scope="session")
def budgetc_cli(cli_environment: dict[str, str]) -> Command:
    """Runs a command to its end: `budgetc_cli("check", spec, cwd=folder, env={...})`."""

    def run(
        *arguments: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-m", "budgetc", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**cli_environment, **(env or {})},
            check=False,
        )

    return run


def write_tiny(folder: Path) -> Path:
    """A linear classifier with perfect answers, its data and its spec."""
    random = np.random.default_rng(0)
    weights = random.standard_normal((FEATURES, CLASSES)).astype(np.float32)
    node = helper.make_node("Gemm", ["x", "w"], ["y"], name="gemm")
    graph = helper.make_graph(
        [node],
        "tiny",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, FEATURES])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, CLASSES])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (folder / "tiny.onnx").write_bytes(model.SerializeToString())
    x = random.standard_normal((SAMPLES, FEATURES)).astype(np.float32)
    np.savez(folder / "evaluation.npz", x=x, label=(x @ weights).argmax(axis=1))
    (folder / "spec.yaml").write_text(SPEC)
    return folder / "spec.yaml"


@pytest.fixture(scope="session")
def make_tiny() -> Callable[[Path], Path]:
    """Writes the tiny model, its data and its spec into a folder."""
    return write_tiny


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """The spec of the tiny model, in a folder of the test's own."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    return write_tiny(folder)


@pytest.fixture(scope="session")
def compiled(
    tmp_path_factory: pytest.TempPathFactory, budgetc_cli: Command
) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    """The tiny model's output folder, and what the command said that made it. Do not change it."""
    folder = tmp_path_factory.mktemp("compiled")
    spec = write_tiny(folder)
    done = budgetc_cli("compile", spec, "--out", folder / "out", "--json")
    assert done.returncode == 0, done.stderr
    return folder / "out", done
