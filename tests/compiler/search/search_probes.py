"""Tasks for the tests of pools: each is a function in a child, with all the ways to end."""

import os
import signal
import time
from pathlib import Path

from budgetc.child import report_progress
from budgetc_specs.errors import EnvironmentError_, ModelError, SpecError


def square(number, folder, seconds=0.0, pids=None):
    if pids:
        (Path(pids) / str(os.getpid())).touch()
    report_progress({"begun": number})
    time.sleep(seconds)
    return number * number


def copy_file(folder, given):
    path = Path(given)
    (Path(folder) / "made.bin").write_bytes(path.read_bytes()[::-1])
    return {"suffix": path.suffix, "empty": len(list(Path(folder).iterdir())) == 1}


def make_nothing(folder):
    return "nothing made"


def refuse(folder):
    raise ModelError("the model is odd", "make it even.")


def crash(folder):
    os.kill(os.getpid(), signal.SIGSEGV)


def find_the_spec_wrong(folder):
    raise SpecError.of("the spec is odd", "make it even.")


def find_the_machine_wrong(folder):
    raise EnvironmentError_("the machine is odd", "take another.")
