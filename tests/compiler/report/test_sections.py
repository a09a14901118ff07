"""The tables of a target: certificate, layers, sensitivity, memory, peers, facts."""

from budgetc.report import sections
from budgetc.report.document import parse_result


def target(result):
    return parse_result(result).targets[0]


def texts(table):
    return [[value.text for value in row] for row in table.rows]


def test_the_certificate(infeasible):
    found = sections.certificate(target(infeasible))
    assert found.binding == "size and quality"
    assert found.lines[0] == "No recipe keeps size and quality at once."
    assert found.lines[-1] == "The search ended: all 40 candidates were tried"
    size, quality = found.points
    assert (size.budget, size.limit, size.reached, size.trial) == ("size", "64 KiB", "80 KiB", 1)
    assert (quality.limit, quality.reached) == ("0.5 pp", "9 pp")
    assert found.bounds == (("size", "20 KiB", "code alone"),)


def test_a_certificate_in_words_only(infeasible):
    infeasible["targets"][0]["proof"] = None
    found = sections.certificate(target(infeasible))
    assert found.lines == ("size binds", "quality binds")


def test_no_certificate_where_all_is_well(searched):
    assert sections.certificate(target(searched)) is None


def test_layers(searched):
    found = sections.layers(target(searched), 100)
    assert found.columns[3:] == ("bits", "sparsity", "weights", "MACs", "time", "sensitivity")
    assert texts(found)[1][3:] == ["8", "25 %", "9 KiB", "1,806,336", "12 us", "2.1 pp"]
    assert texts(found)[2][3:] == ["32", "–", "2.5 KiB", "640", "–", "–"]
    assert found.rows[1][7].share == 1
    assert sections.layers(target(searched), 1).left_out == 2


def test_columns_that_nobody_filled_are_not_there(searched):
    for layer in searched["targets"][0]["layers"]:
        layer.pop("seconds", None)
        layer.pop("sparsity", None)
    found = sections.layers(target(searched), 100)
    assert found.columns[3:] == ("bits", "weights", "MACs", "sensitivity")


def test_sensitivity_has_the_dearest_first(searched):
    found = sections.sensitivity(target(searched), 100)
    assert texts(found)[0] == ["prune", "/3/Conv", "0.5", "2.1 pp", "0.2", "9 KiB"]
    assert texts(found)[2] == ["prune", "/6/Conv", "all", "–", "–", "–"]


def test_the_arena(searched):
    drawn, table = sections.arena(target(searched), 100)
    assert (drawn["arena"], drawn["bound"], drawn["calls"]) == (27008, 26944, 5)
    assert [slot["texts"][0] for slot in drawn["slots"]] == ["image", "relu1", "relu2", "pool"]
    assert drawn["slots"][1]["texts"][1:] == ["14.1 KiB at offset 0", "from call 1 to call 2"]
    assert texts(table)[0] == ["image", "14,400", "900", "0", "1"]
    drawn, table = sections.arena(target(searched), 2)
    assert [slot["texts"][0] for slot in drawn["slots"]] == ["relu1", "relu2"]
    assert (table.left_out, drawn["calls"]) == (2, 5)


def test_the_arena_in_words(searched):
    assert sections.arena_text(target(searched)) == (
        "The arena takes 26.4 KiB, 0.238 % over the 26.3 KiB that this order of calls needs at "
        "least; no order of calls needs fewer than 26.3 KiB."
    )


def test_peers(searched):
    found = sections.peers(target(searched))
    assert found.columns == ("runtime", "size", "latency p50", "top1")
    assert texts(found) == [
        ["budgetc, the library", "44.1 KiB", "26 us", "0.979"],
        ["onnxruntime float", "144.9 KiB", "120 us", "0.98"],
        ["onnxruntime int8", "48.7 KiB", "90 us", "–"],
    ]
    searched["targets"][0]["chosen"]["measurement"]["emulated"] = True
    found = sections.peers(target(searched))
    assert found.columns[2] == "latency p50, emulated: not timed"
    assert [row[2].text for row in found.rows] == ["–", "–", "–"]


def test_slices(searched):
    assert texts(sections.slices(target(searched), 100)) == [
        ["night", "60", "0.9", "0.95", "5 pp", "1 pp to 9 pp"],
        ["rain", "4", "0.75", "0.75", "0 pp", "too few samples"],
    ]
    assert sections.slices(target(searched), 1).left_out == 1


def test_facts(both):
    document = parse_result(both)
    found = dict(sections.facts(document, document.targets[0]))
    assert found["command"] == "budgetc compile spec.yaml"
    assert found["seed"] == "0"
    assert found["search"] == "34 candidates, 30 simulated, 3 built, in 92.5 s"
    assert found["verified"] == (
        "its outputs are those of onnxruntime, but for rounding, in 260 inferences on 2 kinds of inputs"
    )
    assert found["written to"] == "build/digits/host"


def test_nothing():
    empty = target({"budgetc": 1, "targets": [{"trials": [{}]}]})
    assert sections.certificate(empty) is None
    assert sections.layers(empty, 9) is None
    assert sections.sensitivity(empty, 9) is None
    assert sections.slices(empty, 9) is None
    assert sections.arena(empty, 9) is None
    assert sections.arena_text(empty) == ""
    assert sections.peers(empty) is None
