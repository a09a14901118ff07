"""Who is right where the library and onnxruntime differ."""

import time

import numpy as np
import pytest
from budgetc.verification import oracle
from budgetc.verification.cases import Case
from budgetc.verification.oracle import Oracle
from budgetc_specs.errors import ModelError

CANCELS = """g (float[1,64] x) => (float[1,64] y) <float big = {1000.0}>
{ a = Add(x, big) b = Sub(a, big) y = Exp(b) }"""

ROUNDS = "g (float[1,64] x) => (float[1,64] y) { e = Exp(x) y = Round(e) }"


def inputs(steps=4):
    return {"x": np.random.default_rng(1).uniform(-1, 1, (steps, 64)).astype(np.float32)}


def test_what_cancellation_amplifies_is_excepted_and_counted(differing, make_model) -> None:
    model = make_model(CANCELS)
    seen = differing(model, lambda y: y * np.float32(1 + 5e-5)).compare(Case("real", inputs()))
    assert seen.agreement.agrees
    assert seen.agreement.outputs[0].excepted > 0
    wrong = differing(model, lambda y: y * np.float32(1 + 1e-2)).compare(Case("real", inputs()))
    assert not wrong.agreement.agrees
    assert wrong.failing["x"].shape == (1, 64)


def test_without_cancellation_there_is_no_such_excuse(differing, make_model) -> None:
    model = make_model("g (float[1,64] x) => (float[1,64] y) { y = Exp(x) }")
    seen = differing(model, lambda y: y * np.float32(1 + 5e-5)).compare(Case("real", inputs()))
    assert not seen.agreement.agrees


def test_a_tie_may_go_either_way_and_nothing_else_may(differing, make_model) -> None:
    model = make_model(ROUNDS)
    tie = {"x": np.full((1, 64), np.log(np.float32(1.5)), np.float32)}
    flipped = differing(model, lambda y: 3 - y).compare(Case("ties", tie))  # 1 for 2, 2 for 1
    assert flipped.agreement.agrees
    assert flipped.agreement.outputs[0].excepted == 64
    clear = {"x": np.full((1, 64), np.log(np.float32(1.4)), np.float32)}
    assert not differing(model, lambda y: y + 1).compare(Case("clear", clear)).agreement.agrees


def test_onnx_s_definition_is_the_judge_of_onnxruntime(differing, make_model, monkeypatch) -> None:
    model = make_model("g (float[1,64] x) => (float[1,64] y) { y = Exp(x) }")
    right = differing(model, lambda y: y)

    def spoilt(self, feed):
        return {"y": np.exp(feed["x"]) * 2}

    monkeypatch.setattr(oracle.Oracle, "infer", spoilt)
    report = right.verify(inputs(), seconds=0)
    assert report.agrees
    assert report.against_reference == 4
    assert report.excepted == 4 * 64
    assert "onnxruntime was wrong" in str(report)


def test_where_onnxruntime_cannot_run_it_onnx_s_evaluator_is_the_reference(
    make_model, monkeypatch
) -> None:
    def refuses(*_, **__):
        raise ModelError("onnxruntime does not load the model: no kernel")

    model = make_model("g (float[1,64] x) => (float[1,64] y) { y = Exp(x) }")
    monkeypatch.setattr(oracle, "make_session", refuses)
    reference = Oracle(model)
    assert reference.name == "onnx's reference evaluator"
    feed = {"x": inputs(1)["x"]}
    np.testing.assert_allclose(reference.infer(feed)["y"], np.exp(feed["x"]), rtol=1e-6)


@pytest.mark.parametrize("seconds", [0.0, 20.0])
def test_what_time_does_not_allow_is_named(differing, make_model, seconds) -> None:
    model = make_model("g (float[1,64] x) => (float[1,64] y) { y = Exp(x) }")
    said = []
    report = differing(model, lambda y: y).verify(inputs(), seconds=seconds, say=said.append)
    assert report.agrees
    assert report.cases[0].name == "real inputs"
    assert said[0] == "comparing real inputs"
    names = {s.name for s in report.skipped if "were up" in s.why}
    assert ("zeros" in names) == (seconds == 0)
    assert "zeros: not compared" in str(report) or seconds
    assert report.to_json()["reference"] == "onnxruntime"


def test_what_the_arbiter_takes_keeps_no_inputs_out(differing, make_model, monkeypatch) -> None:
    model = make_model("g (float[1,64] x) => (float[1,64] y) { y = Exp(x) }")
    seen = differing(model, lambda y: y * np.float32(1 + 5e-5))
    run = seen._arbiter._after_noise

    def slow(*arguments):
        time.sleep(0.3)
        return run(*arguments)

    monkeypatch.setattr(seen._arbiter, "_after_noise", slow)
    report = seen.verify(inputs(1), seconds=1.0)
    assert not any("were up" in s.why for s in report.skipped), str(report)
    monkeypatch.setattr("budgetc.verification.verifier.EXPLAINING", 0.1)
    report = seen.verify(inputs(1), seconds=1.0)
    assert any("were up" in s.why for s in report.skipped)
