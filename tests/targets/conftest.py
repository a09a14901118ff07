"""What the tests of targets share: the kernel runner, once a module."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from kernel_runner import Job, Written, run

RunKernels = Callable[[Sequence[Job]], dict[str, Written]]


@pytest.fixture(scope="module")
def run_kernels(tmp_path_factory: pytest.TempPathFactory) -> RunKernels:
    """Compiles jobs, runs them, and gives what each wrote."""
    return lambda jobs: run(jobs, tmp_path_factory.mktemp("kernels"))
