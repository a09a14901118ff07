"""`budgetc lock` and `compile --locked`: exit codes, and what they say."""

import json
import re
import shutil

import jsonschema
import numpy as np
import onnx
import pytest
from budgetc.ci.schema import result_schema
from budgetc.cli.lock import locked_mode
from onnx import helper, numpy_helper


def test_a_lock_from_beginning_to_end(budgetc_cli, tiny):
    out = tiny.parent / "out"
    done = budgetc_cli("lock", tiny, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "tiny.lock, written" in done.stderr.replace("spec.lock", "tiny.lock")
    lock = tiny.with_suffix(".lock")
    text = lock.read_text()
    again = budgetc_cli("compile", tiny, "--locked", "--out", tiny.parent / "again", "--json")
    assert again.returncode == 0, again.stderr
    (target,) = json.loads(again.stdout)["targets"]
    assert target["folder"].endswith("again/host")
    assert lock.read_text() == text

    changed = budgetc_cli("compile", tiny, "--locked", "--set", "budgets.size=60 KiB")
    assert changed.returncode == 5
    assert "spec budgets.size.max_bytes: 64 KiB in the lock, 60 KiB now" in changed.stderr
    assert "budgetc lock" in changed.stderr

    (tiny.parent / "tiny.onnx").unlink()
    frozen = budgetc_cli("compile", tiny, "--frozen", "-q", "--out", tiny.parent / "frozen")
    assert (frozen.returncode, frozen.stdout, frozen.stderr) == (0, "", "")
    assert (tiny.parent / "frozen" / "host" / "libtiny.so").read_bytes() == (
        out / "host" / "libtiny.so"
    ).read_bytes()


def test_no_lock_is_told(budgetc_cli, tiny):
    done = budgetc_cli("compile", tiny, "--locked")
    assert done.returncode == 5
    assert "there is no lock to be read" in done.stderr


def test_a_lock_that_nobody_asked_for(budgetc_cli, tiny):
    done = budgetc_cli("compile", tiny, "--lock", "spec.lock")
    assert done.returncode == 2
    assert "--lock without --locked or --frozen" in done.stderr


def test_another_lock_is_another_request(tmp_path):
    plain = locked_mode(None, frozen=False)
    other = locked_mode(tmp_path / "other.lock", frozen=False)
    assert len({plain, other, locked_mode(None, frozen=True)}) == 3


@pytest.fixture(scope="module")
def locked_once(tmp_path_factory, budgetc_cli, make_tiny):
    """The tiny model, locked, with budgets against that lock."""
    spec = make_tiny(tmp_path_factory.mktemp("locked"))
    text = spec.read_text()
    locked = budgetc_cli("lock", spec, "--out", spec.parent / "out", "-q")
    assert locked.returncode == 0, locked.stderr
    allowed = "size: 2 %, memory: 2 %, latency: 10000 %, quality: 1 pp"
    lines = f"  max_regression: {{baseline: spec.lock, {allowed}}}\npasses"
    spec.write_text(text.replace("passes", lines))
    return spec.parent


@pytest.fixture
def against_its_lock(locked_once, tmp_path):
    """The same in a folder of the test's own."""
    shutil.copytree(locked_once, tmp_path / "tiny", ignore=shutil.ignore_patterns("out"))
    return tmp_path / "tiny" / "spec.yaml"


def statuses(result):
    (target,) = result["targets"]
    (trial,) = target["trials"]
    return {v["budget"]: v["status"] for v in trial["verdicts"]}


def test_what_has_not_become_worse_passes(budgetc_cli, against_its_lock):
    spec = against_its_lock
    checked = budgetc_cli("check", spec)
    assert "at most 2 % above spec.lock" in checked.stdout, checked.stderr
    done = budgetc_cli("compile", spec, "--out", spec.parent / "now", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    jsonschema.validate(result, result_schema())
    found = statuses(result)
    assert {s for name, s in found.items() if name.endswith("_regression")} == {"PASS"}
    assert len(found) == 6
    assert (
        str(spec.with_suffix(".lock"))
        in json.loads((spec.parent / "now" / "stamp.json").read_text())["inputs"]
    )


def test_a_regression_breaks_the_build_with_the_verdict(budgetc_cli, against_its_lock, tmp_path):
    """The model is trained anew and has three times the weights."""
    spec = against_its_lock
    file = spec.parent / "tiny.onnx"
    model = onnx.load(file)
    (held,) = model.graph.initializer
    weights = numpy_helper.to_array(held)
    wide = np.random.default_rng(1).standard_normal((len(weights), 64)).astype(np.float32)
    narrow = np.linalg.pinv(wide) @ weights
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.initializer.extend(
        [numpy_helper.from_array(wide, "a"), numpy_helper.from_array(narrow, "b")]
    )
    model.graph.node.extend(
        [
            helper.make_node("Gemm", ["x", "a"], ["h"], name="wide"),
            helper.make_node("Gemm", ["h", "b"], ["y"], name="narrow"),
        ]
    )
    onnx.save(model, file)
    files = {kind: tmp_path / kind for kind in ("junit", "markdown", "sarif")}
    options = [word for kind, path in files.items() for word in (f"--{kind}", path)]
    done = budgetc_cli("compile", spec, "--out", spec.parent / "now", *options)
    assert done.returncode == 1
    assert re.search(r"size_regression .* FAIL", done.stdout)
    assert re.search(
        r"size regression: .* KiB, [\d.]+ % more than the .* of spec.lock", done.stdout
    )
    assert not (spec.parent / "now" / "host").exists()
    assert 'name="size_regression"' in files["junit"].read_text()
    assert "size regression: " in files["markdown"].read_text()
    assert "budget-size-regression" in files["sarif"].read_text()


def test_latencies_of_another_machine_are_not_judged_and_all_else_is(budgetc_cli, against_its_lock):
    spec = against_its_lock
    lock = spec.with_suffix(".lock")
    other = re.sub(r"\nfingerprint = .*", '\nfingerprint = "another"', lock.read_text())
    lock.write_text(re.sub(r"\ncpu = .*", '\ncpu = "Another CPU"', other))
    done = budgetc_cli("compile", spec, "--out", spec.parent / "now", "--json")
    assert done.returncode == 1
    found = statuses(json.loads(done.stdout))
    assert found.pop("latency_regression") == "UNDECIDED"
    assert set(found.values()) == {"PASS"}
    assert 'was measured on "Another CPU"' in done.stderr
