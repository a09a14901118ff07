"""Atomic files and folders: what is killed half-way leaves the old content or the new one."""

import hashlib
import json
import random
import subprocess
import sys
import time

import pytest
from budgetc import store
from budgetc.store import (
    Shelf,
    Store,
    check_replaceable,
    file_digest,
    locked_folder,
    recover,
    replace_folder_atomically,
    staging_folder,
    sweep,
    write_atomic,
)
from budgetc_specs.errors import SpecError
from hypothesis import given, settings
from hypothesis import strategies as st

FILES = 12

WRITER = """
import sys
from pathlib import Path
from budgetc import store
if sys.argv[2] == "fallback":
    store._exchange = lambda one, other: False
destination = Path(sys.argv[1])
for n in range(int(sys.argv[3]), 10**9):
    with store.locked_folder(destination):
        new = store.staging_folder(destination)
        for i in range(12):
            (new / f"part{i}").write_text(str(n) * 1000)
        (new / "manifest.json").write_text(str(n))
        store.replace_folder_atomically(new, destination)
    print(n, flush=True)
"""


def artefact(folder, text):
    new = staging_folder(folder)
    (new / "manifest.json").write_text(text)
    (new / "deep").mkdir()
    (new / "deep" / "lib").write_text(text)
    replace_folder_atomically(new, folder)


@pytest.fixture(params=["exchange", "fallback"])
def way(request, monkeypatch):
    if request.param == "fallback":
        monkeypatch.setattr(store, "_exchange", lambda one, other: False)
    return request.param


def test_write_atomic_replaces_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "file"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_write_atomic_keeps_the_old_file_when_it_fails(tmp_path):
    folder = tmp_path / "in-the-way"
    (folder / "x").mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        write_atomic(folder, b"data")
    assert list(tmp_path.iterdir()) == [folder]


def test_store_checks_what_it_reads(tmp_path):
    kept = Store(tmp_path)
    digest = kept.put(b"bytes")
    assert kept.get(digest) == b"bytes"
    assert kept.get("0" * 64) is None
    (tmp_path / digest[:2] / digest[2:]).write_bytes(b"bitten")
    assert kept.get(digest) is None
    assert kept.put(b"bytes") == digest
    assert kept.get(digest) == b"bytes"
    with pytest.raises(AssertionError, match="BUG"):
        kept.get("../../etc/passwd")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(key=JSON, other=JSON, value=JSON.filter(lambda each: each is not None))
def test_a_shelf_gives_back_what_was_put_there(tmp_path_factory, key, other, value):
    shelf = Shelf(tmp_path_factory.mktemp("shelf"))
    assert shelf.get(key) is None
    shelf.put(key, value)
    assert Shelf(shelf.root).get(key) == value
    if json.dumps(other, sort_keys=True) != json.dumps(key, sort_keys=True):
        assert shelf.get(other) is None


def test_a_shelf_does_not_care_for_the_order_of_a_key(tmp_path):
    shelf = Shelf(tmp_path)
    shelf.put({"a": 1, "b": [2]}, {"found": 3})
    assert shelf.get({"b": [2], "a": 1}) == {"found": 3}
    assert len(list(tmp_path.glob("*/*"))) == 1


@pytest.mark.parametrize("damage", [b"", b"{", b"null", b"[]", b'{"value": {"found": 4}}'])
def test_what_is_damaged_is_not_on_the_shelf(tmp_path, damage):
    shelf = Shelf(tmp_path)
    shelf.put("key", {"found": 3})
    shelf.path("key").write_bytes(damage)
    assert shelf.get("key") is None
    shelf.put("key", {"found": 3})
    shelf.path("key").write_bytes(shelf.path("key").read_bytes().replace(b"3", b"4", 1))
    assert shelf.get("key") is None


def test_a_file_has_the_digest_of_its_bytes(tmp_path):
    (tmp_path / "file").write_bytes(b"bytes" * 100_000)
    assert file_digest(tmp_path / "file") == hashlib.sha256(b"bytes" * 100_000).hexdigest()


