"""A task on another machine: its files are there under their content's name; another budgetc is turned away."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from budgetc.provenance import code_digest
from budgetc.search.remote import Maker, _here, run_remote
from budgetc.search.tasks import Task
from budgetc_specs.errors import EnvironmentError_


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("BUDGETC_CACHE", str(tmp_path / "cache"))


def test_who_makes_tasks():
    assert Maker.here() == Maker(version("budgetc"), code_digest())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "0.0.7"}, "install budgetc==0.0.7 where the workers run"),
        ({"code": "0" * 64}, "but other sources, plugins or libraries under it"),
    ],
)
def test_another_budgetc_is_turned_away(change, said):
    with pytest.raises(EnvironmentError_, match=said) as raised:
        run_remote(Task("search_probes:square", {"number": 1}), replace(Maker.here(), **change), ())
    assert raised.value.exit_code == 4
    assert version("budgetc") in raised.value.message


def test_a_file_keeps_its_suffix_and_is_written_once():
    one = _here(b"abc", ".npz")
    inode = one.stat().st_ino
    assert (one.suffix, one.read_bytes()) == (".npz", b"abc")
    assert _here(b"abc", ".npz") == one
    assert one.stat().st_ino == inode
    assert _here(b"abc", ".onnx").read_bytes() == b"abc"
    assert _here(b"abd", ".npz") != one


def test_a_damaged_file_is_made_again():
    one = _here(b"abc", ".npz")
    one.write_bytes(b"xyz")
    assert _here(b"abc", ".npz").read_bytes() == b"abc"


def test_many_tasks_may_bring_the_same_file(tmp_path):
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda n: _here(b"abc", ".npz"), range(64)))
    assert len(set(found)) == 1
    names = {p.name for p in Path(found[0]).parent.iterdir()}
    assert names == {found[0].name, found[0].stem}
