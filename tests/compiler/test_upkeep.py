"""Caches as they are found: listed, freed from the least recently used on, damage told from what a kill has left."""

import hashlib
import json
import os
import threading

import pytest
from budgetc.cache import alone_with_cache, using_cache
from budgetc.store import Shelf, Store
from budgetc.upkeep import collect, entries, verify_cache

NOW = 1_000_000.0


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache with a finding, a kernel, a blob, zig's files and a search under way."""
    monkeypatch.setenv("BUDGETC_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache"
    Shelf(folder / "simulations").put({"a": 1}, {"size": 3})
    Store(folder / "remote").put(b"blob")
    code = b"code"
    head = {"tasks": 0, "scratch": 0, "sha256": hashlib.sha256(code).hexdigest()}
    kernel = folder / "kernels" / "sheet" / "ab" / "cd.kernel"
    kernel.parent.mkdir(parents=True)
    kernel.write_bytes(json.dumps(head).encode() + b"\n" + code)
    for name in ("zig/o/1/x.o", "zig/h/1.txt", "searches/one/journal.jsonl", "logs/crash.log"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x" * 100)
    (folder / "searches" / "one" / "journal.jsonl").write_text("")
    (folder / "searches" / ".one.lock").touch()
    return folder


def used(path, seconds_ago):
    for file in [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]:
        os.utime(file, (NOW - seconds_ago, NOW - seconds_ago))


def by_room(cache):
    return {entry.room: entry for entry in entries(cache)}


def test_every_room_is_listed(cache):
    found = by_room(cache)
    assert list(found) == ["kernels", "logs", "remote", "searches", "simulations", "zig"]
    assert len(entries(cache)) == 6
    assert found["zig"].size == 200
    assert entries(cache / "nowhere") == ()


def test_the_least_recently_used_goes_first(cache):
    for entry in entries(cache):
        used(entry.path, 10)
    used(cache / "zig", 300)
    used(cache / "kernels", 200)
    total = sum(entry.size for entry in entries(cache))
    removed = collect(cache, most_bytes=total - 201, now=NOW)
    assert [entry.room for entry in removed.entries] == ["zig", "kernels"]
    assert removed.size == total - sum(entry.size for entry in entries(cache))
    assert not (cache / "zig").exists()
    assert not list(cache.glob(".*.finished"))


def test_what_is_old_goes_and_the_rest_stays(cache):
    for entry in entries(cache):
        used(entry.path, 10)
    used(cache / "logs", 1000)
    assert [e.room for e in collect(cache, older_seconds=500, now=NOW).entries] == ["logs"]
    assert collect(cache, now=NOW).entries == ()


def test_what_a_build_holds_stays(cache):
    for entry in entries(cache):
        used(entry.path, 10)
    with using_cache():
        removed = collect(cache, most_bytes=0, now=NOW)
        assert removed.kept == ("remote", "searches", "zig")
        assert set(by_room(cache)) == {"remote", "searches", "zig"}
    assert collect(cache, most_bytes=0, now=NOW).kept == ()
    assert entries(cache) == ()


def test_a_build_waits_for_who_cleans_up(cache):
    begun, order = threading.Event(), []

    def build():
        begun.set()
        with using_cache():
            order.append("build")

    thread = threading.Thread(target=build)
    with alone_with_cache(cache) as alone:
        assert alone
        thread.start()
        begun.wait()
        thread.join(0.2)
        order.append("cleaned")
    thread.join()
    assert order == ["cleaned", "build"]


def test_a_whole_cache_is_clean(cache):
    assert verify_cache(cache) == ()


@pytest.mark.parametrize("room", ["kernels", "simulations", "remote"])
def test_damage_is_found_and_removed(cache, room):
    path = by_room(cache)[room].path
    data = path.read_bytes()
    path.write_bytes(data[:-2])
    (damage,) = verify_cache(cache)
    assert damage.entry.path == path
    assert damage.why
    assert path.exists()
    verify_cache(cache, repair=True)
    assert not path.exists()
    assert verify_cache(cache) == ()


def test_half_written_files_are_no_damage_and_go_when_they_are_old(cache):
    partial = cache / "simulations" / ".x.json.0123456789abcdef.new"
    partial.write_text("{")
    assert verify_cache(cache) == ()
    used(partial, 60)
    assert partial not in {e.path for e in collect(cache, now=NOW).entries}
    used(partial, 7200)
    assert partial in {e.path for e in collect(cache, now=NOW).entries}


def test_a_journal_may_end_early_but_not_be_wrong_in_the_middle(cache):
    from budgetc.search.journal import Journal

    folder = cache / "searches" / "two"
    journal = Journal(folder)
    journal.write("a", "1", 1)
    journal.write("a", "2", 2)
    journal.close()
    file = folder / "journal.jsonl"
    text = file.read_bytes()
    file.write_bytes(text[:-3])
    assert verify_cache(cache) == ()
    file.write_bytes(b"0" + text[1:] if text[:1] != b"0" else b"1" + text[1:])
    (damage,) = verify_cache(cache)
    assert damage.why == "line 1 is damaged"
