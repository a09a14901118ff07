"""The rule for Bazel: its command in a sandbox made of links, and a workspace where Bazel is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from budgetc import bazel
from budgetc.lock import read_lock

from .test_build_systems import BIN, PROJECTS, class_of, move_weights_out, tool, turn_weights_round

RULE = Path(bazel.__path__[0]) / "budgetc.bzl"
DECLARED = ("spec.yaml", "spec.lock", "tiny.onnx", "weights.bin", "evaluation.npz")
MADE = ("libtiny.so", "tiny.h", "manifest.json")


@pytest.fixture
def model(tmp_path, make_tiny, budgetc_cli):
    """A folder with a model, its weights beside it, and its lock."""
    folder = tmp_path / "source" / "model"
    folder.mkdir(parents=True)
    spec = make_tiny(folder)
    move_weights_out(folder / "tiny.onnx")
    done = budgetc_cli("lock", spec, "-q", "--out", tmp_path / "locked")
    assert done.returncode == 0, done.stderr
    return folder


def sandbox(model: Path, folder: Path, leave_out: str = "") -> Path:
    """What Bazel makes for an action: links to the files that are declared, and a folder for what it writes."""
    records = [
        p.relative_to(model).as_posix() for p in model.glob("spec.lock.d/**/*") if p.is_file()
    ]
    for name in (*DECLARED, *records):
        if name != leave_out:
            link = folder / "model" / name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(model / name)
    (folder / "bin").mkdir()
    return folder


def act(
    folder: Path, made: tuple[str, ...] = MADE, **environment: str
) -> "subprocess.CompletedProcess[str]":
    """Run the rule's command as Bazel does: by bash, in the sandbox, with nothing else in the environment."""
    (command,) = re.findall(
        r'^_COMMAND = """$(.*?)^"""$', RULE.read_text(), re.DOTALL | re.MULTILINE
    )
    arguments = ["model/spec.yaml", "model/spec.lock", "host", *(f"bin/{name}" for name in made)]
    return subprocess.run(
        ["/bin/bash", "-c", command, "", str(BIN / "budgetc"), *arguments],
        cwd=folder,
        env={"PATH": "/bin:/usr/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def files_below(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.lstat().st_mtime_ns for p in folder.rglob("*")}


@pytest.mark.slow
def test_the_command_makes_what_is_declared_from_what_is_declared(model, tmp_path, zig_cache):
    place = sandbox(model, tmp_path / "box")
    source, box = files_below(model), set(files_below(place))
    done = act(place)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert files_below(model) == source, "nothing is written where the links lead"
    assert set(files_below(place)) == box | {f"bin/{name}" for name in MADE}
    locked = read_lock(model / "spec.lock").targets["host"].files
    for name in MADE:
        made = (place / "bin" / name).read_bytes()
        assert made == (tmp_path / "locked" / "host" / name).read_bytes()
        assert name in locked
        assert str(tmp_path).encode() not in made, "no path of a sandbox, or of a source, is kept"

    done = act(sandbox(model, tmp_path / "other", leave_out="weights.bin"))
    assert done.returncode != 0
    assert 'has its data in "weights.bin", which does not exist' in done.stderr

    place = sandbox(model, tmp_path / "third")
    done = act(place, ("libtiny.so", "libanother.so"), BUDGETC_CACHE=str(zig_cache))
    assert done.returncode == 1
    assert "the artefact has no libanother.so; it has libtiny.so" in done.stderr
    assert "output_name and kind must be those of the spec's output" in done.stderr

    turn_weights_round(model)
    done = act(sandbox(model, tmp_path / "fourth"))
    assert done.returncode == 5
    assert "input model: " in done.stderr


def rules_of_bazel(folder: Path) -> dict[str, Path]:
    """What Bazel would download, from Debian; but for the rules for C, which Bazel 4 has itself by these names."""
    found = {f"rules_{name}": Path("/usr/share/bazel/rules") / name for name in ("java", "proto")}
    if not all(map(Path.is_dir, found.values())):
        pytest.skip("bazel-bootstrap, bazel-rules-java and bazel-rules-proto are not installed")
    own = folder / "rules_cc"
    (own / "cc").mkdir(parents=True)
    for empty in (own / "WORKSPACE", own / "cc" / "BUILD"):
        empty.touch()
    names = ("binary", "import", "library", "test", "toolchain", "toolchain_suite")
    lines = [f"cc_{name} = native.cc_{name}\n" for name in names]
    (own / "cc" / "defs.bzl").write_text("".join(lines))
    return {**found, "rules_cc": own}


@pytest.mark.slow
@pytest.mark.large
def test_a_workspace_of_bazel(model, tmp_path, budgetc_cli, zig_cache):
    workspace = model.parent
    for file in ("BUILD.bazel", "model/BUILD.bazel"):
        shutil.copyfile(PROJECTS / "bazel" / file, workspace / file)
    shutil.copyfile(PROJECTS / "make" / "classify.c", workspace / "classify.c")
    tools = workspace / "tools"
    tools.mkdir()
    shutil.copyfile(RULE, tools / RULE.name)
    (tools / "budgetc.sh").write_text(f'#!/bin/sh\nexec "{BIN}/budgetc" "$@"\n')
    (tools / "budgetc.sh").chmod(0o755)
    (tools / "BUILD.bazel").write_text(
        'sh_binary(name = "budgetc", srcs = ["budgetc.sh"], visibility = ["//visibility:public"])\n'
    )
    (workspace / "WORKSPACE").touch()
    start = [tool("bazel"), f"--output_user_root={tmp_path / 'user'}", "--max_idle_secs=60"]
    flags = ["--spawn_strategy=sandboxed", "--curses=no", "--noshow_progress"]
    flags += [f"--override_repository={n}={p}" for n, p in rules_of_bazel(tmp_path).items()]

    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [*start, *arguments],
            cwd=workspace,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    try:
        code, said = run("build", *flags, "//:classify")
        assert code == 0, said
        program = workspace / "bazel-bin" / "classify"
        assert subprocess.check_output([program], text=True) == f"class {class_of(model)}\n"
        library = workspace / "bazel-bin" / "model" / "tiny_artefact.budgetc" / "libtiny.so"
        assert library.read_bytes() == (tmp_path / "locked" / "host" / "libtiny.so").read_bytes()

        before = library.stat().st_mtime_ns
        code, said = run("build", *flags, "//:classify")
        assert code == 0, said
        assert library.stat().st_mtime_ns == before

        turn_weights_round(model)
        code, said = run("build", *flags, "//:classify")
        assert code == 1, said
        assert "spec.lock does not fit any more" in said
        done = budgetc_cli("lock", model / "spec.yaml", "-q", "--out", tmp_path / "locked")
        assert done.returncode == 0, done.stderr
        # With a cache that actions share, which the sandbox must let them write to.
        shared = [f"--action_env=BUDGETC_CACHE={zig_cache}", f"--sandbox_writable_path={zig_cache}"]
        code, said = run("build", *flags, *shared, "//:classify")
        assert code == 0, said
        assert subprocess.check_output([program], text=True) == f"class {class_of(model)}\n"
    finally:
        run("shutdown")
