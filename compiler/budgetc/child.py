"""The inside of a supervised child: takes one call from its parent, runs it and answers."""

import ctypes
import dataclasses
import importlib
import json
import os
import resource
import signal
import sys
import traceback
from collections.abc import Mapping
from types import FrameType
from typing import Any, TextIO

from budgetc_specs.errors import BudgetcError, SpecError

_PR_SET_PDEATHSIG = 1
_channel: TextIO | None = None


def report_progress(message: Mapping[str, Any]) -> None:
    """Hand a JSON-able message to the parent's progress callback, if this is a child."""
    if _channel is not None:
        _send({"progress": dict(message)})


def serve() -> None:
    """Run the call on standard input, answer on the descriptor it names, and end the process.

    The process ends without interpreter shutdown: the answer is complete by then, and native
    libraries that crash or hang in their destructors must not turn it into a failure.
    """
    global _channel  # noqa: PLW0603 - a child serves one call
    request = json.load(sys.stdin)
    _die_with_parent(request["parent"])
    os.set_inheritable(request["descriptor"], False)
    keep_torch_from_tvm()
    _channel = os.fdopen(request["descriptor"], "w", encoding="utf-8")
    try:
        _limit_memory(request["memory_bytes"])
        module, _, name = request["function"].partition(":")
        function = getattr(importlib.import_module(module), name)
        _send({"result": function(**request["arguments"])})
    except MemoryError as error:
        _send({"memory": str(error) or "MemoryError"})
    except BudgetcError as error:
        _send({"error": _describe(error)})
    except Exception as error:
        traceback.print_exc()
        _send({"exception": {"type": type(error).__qualname__, "text": str(error)}})
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def keep_torch_from_tvm() -> None:
    """Let everybody but tvm import torch in this process; to be called before tvm is imported."""
    sys.meta_path.insert(0, _TorchIsNotForTvm)


class _TorchIsNotForTvm:
    """Finds no torch where tvm looks for it: it would be loaded with tvm, for a second or two, and not be used."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> None:  # noqa: ARG004  the protocol's
        """Leave every module to the other finders, but for that one.

        Raises:
            ModuleNotFoundError: as if torch were not installed.
        """
        if name == "torch" and _importer().partition(".")[0] in {"tvm", "tvm_ffi"}:
            raise ModuleNotFoundError("torch is not for tvm", name=name)


def _importer() -> str:
    """The module whose import statement is being run."""
    frame: FrameType | None = sys._getframe(2)  # noqa: SLF001  there is no other way to ask
    while frame is not None and "importlib" in str(frame.f_globals.get("__name__")):
        frame = frame.f_back
    return "" if frame is None else str(frame.f_globals.get("__name__"))


def _send(message: dict[str, Any]) -> None:
    assert _channel is not None
    _channel.write(json.dumps(message) + "\n")
    _channel.flush()


def _describe(error: BudgetcError) -> dict[str, Any]:
    """The error as JSON: classes, nearest first, text and, of a spec error, its findings."""
    described: dict[str, Any] = {
        "classes": [c.__name__ for c in type(error).__mro__],
        "message": error.message,
        "repair": error.repair,
    }
    if isinstance(error, SpecError):
        described["diagnostics"] = [dataclasses.asdict(finding) for finding in error.diagnostics]
    return described


def _die_with_parent(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies, however the parent dies."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the request took effect
        os._exit(1)


def _limit_memory(limit: int | None) -> None:
    """Limit private writable memory; address space, which compilers reserve, costs nothing."""
    if limit is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
