"""Locks on the digits example: the same bytes wherever they are built; many runs at once, and runs that are killed."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "specs" / "examples" / "mnist"
SPEC = """budgetc: 1
model: mnist5k_cnn.onnx
inputs: {input: {shape: [1, 1, 28, 28]}}
data: {calibration: calibration.npz}
budgets: {size: 64 KiB}
passes: clean | fuse | clean | quantize
targets: {host: {}}
output: {name: mnist, kind: shared}
"""
RUNS = 8
NOBODY = 65534
SECONDS = 60.0
"""What a locked build may take, as the plan of the project has it."""

pytestmark = pytest.mark.slow


def start(*arguments, cache, prefix=(), **options):
    environment = {**os.environ, **options.pop("env", {}), "BUDGETC_CACHE": str(cache)}
    return subprocess.Popen(
        [*prefix, sys.executable, "-m", "budgetc.cli.main", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        start_new_session=True,
        **options,
    )


def run(*arguments, **options):
    process = start(*arguments, **options)
    said, _ = process.communicate()
    return process.returncode, said


def digests(folder):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.iterdir()}


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """The example in a folder of its own, locked, with its artefact in `out/host`."""
    folder = tmp_path_factory.mktemp("locked") / "example"
    shutil.copytree(EXAMPLE, folder)
    (folder / "spec.yaml").write_text(SPEC)
    cache, begin = folder.parent / "cache", time.monotonic()
    code, said = run("lock", folder / "spec.yaml", "--out", folder / "out", cache=cache)
    assert code == 0, said
    (folder.parent / "seconds").write_text(str(time.monotonic() - begin))
    return folder


ENVIRONMENTS = {
    "another folder": {},
    "another locale and time zone": {"LC_ALL": "C", "LANG": "tr_TR.UTF-8", "TZ": "Pacific/Apia"},
    "another hash seed": {"PYTHONHASHSEED": "4711"},
    "another CPU, for numpy": {
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX",
        "OPENBLAS_CORETYPE": "Haswell",
    },
}


EVERY = "all of these at once"


@pytest.mark.parametrize(
    "name", [EVERY, *(pytest.param(name, marks=pytest.mark.large) for name in ENVIRONMENTS)]
)
def test_the_same_bytes_anywhere(locked, tmp_path, name):
    others = ENVIRONMENTS.values() if name == EVERY else [ENVIRONMENTS[name]]
    environment = {key: value for other in others for key, value in other.items()}
    elsewhere = tmp_path / name
    shutil.copytree(locked, elsewhere, ignore=shutil.ignore_patterns("out"))
    begin = time.monotonic()
    code, said = run(
        *("compile", "spec.yaml", "--locked", "--out", "built"),
        cache=tmp_path / "cache",
        cwd=elsewhere,
        env=environment,
    )
    assert code == 0, said
    assert digests(elsewhere / "built" / "host") == digests(locked / "out" / "host")
    assert time.monotonic() - begin < SECONDS


def as_nobody():
    """What runs a command as a user who owns nothing, and may read what lies in root's home: the interpreter may."""
    ids = (f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    prefix = ["setpriv", *ids, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    try:
        tried = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("setpriv is not installed")
    if tried.returncode:
        pytest.skip(f"no other user can be had here: {tried.stderr.strip()}")
    return prefix


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_the_same_bytes_by_another_user(locked):
    prefix = as_nobody()
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="budgetc-") as place:
        home = Path(place)
        shutil.copytree(locked, home / "example", ignore=shutil.ignore_patterns("out"))
        for path in (home, *home.rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        code, said = run(
            *("compile", "spec.yaml", "--locked", "--out", "built"),
            cache=home / "cache",
            cwd=home / "example",
            env={"HOME": str(home), "TMPDIR": str(home), "USER": "nobody", "LOGNAME": "nobody"},
            prefix=prefix,
        )
        assert code == 0, said
        assert digests(home / "example" / "built" / "host") == digests(locked / "out" / "host")
        assert (home / "example" / "built" / "host" / "libmnist.so").stat().st_uid == NOBODY


def test_one_of_eight_runs_does_the_work(locked, tmp_path):
    spec, cache = locked / "spec.yaml", locked.parent / "cache"
    processes = [
        start("compile", spec, "--force", "--out", tmp_path / "out", cache=cache)
        for _ in range(RUNS)
    ]
    heard = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * RUNS, heard
    taken = sum("its result is taken" in said for said in heard)
    assert taken == RUNS - 1, heard
    manifest = json.loads((tmp_path / "out" / "host" / "manifest.json").read_text())
    found = digests(tmp_path / "out" / "host")
    del found["manifest.json"]
    assert found == manifest["files"]


def test_eight_locked_runs_at_once(locked, tmp_path):
    """Half of them into one folder."""
    outs = [tmp_path / ("one" if n % 2 else f"own-{n}") for n in range(RUNS)]
    command = ("compile", locked / "spec.yaml", "--locked")
    processes = [start(*command, "--out", out, cache=locked.parent / "cache") for out in outs]
    heard = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * RUNS, heard
    for out in outs:
        assert digests(out / "host") == digests(locked / "out" / "host")


@pytest.mark.parametrize(
    "kills", [6, pytest.param(100, marks=[pytest.mark.large, pytest.mark.timeout(3600)])]
)
def test_kills_leave_a_clean_cache(locked, tmp_path, kills):
    """Runs that share a cache are killed with all their children; what they leave is whole, and the next one ends.

    They are killed at any moment of the time that a run takes on this machine now.
    """
    dice = random.Random(kills)
    spec, cache = locked / "spec.yaml", tmp_path / "cache"
    seconds = float((locked.parent / "seconds").read_text())
    verbs = (("compile", spec), ("compile", spec, "--locked"))
    for number in range(0, kills, 2):
        outs = [tmp_path / f"out-{number % 3}", tmp_path / "shared"]
        pair = [start(*dice.choice(verbs), "-q", "--out", out, cache=cache) for out in outs]
        for process in pair:
            begin = time.monotonic()
            limit = dice.uniform(0.3, seconds)
            while process.poll() is None and time.monotonic() - begin < limit:
                time.sleep(0.02)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    code, said = run("cache", "verify", cache=cache)
    assert (code, "clean" in said) == (0, True), said
    code, said = run("compile", spec, "--locked", "--out", tmp_path / "shared", cache=cache)
    assert code == 0, said
    assert digests(tmp_path / "shared" / "host") == digests(locked / "out" / "host")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of a few MiB, which only root can mount."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_keeps_the_old_artefact(locked, tmp_path, small_disk):
    out = tmp_path / "out"
    shutil.copytree(locked / "out", out)
    (out / "host" / "libmnist.so").write_bytes(b"older")
    before = digests(out / "host")
    code, said = run(
        *("compile", locked / "spec.yaml", "--locked", "--out", out), cache=small_disk / "cache"
    )
    assert code == 4, said
    assert digests(out / "host") == before
