"""A search that is killed again and again, or loses workers, ends as an undisturbed one does."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

EXAMPLE = Path(__file__).parents[2] / "specs" / "examples" / "mnist"
SPEC = """budgetc: 1
model: mnist5k_cnn.onnx
inputs: {input: {shape: [1, 1, 28, 28]}}
data: {calibration: calibration.npz, evaluation: evaluation.npz}
quality: {metric: top1}
budgets: {size: 64 KiB, quality: {drop: 0.5 pp}}
targets: {host: {}}
objective: [quality, size]
search: {candidates: 12, time: 2 h}
output: {name: mnist, kind: shared}
"""
KILLS = 10
WARM = ("kernels", "harness")
"""What a cache may have before a search, beside zig's, which all share: nothing in it says anything of candidates."""

# Compiles, and writes down all that it hears of, at once: a kill loses nothing of it.
RUN = """
import json, sys
from pathlib import Path
from budgetc.compile import compile
from budgetc_specs.document import load_spec

spec, out, heard, result = map(Path, sys.argv[1:5])
def observe(event):
    with heard.open("a") as file:
        file.write(json.dumps([event.kind, event.candidate, event.text]) + "\\n")
done = compile(load_spec(spec, sys.argv[5:]), out=out, observer=observe)
result.write_text(json.dumps(done.to_json()))
sys.exit(done.exit_code)
"""


@dataclass
class Searching:
    """A search in a folder of its own: its spec, its cache and what its runs have said."""

    folder: Path
    overrides: list[str] = field(default_factory=list)
    runs: int = 0

    @property
    def cache(self) -> Path:
        return self.folder / "cache"

    @property
    def environment(self) -> dict[str, str]:
        temporary = self.folder / "temporary"
        temporary.mkdir(exist_ok=True)
        return {**os.environ, "BUDGETC_CACHE": str(self.cache), "TMPDIR": str(temporary)}

    @staticmethod
    def fresh(folder: Path, warm: Path, *parts: str) -> "Searching":
        """One that nothing is known of, with compiled kernels at hand."""
        shutil.copytree(EXAMPLE, folder)
        (folder / "spec.yaml").write_text(SPEC)
        (folder / "cache").mkdir()
        (folder / "cache" / "zig").symlink_to(warm / "zig")
        for part in parts or WARM:
            if (warm / part).is_dir():
                shutil.copytree(warm / part, folder / "cache" / part)
        return Searching(folder)

    def start(self) -> "subprocess.Popen[str]":
        self.runs += 1
        heard = self.folder / f"heard-{self.runs}.jsonl"
        heard.touch()
        files = [self.folder / "spec.yaml", self.folder / "out", heard, self.folder / "result.json"]
        return subprocess.Popen(
            [sys.executable, "-c", RUN, *map(str, files), *self.overrides],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment,
            start_new_session=True,
        )

    def finish(self) -> dict[str, Any]:
        process = self.start()
        said = process.communicate()[1]
        assert process.returncode == 0, said
        (target,) = json.loads((self.folder / "result.json").read_text())["targets"]
        return dict(target)

    def heard(self, run: int) -> list[list[str]]:
        lines = (self.folder / f"heard-{run}.jsonl").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def steps_of_build(self, run: int) -> int:
        """How many steps the build that a run has begun last is at; 0 where none is begun."""
        texts = [text for kind, _, text in self.heard(run) if kind == "stage"]
        begun = [at for at, text in enumerate(texts) if text.startswith("building, ")]
        return len(texts) - begun[-1] if begun else 0

    def simulated(self) -> dict[Path, tuple[int, int]]:
        """Every file that tells of a candidate, with what changes when it is written once more."""
        files = [f for name in ("simulated", "simulations") for f in self._whole(name)]
        return {f: (f.stat().st_ino, f.stat().st_mtime_ns) for f in files}

    def journal(self) -> bytes:
        """All whole lines that are written down of the search under way."""
        files = list((self.cache / "searches").glob("*/journal.jsonl"))
        written = b"".join(file.read_bytes() for file in files)
        return written[: written.rfind(b"\n") + 1]

    def measured(self) -> list[str]:
        """Keys of candidates in the journal, as often as they are there."""
        entries = [json.loads(line.partition(b" ")[2]) for line in self.journal().splitlines()]
        return [key for kind, key, _ in entries if kind == "trial"]

    def _whole(self, name: str) -> list[Path]:
        return [f for f in (self.cache / name).glob("*/*.json") if not f.name.startswith(".")]


def key_of(recipe: str) -> str:
    return hashlib.sha256(recipe.encode()).hexdigest()[:32]


def course(target: dict[str, Any]) -> list[dict[str, Any]]:
    """What a search did: candidates in order, with all that was expected and found but for measured times.

    Expected times are part of it: they rest on what was known when the search began, which was nothing.
    """
    found = []
    for trial in target["trials"]:
        verdicts = [(v["budget"], v["measured"], v["status"]) for v in trial["verdicts"] or ()]
        found.append(
            {
                "recipe": trial["recipe"],
                "outcome": trial["outcome"],
                "origin": trial["origin"],
                "expected": trial["predicted"],
                "verdicts": verdicts,
            }
        )
    return found


