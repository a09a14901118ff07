"""Whether this machine has what budgetc needs: each part is not looked for but tried."""

import ctypes
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Literal

from budgetc_specs.errors import BudgetcError, EnvironmentError_

from budgetc.cache import cache_folder

_REQUIREMENT = re.compile(r"([A-Za-z0-9_.-]+)\s*(?:==([^;,\s]+))?")
_CHILD_SECONDS = 300.0
_ANSWER = 42

State = Literal["ok", "missing", "optional"]


@dataclass(frozen=True)
class Check:
    """One thing that was tried.

    Attributes:
        name: what.
        state: `optional` is missing, and nothing depends on it but what the detail says.
        detail: what was found, or what went wrong.
        repair: the command that repairs it; empty where nothing is wrong.
    """

    name: str
    state: State
    detail: str
    repair: str = ""


def examine() -> Iterator[Check]:
    """Try one part after another, each when the next check is asked for."""
    pip = f"{sys.executable} -m pip install"
    yield _packages(pip)
    yield _pins("tvm", ("apache-tvm", "apache-tvm-ffi"), pip)
    yield _pins("zig", ("ziglang",), pip)
    yield _try("cache", _cache_is_writable, "set BUDGETC_CACHE to a folder that can be written")
    with tempfile.TemporaryDirectory(prefix="budgetc-doctor-") as temporary:
        folder = Path(temporary)
        again = f"{pip} --force-reinstall"
        yield _try("onnxruntime", _onnxruntime_runs, f"{again} onnxruntime onnx")
        tvm = " ".join(f"{n}=={v}" for n, v in _required().items() if v and "tvm" in n)
        yield _try("llvm", lambda: _tvm_compiles(folder), f"{again} {tvm}")
        yield _try("linker", lambda: _zig_links(folder), f"{again} ziglang")
    yield _qemu()


def _required() -> dict[str, str]:
    """Distributions that budgetc needs, with the exact version where there is but one."""
    found = {}
    for text in requires("budgetc") or ():
        match = _REQUIREMENT.match(text)
        if match and "extra ==" not in text:
            found[match[1]] = match[2] or ""
    return found


def _packages(pip: str) -> Check:
    missing = [name for name in _required() if _installed(name) is None]
    if missing:
        return Check("packages", "missing", ", ".join(missing), f"{pip} {' '.join(missing)}")
    return Check("packages", "ok", f"{len(_required())} distributions, python {_python()}")


def _pins(name: str, distributions: tuple[str, ...], pip: str) -> Check:
    """Exact versions, from the metadata: the wrong pair crashes when it is imported."""
    wanted = {d: v for d, v in _required().items() if d in distributions}
    have = {d: _installed(d) for d in wanted}
    wrong = [
        f"{d} is {have[d] or 'not installed'}, it must be {v}"
        for d, v in wanted.items()
        if have[d] != v
    ]
    if wrong:
        pins = " ".join(f"{d}=={v}" for d, v in wanted.items())
        return Check(name, "missing", "; ".join(wrong), f"{pip} {pins}")
    return Check(name, "ok", ", ".join(f"{d} {v}" for d, v in wanted.items()))


def _try(name: str, action: Callable[[], str], repair: str) -> Check:
    try:
        return Check(name, "ok", action())
    except EnvironmentError_ as error:
        return Check(name, "missing", error.message, error.repair or repair)
    except BudgetcError as error:
        return Check(name, "missing", error.message, repair)
    except Exception as error:
        return Check(name, "missing", f"{type(error).__name__}: {error}", repair)


def _cache_is_writable() -> str:
    folder = cache_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"1")
    except OSError as error:
        raise EnvironmentError_(f"{folder} cannot be written to: {error.strerror}") from error
    return str(folder)


def _onnxruntime_runs() -> str:
    import numpy as np

    from budgetc.baseline import make_session

    x = np.array([-1, 2], np.float32)
    (y,) = make_session(_relu()).run({"x": x}).values()
    if y.tolist() != [0, 2]:
        raise EnvironmentError_(f"onnxruntime says that Relu([-1, 2]) is {y.tolist()}")
    return f"{version('onnxruntime')} runs a model"


def _tvm_compiles(folder: Path) -> str:
    from budgetc.worker import run_child

    (folder / "relu.onnx").write_bytes(_relu())
    arguments = {
        "model": str(folder / "relu.onnx"),
        "kind": "host",
        "capability": _host().model_dump(mode="json"),
        "trials": 0,
        "records": str(folder),
        "folder": str(folder),
    }
    run_child("budgetc.produce:produce", arguments, timeout_s=_CHILD_SECONDS)
    return f"a kernel for {_host().cpu}, compiled in a child process"


def _zig_links(folder: Path) -> str:
    from budgetc.emit.link import link_library

    source, library = folder / "probe.c", folder / "libprobe.so"
    visible = '__attribute__((visibility("default")))'
    source.write_text(f"{visible} int probe(void);\nint probe(void) {{ return {_ANSWER}; }}\n")
    cache = cache_folder() / "zig"
    link_library([source], [], _host(), "shared", library, api=("probe",), cache=cache)
    answer = ctypes.CDLL(str(library)).probe()
    if answer != _ANSWER:
        raise EnvironmentError_(f"a linked library returned {answer} instead of {_ANSWER}")
    return "a library, linked and called"


def _qemu() -> Check:
    from budgetc.registry import find_target

    target = find_target("aarch64")
    runner = target.runner(target.capability(None, 1))
    command = runner.command(Path("program"))
    if command is None:
        detail = "programs for aarch64 are compiled but not executed here"
        return Check("qemu-aarch64", "optional", detail, "apt-get install qemu-user")
    return Check("qemu-aarch64", "ok", command[0] if len(command) > 1 else "this machine is one")


def _host() -> Any:
    from budgetc.registry import find_target

    return find_target("host").capability(None, 1)


def _relu() -> bytes:
    from onnx import TensorProto, helper

    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2]) for n in ("x", "y")]
    node = helper.make_node("Relu", ["x"], ["y"], name="relu")
    graph = helper.make_graph([node], "probe", ports[:1], ports[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _installed(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _python() -> str:
    return ".".join(map(str, sys.version_info[:3]))
