"""A model is tuned, judged and timed on two boards of TVM's RPC, of which one dies; here both are this machine."""

import platform
import re
import threading
import time
from pathlib import Path

import budgetc
import numpy as np
import pytest
from budgetc.probe import probe
from budgetc_specs.errors import TargetUnreachableError
from budgetc_specs.spec import Spec

from tests.targets.rpc_servers import Farm, Process, rpc_farm

EXAMPLE = Path(__file__).parents[2] / "specs" / "examples" / "mnist"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(platform.machine() != "x86_64", reason="not an x86-64 machine"),
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="TVM's wheel wants glibc"),
]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, zig_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No records of earlier runs, but zig's own files."""
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "zig").symlink_to(zig_cache / "zig")
    monkeypatch.setenv("BUDGETC_CACHE", str(tmp_path / "cache"))


def _spec(folder: Path, farm: Farm, trials: int) -> Spec:
    with np.load(EXAMPLE / "evaluation.npz") as labelled:
        np.savez(folder / "few.npz", **{key: labelled[key][:50] for key in labelled.files})
    return Spec.model_validate(
        {
            "model": EXAMPLE / "mnist5k_cnn.onnx",
            "inputs": {"input": {"shape": [1, 1, 28, 28]}},
            "data": {"evaluation": folder / "few.npz"},
            "budgets": {"latency": "50 ms", "quality": {"drop": "2 pp"}},
            "targets": {"board": {"kind": "x86-64", "cpu": probe().cpu, "runner": farm.address}},
            "passes": "clean | fuse",
            "search": {"trials": trials},
            "output": {"name": "model"},
        }
    )


def _dies_at_work(server: Process, session: int) -> threading.Thread:
    """Kill a server when it has begun with so many programs: in the middle of what the last of them does."""

    def watch() -> None:
        while server.said.count("load_module") < session:
            time.sleep(0.02)
        server.kill()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_two_boards_tune_a_model_and_one_dies(tmp_path: Path) -> None:
    with rpc_farm(tmp_path) as farm:
        stays, dies = farm.servers
        _dies_at_work(dies, session=2)
        result = budgetc.compile(_spec(tmp_path, farm, trials=4), out=tmp_path / "out")
        served = stays.said.count("load_module")
    assert result.exit_code == 0
    (target,) = result.targets
    assert target.chosen
    measurement = target.chosen.measurement
    assert measurement
    assert measurement.latency
    assert not measurement.emulated
    tuned = target.chosen.parts["tuned"]
    assert tuned["how"].startswith("measured on ")
    machines = {m for record in target.chosen.schedules for m in record["machines"]}
    assert machines == {stays.address, dies.address}, "both did work"
    (lost,) = tuned["notes"]
    assert dies.address in lost
    assert served > dies.said.count("load_module")
    assert any(len(record["times"]) > 1 for record in target.chosen.schedules)
    records = [p.read_text() for p in (tmp_path / "cache" / "records").rglob("*.json")]
    assert all(re.search(r'"machines": \["127', text) for text in records)


def test_all_boards_die(tmp_path: Path) -> None:
    with rpc_farm(tmp_path, servers=1) as farm:
        _dies_at_work(farm.servers[0], session=2)
        with pytest.raises(TargetUnreachableError) as caught:
            budgetc.compile(_spec(tmp_path, farm, trials=4), out=tmp_path / "out")
    assert caught.value.exit_code == 8
    assert not (tmp_path / "out" / "board").exists()
    kept = [p.read_text() for p in (tmp_path / "cache" / "records").rglob("*.json")]
    assert kept, "what was measured before is not lost"
