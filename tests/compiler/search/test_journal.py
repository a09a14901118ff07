"""The journal survives what befalls files: cuts at any byte, damage, kills, two runs at once."""

import dataclasses
import math
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping

import pytest
from budgetc.build import write_models
from budgetc.compile import _inquiry, load_inputs
from budgetc.figures import Figures
from budgetc.measure.latency import Interval
from budgetc.search.builder import Builder
from budgetc.search.journal import Journal
from budgetc.verdict import Verdict
from budgetc_specs.document import load_spec
from budgetc_specs.errors import EnvironmentError_
from budgetc_specs.recipe import parse_recipe
from hypothesis import given, settings
from hypothesis import strategies as st


def lines(folder):
    return (folder / "journal.jsonl").read_bytes()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "searches" / "one"


def written(folder, count=4):
    """A journal of some lines, closed."""
    journal = Journal(folder)
    for n in range(count):
        journal.write("kind", f"key {n}", {"n": [n, "text\n\r\u2028 é", None, 0.1]})
    journal.close()
    return lines(folder)


def values(folder):
    journal = Journal(folder)
    try:
        return [journal.value("kind", f"key {n}") for n in range(4)]
    finally:
        journal.close()


def test_what_is_written_is_read(folder):
    journal = Journal(folder)
    assert not journal.resumed
    journal.close()
    whole = written(folder)
    journal = Journal(folder)
    assert journal.resumed
    assert journal.value("kind", "key 3") == {"n": [3, "text\n\r\u2028 é", None, 0.1]}
    assert journal.value("kind", "another") is None
    asked = []
    for _ in range(2):
        assert journal.once("peers", lambda: asked.append(1) or {"a": 1.5}) == {"a": 1.5}
    journal.close()
    again = Journal(folder)
    assert again.once("peers", lambda: asked.append(2)) == {"a": 1.5}
    assert asked == [1]
    again.close()
    assert lines(folder).startswith(whole)