@pytest.fixture(scope="module")
def undisturbed(
    tmp_path_factory: pytest.TempPathFactory, zig_cache: Path
) -> tuple[Searching, dict[str, Any]]:
    """A search that nobody disturbs, and what it came to."""
    searching = Searching.fresh(tmp_path_factory.mktemp("search") / "undisturbed", zig_cache)
    return searching, searching.finish()


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.large
def test_killed_ten_times_it_ends_the_same(undisturbed, tmp_path, record_property):
    first, expected = undisturbed
    searching = Searching.fresh(tmp_path / "killed", first.cache)
    simulations, built = len(first.simulated()), expected["search"]["built"]
    draw = random.Random(5)
    written: dict[Path, tuple[int, int]] = {}
    journal, rebuilt = b"", 0
    for kill in range(KILLS):
        # Half of the kills come while candidates are simulated, half while they are built.
        share = (kill + draw.random()) / KILLS
        due = min(1.0, 2 * share) * simulations, max(0.0, 2 * share - 1) * built
        process = searching.start()
        delay, steps = draw.uniform(0.0, 1.0), draw.randint(1, 12)
        while len(searching.simulated()) < int(due[0]) or len(searching.measured()) < int(due[1]):
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        # What was done before is gone through in no time: a build is waited for, or the kill would come at the start.
        while share >= 0.5 and searching.steps_of_build(kill + 1) < steps:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
        # What is written stays as it is, and nothing that was measured is built once more.
        now = searching.simulated()
        assert {f: now[f] for f in written} == written
        assert searching.journal().startswith(journal)
        done = {json.loads(line.partition(b" ")[2])[1] for line in journal.splitlines()}
        begun = [r for kind, r, text in searching.heard(kill + 1) if text.startswith("building, ")]
        assert not [recipe for recipe in begun if key_of(recipe) in done]
        rebuilt += len(begun)
        written, journal = now, searching.journal()
    measured = searching.measured()
    assert len(set(measured)) == len(measured)
    found = searching.finish()
    begun = [r for _, r, text in searching.heard(KILLS + 1) if text.startswith("building, ")]
    assert not [recipe for recipe in begun if key_of(recipe) in measured]
    assert len(begun) + len(measured) == found["search"]["built"] == built
    now = searching.simulated()
    assert {f: now[f] for f in written} == written
    assert len(now) == simulations
    assert found["chosen"]["recipe"] == expected["chosen"]["recipe"]
    assert course(found) == course(expected)
    # Nothing is left of it but what a later search begins with.
    assert [p.suffix for p in (searching.cache / "searches").iterdir()] == [".json"]
    record_property(
        "course",
        f"{KILLS} kills, {len(measured)} of {built} measured before the last run, {rebuilt} begun",
    )


def interrupted(searching: Searching, reached: Callable[[], bool]) -> str:
    """Start the command, interrupt it once that is reached; what it said."""
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "budgetc.cli.main", "compile", searching.folder / "spec.yaml"),
            *("--out", searching.folder / "out"),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**searching.environment, "NO_COLOR": "1"},
        start_new_session=True,
    )
    while not reached():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    return said


@pytest.mark.slow
@pytest.mark.large
@pytest.mark.timeout(1800)
def test_interrupted_it_says_what_is_kept_and_goes_on(undisturbed, tmp_path):
    first, expected = undisturbed
    searching = Searching.fresh(tmp_path / "interrupted", first.cache, *WARM, "simulated")
    before = len(searching.simulated())
    said = interrupted(searching, lambda: len(searching.simulated()) > before)
    assert said.splitlines()[-4:] == [
        "interrupted",
        "kept: 0 built candidates and all that was simulated.",
        "the next run of the same spec goes on from there.",
        f"not written: {searching.folder / 'out' / 'host'}",
    ]
    said = interrupted(searching, lambda: len(searching.measured()) == 1)
    assert "kept: 1 built candidate and all that was simulated." in said
    assert "going on with a search that was cut short" in said
    found = searching.finish()
    assert found["chosen"]["recipe"] == expected["chosen"]["recipe"]
    assert course(found) == course(expected)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("killed", [pytest.param(False, marks=pytest.mark.large), True])
def test_two_workers_of_a_dask_cluster_find_the_same(undisturbed, tmp_path, dask_cluster, killed):
    first, expected = undisturbed
    searching = Searching.fresh(tmp_path / "remote", first.cache, *WARM, "simulated")
    workers = Searching.fresh(tmp_path / "workers", first.cache)
    cluster = dask_cluster(workers.environment, workers=2)
    searching.overrides = [f"search.executor={cluster.address}"]
    process, before = searching.start(), len(searching.simulated())
    if killed:
        while len(searching.simulated()) < before + 3:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.02)
        cluster.kill(0)
    said = process.communicate()[1]
    assert process.returncode == 0, said
    (found,) = json.loads((searching.folder / "result.json").read_text())["targets"]
    assert found["chosen"]["recipe"] == expected["chosen"]["recipe"]
    assert course(found) == course(expected)
    notes = [text for kind, _, text in searching.heard(1) if kind == "note"]
    lost = f"Dask at {cluster.address} has lost 1 worker: what was done there was done again"
    assert notes == ([lost] if killed else [])


@pytest.mark.slow
@pytest.mark.large
@pytest.mark.timeout(1800)
def test_two_runs_for_two_folders_take_turns(undisturbed, tmp_path):
    first, expected = undisturbed
    searching = Searching.fresh(tmp_path / "twice", first.cache, *WARM, "simulated", "simulations")
    process = searching.start()
    while not searching.journal():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    second = subprocess.run(
        [
            *(sys.executable, "-m", "budgetc.cli.main", "compile", searching.folder / "spec.yaml"),
            *("--out", searching.folder / "other", "--json"),
        ],
        capture_output=True,
        text=True,
        env={**searching.environment, "NO_COLOR": "1"},
        check=False,
    )
    said = process.communicate()[1]
    assert (process.returncode, second.returncode) == (0, 0), said + second.stderr
    assert "another run is searching for the same: this one goes on when" in second.stderr
    (found,) = json.loads(second.stdout)["targets"]
    assert found["chosen"]["recipe"] == expected["chosen"]["recipe"]
    assert (searching.folder / "other" / "host" / "manifest.json").is_file()