def test_folder_is_made_replaced_and_nothing_is_left_beside(tmp_path, way):
    folder = tmp_path / "a" / "out"
    artefact(folder, "one")
    (folder / "only-in-one").touch()
    artefact(folder, "two")
    assert (folder / "deep" / "lib").read_text() == "two"
    assert sorted(p.name for p in folder.iterdir()) == ["deep", "manifest.json"]
    assert [p.name for p in folder.parent.iterdir()] == ["out"]


def test_empty_folder_and_link_to_a_folder_are_replaced(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    artefact(tmp_path / "link", "one")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "manifest.json").read_text() == "one"


def test_other_peoples_files_are_refused(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    with pytest.raises(SpecError) as caught:
        artefact(home, "one")
    assert str(caught.value) == (
        f"{home}: the output folder is not empty and holds no manifest.json, so it is not an "
        "artefact\n"
        "  a compilation replaces its output folder as a whole; choose another one with --out."
    )
    assert (home / "thesis.txt").read_text() == "years of work"
    with pytest.raises(SpecError) as caught:
        check_replaceable(home / "thesis.txt")
    assert str(caught.value) == (
        f"{home / 'thesis.txt'}: the output folder is a file\n  choose another folder with --out."
    )


def test_the_lock_is_one(tmp_path):
    folder = tmp_path / "out"
    code = """if 1:
        import sys
        from pathlib import Path
        from budgetc.store import locked_folder
        with locked_folder(Path(sys.argv[1])):
            pass
    """
    with locked_folder(folder):
        other = subprocess.run(
            [sys.executable, "-c", code, folder], capture_output=True, text=True, check=False
        )
    assert (
        f"{folder}: another compilation is writing to this folder\n  wait for it to end, or choose "
        "another folder with --out." in other.stderr
    )
    assert subprocess.run([sys.executable, "-c", code, folder], check=False).returncode == 0


def test_a_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file" / "out", tmp_path / "file" / "further" / "out"):
        with pytest.raises(SpecError) as caught, locked_folder(folder):
            pass
        assert str(caught.value) == (
            f"{tmp_path}/file: the output folder would lie in a file\n"
            "  choose another folder with --out."
        )


def test_recovery(tmp_path):
    folder = tmp_path / "out"
    artefact(folder, "one")
    folder.rename(tmp_path / ".out.previous")
    staging_folder(folder)
    sibling = staging_folder(tmp_path / "out.d")
    recover(folder)
    assert (folder / "manifest.json").read_text() == "one"
    assert sorted(p.name for p in tmp_path.iterdir()) == [sibling.name, "out"]


@pytest.mark.parametrize("mode", ["exchange", "fallback"])
def test_kill_leaves_the_old_or_the_new(tmp_path, mode):
    folder = tmp_path / "out"
    chance = random.Random(0)
    last, starved, pace = -1, 0, 0.02
    for _ in range(30):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, folder, mode, str(last + 1)],
            stdout=subprocess.PIPE,
            text=True,
        )
        writer.stdout.readline()
        begin = time.monotonic()
        writer.stdout.readline()
        pace = max(pace, time.monotonic() - begin)
        time.sleep(chance.uniform(0, 2 * pace))  # anywhere in the next swap, or in the one after
        writer.kill()
        said = [last + 1, last + 2, *map(int, writer.communicate()[0].split())]
        if mode == "exchange":  # whole at once, without anyone's recovery
            whole = (folder / "manifest.json").read_text() * 1000
            assert (folder / f"part{FILES - 1}").read_text() == whole
        with locked_folder(folder):
            number = int((folder / "manifest.json").read_text())
            assert sorted(p.name for p in folder.iterdir()) == sorted(
                ["manifest.json", *(f"part{i}" for i in range(FILES))]
            )
            for i in range(FILES):
                assert (folder / f"part{i}").read_text() == str(number) * 1000
            assert number in {max(said), max(said) + 1}
            assert {p.name for p in tmp_path.iterdir()} == {"out", ".out.lock"}
        starved += number == last + 2
        last = number
    assert starved < 30


def test_what_killed_writers_left_of_a_file_is_swept_away(tmp_path):
    kept = [tmp_path / name for name in ("a.json", ".a.json.new", ".b.json.0011223344556677.new")]
    for path in (*kept, tmp_path / ".a.json.0011223344556677.new"):
        path.write_text("x")
    sweep(tmp_path / "a.json")
    assert sorted(tmp_path.iterdir()) == sorted(kept)
