"""Results kept for runs that waited: found again by the same question, and only while the artefact is the one meant."""

import time

from budgetc.answers import Answers, question
from budgetc.compile import compile as compile_
from budgetc_specs.document import load_spec


def test_a_result_is_found_while_its_artefact_is_there(tiny, tmp_path, monkeypatch, zig_cache):
    monkeypatch.setenv("BUDGETC_CACHE", str(zig_cache))
    spec, out = load_spec(tiny, ()), tmp_path / "out"
    begin = time.time()
    result = compile_(spec, out=out)
    asked = question(spec, {"model": "0"}, ["host"], out)
    answers = Answers(tmp_path / "answers")
    assert answers.recall(asked, begin) is None
    answers.keep(asked, result)
    known = answers.recall(asked, begin)
    assert known is not None
    assert known.to_json() == result.to_json()
    assert answers.recall(asked, time.time() + 60) is None
    assert answers.recall({**asked, "code": "other"}, begin) is None
    (out / "host" / "libtiny.so").write_bytes(b"")
    assert answers.recall(asked, begin) is None


def test_the_question_is_what_decides(tiny, tmp_path):
    def asked(*overrides, out="out"):
        return question(load_spec(tiny, overrides), {}, ["b", "a"], tmp_path / out)

    assert asked() == asked()
    assert asked() != asked("budgets.size=1 KiB")
    assert asked() != asked(out="other")
    assert asked()["targets"] == ["a", "b"]
