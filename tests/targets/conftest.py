"""What the tests of targets share: one child that compiles and runs kernels."""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kernel_runner import Child, Job, Written, run

RunKernels = Callable[[Sequence[Job]], dict[str, Written]]
InChild = Callable[..., Any]


@pytest.fixture(scope="session")
def child() -> Iterator[Child]:
    """The process that imports tvm."""
    with Child() as started:
        yield started


@pytest.fixture(scope="session")
def in_child(child: Child, tmp_path_factory: pytest.TempPathFactory) -> InChild:
    """Calls a module's function where tvm may be imported."""

    def call(function: Callable[..., Any], *arguments: object) -> Any:
        return child.call(function, *arguments, folder=tmp_path_factory.mktemp("child"))

    return call


@pytest.fixture(scope="session")
def run_kernels(child: Child, tmp_path_factory: pytest.TempPathFactory) -> RunKernels:
    """Compiles jobs, runs them, and gives what each wrote."""

    def call(jobs: Sequence[Job]) -> dict[str, Written]:
        folder = tmp_path_factory.mktemp("kernels")
        results: dict[str, Written] = child.call(run, jobs, folder, folder=folder)
        return results

    return call