def test_a_last_line_cut_anywhere_costs_that_line_alone(folder):
    whole = written(folder)
    begin = whole.rfind(b"\n", 0, -1) + 1
    expected = values(folder)
    for end in range(begin, len(whole)):
        (folder / "journal.jsonl").write_bytes(whole[:end])
        assert values(folder) == [*expected[:3], None]
        assert lines(folder) == whole[:begin]
        journal = Journal(folder)  # what is written next stands for itself
        journal.write("kind", "key 3", expected[3])
        journal.close()
        assert lines(folder) == whole


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_flipped_bit_costs_its_line_or_two(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("journal") / "one"
    whole = written(folder)
    expected = values(folder)
    at = data.draw(st.integers(0, len(whole) - 1))
    damaged = bytearray(whole)
    damaged[at] ^= 1 << data.draw(st.integers(0, 7))
    (folder / "journal.jsonl").write_bytes(damaged)
    found = values(folder)
    lost = [n for n in range(4) if found[n] != expected[n]]
    assert all(found[n] is None for n in lost)
    # Without its end a line is one with the next.
    assert len(lost) == (2 if whole[at : at + 1] == b"\n" and lost != [3] else 1)
    assert values(folder) == found
    shutil.rmtree(folder.parent)


def test_another_run_of_the_same_search_is_waited_for(folder):
    first, told, got = Journal(folder), [], []
    first.write("kind", "key 0", 1)

    def second():
        journal = Journal(folder, lambda: told.append("waiting"))
        got.append(journal.value("kind", "key 0"))
        journal.close()

    thread = threading.Thread(target=second)
    thread.start()
    time.sleep(1.0)
    assert (told, got) == (["waiting"], [])
    first.close()
    thread.join(timeout=30)
    assert got == [1]


def test_whoever_waited_for_a_search_that_finished_begins_anew(folder):
    first, got = Journal(folder), []
    first.write("kind", "key 0", 1)

    def second():
        journal = Journal(folder)
        journal.write("kind", "key 1", 2)
        got.append(journal.resumed)
        journal.finish()

    thread = threading.Thread(target=second)
    thread.start()
    time.sleep(0.5)
    first.finish()
    thread.join(timeout=30)
    assert not thread.is_alive()
    assert list(folder.parent.iterdir()) == []


def test_waiting_can_be_interrupted(folder):
    journal = Journal(folder)
    code = "import sys; from pathlib import Path; from budgetc.search.journal import Journal\n"
    code += "Journal(Path(sys.argv[1]), lambda: print('waiting', flush=True))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, folder],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "waiting\n"
    process.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in process.communicate(timeout=30)[1]
    journal.close()


def test_a_finished_search_leaves_nothing(folder):
    journal = Journal(folder)
    journal.write("kind", "key 0", 1)
    (folder / "library").mkdir()
    (folder / "library" / "lib.so").write_bytes(b"x")
    journal.close()
    journal.finish()
    assert list(folder.parent.iterdir()) == []
    journal.finish()
    assert not Journal(folder).resumed


def test_what_another_run_has_taken_up_is_left_to_it(folder):
    first = Journal(folder)
    first.write("kind", "key 0", 1)
    first.close()
    second = Journal(folder)
    first.finish()
    assert second.value("kind", "key 0") == 1
    assert lines(folder)
    second.close()


def test_where_it_cannot_write(tmp_path):
    (tmp_path / "searches").write_text("a file")
    with pytest.raises(EnvironmentError_, match="cannot be written down") as raised:
        Journal(tmp_path / "searches" / "one")
    assert "BUDGETC_CACHE" in raised.value.repair


WRITER = """
import sys
from pathlib import Path
from budgetc.search.journal import Journal

journal = Journal(Path(sys.argv[1]))
n = 0
while journal.value("kind", str(n)) is not None:
    n += 1
print("begun", flush=True)
while True:
    journal.write("kind", str(n), ["x" * (n % 7) * 1000, n])
    print(n, flush=True)
    n += 1
"""


def test_a_killed_writer_loses_at_most_the_line_under_way(folder):
    draw = random.Random(3)
    acknowledged = -1
    for _ in range(6):
        process = subprocess.Popen([sys.executable, "-c", WRITER, folder], stdout=subprocess.PIPE)
        assert process.stdout.readline() == b"begun\n"
        time.sleep(draw.uniform(0.0, 0.2))
        process.kill()
        said = process.communicate()[0].split(b"\n")[:-1]  # the last one may be cut off
        acknowledged = max([acknowledged, *map(int, said)])
        journal = Journal(folder)
        known = [journal.value("kind", str(n)) for n in range(acknowledged + 3)]
        journal.close()
        assert [v and v[1] for v in known[: acknowledged + 1]] == list(range(acknowledged + 1))
        assert known[acknowledged + 2] is None
        if known[acknowledged + 1] is not None:  # written, and killed before it could be said
            acknowledged += 1
    assert acknowledged > 0


@pytest.fixture(scope="module")
def made(tmp_path_factory, zig_cache, make_tiny):
    """A candidate with a library, really built and measured."""
    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BUDGETC_CACHE", str(zig_cache))
        spec = load_spec(make_tiny(folder), ())
        model, splits, metric = load_inputs(spec)
        file, scratch = folder / "model.onnx", folder / "scratch"
        write_models(model, file)
        scratch.mkdir()
        inquiry = _inquiry(spec, "host", model, file, splits, metric, scratch, lambda _: None)
        builder = Builder(inquiry.job, inquiry.reference, inquiry.budgets, inquiry.runner, scratch)
        trial, built = builder.measure(parse_recipe("clean | fuse"), lambda _: None)
    assert built is not None
    figures = Figures(1, 2, 1e-6, 5e-7, 2e-6, 0.1, -0.1, 0.3, 0.9, 0.95, 0.01, compact=True)
    return dataclasses.replace(trial, origin="as it is", predicted=figures), built


def plain(value):
    """The same with lists for tuples: what JSON has of a value whose type says no more."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(each) for key, each in value.items()}
    return [plain(each) for each in value] if isinstance(value, list | tuple) else value


def test_a_candidate_and_its_library_come_back_as_they_were(folder, made):
    trial, built = made
    assert trial.measurement
    assert trial.verdicts
    assert trial.agreement
    assert trial.parts["layers"]
    assert trial.ledger
    journal = Journal(folder)
    kept = journal.keep("key", trial, built)
    journal.close()
    for _ in range(2):  # what was read is read again
        journal = Journal(folder)
        again, library = journal.trial("key")
        journal.close()
        assert plain(again) == plain(trial)
        assert type(again.measurement) is type(trial.measurement)
        assert again.measurement == trial.measurement
        assert again.verdicts == trial.verdicts
        assert again.predicted == trial.predicted
        assert library == kept
        assert journal.measured == 1
    assert library.library.read_bytes() == built.library.read_bytes()
    assert library.header.read_bytes() == built.header.read_bytes()
    assert library.entries == built.entries
    assert library.interface == built.interface
    assert library.optimised.model.digest == built.optimised.model.digest
    assert library.optimised.recipe == built.optimised.recipe
    assert library.seconds == built.seconds


def test_a_candidate_without_a_library(folder, made):
    trial = dataclasses.replace(
        made[0],
        outcome="infeasible",
        verdicts=(
            Verdict("latency", 1.0, None, None, math.inf, "FAIL", "it does not end", "seconds"),
            Verdict(
                "quality", 0.01, 0.5, Interval(-math.inf, math.inf), 49.0, "FAIL", "far", "fraction"
            ),
        ),
    )
    journal = Journal(folder)
    assert journal.keep("key", trial, None) is None
    journal.close()
    journal = Journal(folder)
    again, library = journal.trial("key")
    assert (again.verdicts, again.excess, library) == (trial.verdicts, math.inf, None)
    assert journal.trial("another") is None
    journal.close()


@pytest.mark.parametrize("damage", ["changed", "shorter", "missing", "more", "no folder"])
def test_a_damaged_library_is_none(folder, made, damage):
    journal = Journal(folder)
    kept = journal.keep("key", *made)
    if damage == "no folder":
        shutil.rmtree(kept.folder)
    elif damage == "more":
        (kept.folder / "stray").touch()
    elif damage == "missing":
        kept.header.unlink()
    else:
        data = bytearray(kept.library.read_bytes())
        data[len(data) // 2] ^= 1
        kept.library.write_bytes(data if damage == "changed" else data[:-1])
    found = journal.trial("key")
    assert found is None or found[1] is None  # so that it is made again
    again = journal.keep("key", *made)  # in the place of what was there
    assert journal.trial("key") == (journal.trial("key")[0], again)
    journal.close()
    assert sorted(p.name for p in folder.iterdir()) == ["journal.jsonl", "key"]
