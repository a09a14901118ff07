"""The result's JSON is read as it is written, with any key absent, and refused in words where it is none."""

import json
import math

import pytest
from budgetc.report.document import parse_result, read_result
from budgetc_specs.errors import ModelError, SpecError


def test_everything_is_read(both):
    document = parse_result(json.loads(json.dumps(both)))
    host, pi = document.targets
    assert host.chosen == host.shown == host.trials[2]
    assert host.shown_index == 2
    assert pi.chosen is None
    assert pi.nearest == pi.trials[0], "0.25 over the size is nearer than 17 times the quality"
    assert pi.proof.points[1].reached == 0.09
    assert [t.built for t in host.trials[:5]] == [False, True, True, True, False]
    assert host.pays[1].step == "prune{ratio=0.125}"
    assert host.pays[0].with_["size"] == 45168


def test_all_but_the_version_may_be_absent():
    assert parse_result({"budgetc": 1}).targets == ()
    target = parse_result({"budgetc": 1, "targets": [{"trials": [{}]}]}).targets[0]
    assert target.shown is None
    assert target.trials[0].outcome == ""
    assert target.proof is None


def test_words_or_numbers():
    layers = [{"bits": 8}, {"bits": 8.0}, {"bits": "bf16"}, {"bits": None}, {}]
    effects = [{"level": 0.5}, {"level": True}, {"level": "int8"}]
    target = {"layers": layers, "sensitivity": effects}
    found = parse_result({"budgetc": 1, "targets": [target]}).targets[0]
    assert [layer.bits for layer in found.layers] == ["8", "8", "bf16", "", ""]
    assert [effect.level for effect in found.sensitivity] == ["0.5", "True", "int8"]


def test_null_is_absent_and_what_is_not_finite_is_no_figure(searched):
    target = searched["targets"][0]
    target["search"] = target["certificate"] = None
    target["trials"][1]["verdicts"][0]["excess"] = math.inf
    target["trials"][1]["measurement"]["latency"]["seconds"]["onnxruntime"] = math.nan
    target["layers"][0]["seconds"] = math.nan
    found = parse_result(searched).targets[0]
    assert found.search is None
    assert found.certificate == ""
    assert found.trials[1].verdicts[0].excess == 0
    assert "onnxruntime" not in found.trials[1].measurement.latency.seconds
    assert found.layers[0].seconds is None


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "budgetc: Field required"),
        ({"budgetc": 2}, "budgetc: Input should be 1"),
        ({"budgetc": 1, "targets": [{"trials": [{"recipe": []}]}]}, "targets.0.trials.0.recipe"),
        ([], "all of it"),
    ],
)
def test_what_is_no_result_is_refused_in_words(value, said):
    with pytest.raises(ModelError, match="is not the result of a compilation") as caught:
        parse_result(value, "x.json")
    assert said in str(caught.value)
    assert "compile the model again" in str(caught.value)


def test_a_file_or_its_folder(tmp_path):
    file = tmp_path / "result.json"
    file.write_text('{"budgetc": 1}')
    assert read_result(tmp_path) == read_result(file) == ({"budgetc": 1}, file)
    (tmp_path / "host").mkdir()
    with pytest.raises(SpecError, match="did you mean"):
        read_result(tmp_path / "host")
    with pytest.raises(SpecError, match="give the output folder"):
        read_result(tmp_path / "nothing.json")


@pytest.mark.parametrize("text", ["", "{", "[]", "\xff", "[" * 200_000])
def test_a_damaged_file(tmp_path, text):
    file = tmp_path / "result.json"
    file.write_text(text, encoding="latin-1")
    with pytest.raises(ModelError, match="holds no JSON"):
        read_result(file)
