"""The parts of the benchmarks that measure nothing: ratios, tables, the chart, options, generated models."""

import sys
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import (
    chart,
    kernels,
    library,
    limits,
    machine,
    models,
    roofline,
    scaling,
    tables,
    tuning,
)
from benchmarks.limits import Level, Limits, highest
from benchmarks.peers import __main__ as peers
from benchmarks.peers import report, summary
from benchmarks.peers.contenders import BY_NAME, CONTENDERS
from benchmarks.turns import in_turns, turned


def found(contender: str, median: float, **changes: Any) -> dict[str, Any]:
    """One measurement."""
    plain = {
        "model": "mnist5k_cnn",
        "contender": contender,
        "threads": 1,
        "round": 0,
        "when": "2026-01-01",
        "foreign": 0.0,
        "median": median,
        "cold": 0.1,
        "resident": 4096,
        "deploy": 1 << 20,
        "metric": "top1",
        "quality": 0.98,
        "reference": 0.98,
    }
    return {**plain, **changes}


def test_the_geometric_mean_is_that_of_ratios() -> None:
    assert tables.geometric_mean([0.5, 2.0]) == pytest.approx(1.0, rel=1e-12)
    assert tables.geometric_mean([3.0]) == pytest.approx(3.0, rel=1e-12)
    with pytest.raises(ValueError, match="nothing"):
        tables.geometric_mean([])
    with pytest.raises(ValueError, match="positive"):
        tables.geometric_mean([1.0, 0.0])


def test_a_table_has_one_cell_for_each_title() -> None:
    text = tables.markdown(["a", "b"], [["x|y", "1"]])
    assert text.splitlines() == ["| a | b |", "| --- | ---: |", "| x\\|y | 1 |"]
    with pytest.raises(ValueError, match="does not fit"):
        tables.markdown(["a", "b"], [["x"]])


def test_a_page_keeps_what_is_outside_its_markers(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- peers: begin -->\nold\n<!-- peers: end -->\nafter\n")
    tables.insert(page, "peers", "new\n")
    tables.insert(page, "peers", "new\n")
    assert page.read_text() == (
        "before\n<!-- peers: begin -->\n\nnew\n\n<!-- peers: end -->\nafter\n"
    )
    with pytest.raises(SystemExit, match="kernels"):
        tables.insert(page, "kernels", "new")


def test_rounds_are_joined_by_their_median() -> None:
    rounds = [found("budgetc float", m, round=i) for i, m in enumerate((3e-3, 1e-3, 2e-3))]
    (figure,) = summary.figures([*rounds, found("ncnn float", 0, error="it crashed")])
    assert (figure.rounds, figure.median, figure.best) == (3, 2e-3, 1e-3)


def test_each_class_has_its_own_best_peer() -> None:
    figures = summary.figures(
        [
            found("budgetc float", 4e-3),
            found("budgetc bf16", 3e-3),
            found("budgetc int8", 2e-3),
            found("openvino bf16", 4.5e-3),
            found("onnxruntime float", 8e-3),
            found("ncnn float", 6e-3),
            found("openvino int8", 3e-3),
            found("onnxruntime int8", 1e-3, quality=0.97),
        ]
    )
    (float_,) = summary.duels(figures, "float", 1)
    (halves,) = summary.duels(figures, "halves", 1)
    (best,) = summary.duels(figures, "best", 1)
    assert (halves.ours.contender, halves.peer.contender) == ("budgetc bf16", "openvino bf16")
    assert (float_.peer.contender, float_.ratio) == ("ncnn float", pytest.approx(1.5))
    # One point of top-1 is too much to lose, so the fastest does not count.
    assert (best.peer.contender, best.ratio) == ("openvino int8", pytest.approx(1.5))
    assert summary.mean_ratio([float_, best]) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("contender", "cosine", "right"),
    [
        ("ncnn float", 0.5, False),
        ("ncnn float", 0.9995, True),
        ("openvino bf16", 0.5, False),
        ("openvino int8", 0.5, True),
    ],
)
def test_without_labels_only_answers_of_float_and_bf16_can_be_wrong(
    contender: str, cosine: float, right: bool
) -> None:
    (figure,) = summary.figures([found(contender, 1.0, metric="cosine", quality=cosine)])
    assert figure.right is right


def test_quality_is_top1_where_there_are_labels_and_the_least_cosine_elsewhere() -> None:
    reference = {"0": np.eye(4), "1": np.ones((4, 2))}
    answers = {"0": np.eye(4)[[0, 1, 2, 2]], "1": np.array([[1.0, 0.0]] * 4)}
    assert summary.judge(answers, reference, np.arange(4)) == ("top1", 0.75, 1.0)
    metric, quality, best = summary.judge(answers, reference, None)
    assert (metric, best) == ("cosine", 1.0)
    assert quality == pytest.approx(2**-0.5)
    assert summary.cosine(np.ones(3), np.ones(4)) == 0


def test_the_report_and_the_rows_name_everybody() -> None:
    figures = summary.figures(
        [
            found("budgetc float", 4e-3),
            found("onnxruntime float", 8e-3),
            found("budgetc bf16", 3e-3),
            found("litert int8", 2e-3),
            found("budgetc float", 1e-8, model=models.CALL),
        ]
    )
    text = report.report("a machine", figures, {"mnist5k_cnn": {"iree float": "why"}})
    for part in (
        "a machine",
        "2.00",
        "mnist5k_cnn: iree float: why",
        "What a call takes",
        "float32 or bf16",
    ):
        assert part in text
    rows = report.rows(figures)
    assert rows[1]["over_ours"] == "2.0000"
    assert {tuple(row) for row in rows} == {tuple(rows[0])}


def test_the_chart_is_well_formed_and_has_a_bar_for_each_value() -> None:
    series = [chart.Series("a & b", "#000000", [0.5, None]), chart.Series("c", "#111111", [2, 30])]
    root = ET.fromstring(chart.bars("<title>", ["one", "two"], series, "axis"))
    boxes = [e for e in root.iter() if e.tag.endswith("rect")]
    assert len(boxes) == 1 + 2 + 3  # the paper, the legend, the bars
    assert all(float(b.get("width", "0")) > 0 for b in boxes)
    with pytest.raises(ValueError, match="nothing to draw"):
        chart.bars("title", ["one"], [chart.Series("a", "#000000", [None])], "axis")


@pytest.mark.parametrize(
    "options",
    [
        ["--only", "no_such_model"],
        ["--threads", "0"],
        ["--threads", "1,1"],
        ["--threads", "many"],
        ["--seconds", "0"],
        ["--rounds", "-1"],
    ],
)
def test_a_wrong_option_is_refused(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        peers.parse(options)
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize("main", [kernels.main, scaling.main, tuning.main])
def test_an_unknown_part_is_refused(main: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nothing"])
    assert "no such" in capsys.readouterr().err


def test_an_unknown_precision_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        tuning.main(["--precisions", "int8,half"])
    assert "no such precision: half" in capsys.readouterr().err


def test_the_trace_of_tuning_says_when_there_was_nothing_left() -> None:
    fixed = {"model": "mnist5k_cnn", "precision": "int8", "threads": 1}
    rows = [
        {**fixed, "tuned_s": 0.0, "finished": False, "latency_s": 22e-6, "over_final": 0.1},
        {**fixed, "tuned_s": 31.4, "finished": True, "latency_s": 20e-6, "over_final": 0.0},
    ]
    first, last = tuning.table(rows).splitlines()[-2:]
    assert first == "| mnist5k_cnn | int8 | 1 | 0 s | 22 us | +10.0% |"
    assert last == "| mnist5k_cnn | int8 | 1 | 31 s, all | 20 us | +0.0% |"


def test_options_become_lists() -> None:
    arguments = peers.parse(["--only", "resnet50,mtcnn_rnet", "--threads", "1,2"])
    assert arguments.only == ["resnet50", "mtcnn_rnet"]
    assert arguments.threads == [1, 2]
    assert peers.parse([]).only == list(models.NAMES)


def test_everybody_begins_a_round_once() -> None:
    order = [turned("abc", number) for number in range(3)]
    assert all(sorted(names) == ["a", "b", "c"] for names in order)
    assert len({names[0] for names in order}) > 1
    assert turned([], 3) == []
    assert in_turns({"a": lambda: {"median": 2.0}, "b": lambda: {"median": 1.0}}, 3) == {
        "a": 2.0,
        "b": 1.0,
    }


def test_more_threads_than_processors_are_refused() -> None:
    with pytest.raises(SystemExit, match="processors"):
        machine.processors(100_000)
    assert len(machine.processors(1)) == 1


def test_contenders_have_names_of_their_own() -> None:
    assert len(BY_NAME) == len(CONTENDERS)


def test_a_limit_is_the_highest_that_was_reached() -> None:
    levels = (Level("L1", 1000, 10.0), Level("memory", 1 << 62, 1.0))
    slow = Limits(100.0, 0.0, 0.0, levels)
    fast = Limits(200.0, 0.0, 0.0, (Level("L1", 1000, 5.0), Level("memory", 1 << 62, 2.0)))
    both = highest([slow, fast])
    assert [both.float_ops, *(level.read for level in both.levels)] == [200.0, 10.0, 2.0]
    assert both.level(1001).name == "memory"
    assert both.bound(400.0, 10, "float") == 2.0
    assert both.bound(0.0, 20, "int8") == 2.0


@pytest.mark.parametrize("kernel", list(kernels.kernels()), ids=lambda k: k.label)
def test_each_kernel_is_a_valid_model(kernel: kernels.Kernel) -> None:
    model = kernels.float_model(kernel)
    onnx.checker.check_model(model, full_check=True)
    assert len(model.graph.node) == 1


def test_a_kernel_is_held_against_the_lower_of_its_roofs() -> None:
    level = limits.Level("L1", 1 << 20, 100e9)
    known = limits.Limits(float_ops=50e9, bf16_ops=0.0, int8_ops=0.0, levels=(level,))
    shape = {"inner": 2e-3, "ours": 1.0, "peer": 1.0}
    few = kernels.Kernel("few", "Relu", (1,), operations=0)
    many = kernels.Kernel("many", "Conv", (1,), operations=20_000_000)
    rows = [
        kernels.Timed(kernel, "float", moved=50_000_000, **shape).row(known)
        for kernel in (few, many)
    ]
    assert [row["of_bound"] for row in rows] == pytest.approx([0.25, 0.25])
    rows.append(kernels.Timed(many, "float", moved=10_000, **shape).row(known))
    assert rows[2]["of_bound"] == pytest.approx(0.2)
    roofs = [line.split("|")[7].strip() for line in kernels.table(rows, known).splitlines()[4:7]]
    assert roofs == ["25%, L1", "25%, L1", "20%, computing"]


@pytest.mark.skipif(not library.multiplies_halves(), reason="no products of bfloat16 numbers")
def test_a_kernel_of_bfloat16_numbers_takes_such() -> None:
    kernel = next(k for k in kernels.kernels() if k.family == "gemm")
    made = kernels.halves_only(kernels.float_model(kernel))
    onnx.checker.check_model(made, full_check=True)
    assert made.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.BFLOAT16


@pytest.mark.parametrize(("sweep", "network"), list(scaling.networks()))
def test_each_network_is_a_valid_model(sweep: str, network: scaling.Network) -> None:
    model = scaling.model(network)
    onnx.checker.check_model(model)
    kinds = [n.op_type for n in model.graph.node]
    assert kinds.count("Conv") == 1 + network.depth


@pytest.mark.parametrize(
    ("shape", "low", "high"), [((3, 20, 20), -2, 2), ((50, 10, 1), 0, 225), ((4001, 1), -1, 1)]
)
def test_made_up_samples_fit_the_model(shape: tuple[int, ...], low: float, high: float) -> None:
    samples = models.made_up(models.Case(Path("x"), "input", shape, low, high), 5, seed=0)
    assert samples.shape == (5, *shape)
    assert samples.dtype == np.float32
    assert low <= samples.min() < samples.max() <= high


def test_a_topology_gets_random_weights() -> None:
    model = models.randomised("light_shufflenet.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert [port.name for port in model.graph.input] == ["gpu_0/data_0"]
    assert "ConstantOfShape" not in {node.op_type for node in model.graph.node}


def test_the_roofline_has_a_dot_for_each_kernel_and_a_line_for_each_roof() -> None:
    levels = (limits.Level("L1", 32 << 10, 150e9), limits.Level("memory", 1 << 30, 15e9))
    known = limits.Limits(100e9, 0.0, 400e9, levels)
    dots = [roofline.Point("a & b", "float", 2.0, 50e9), roofline.Point("c", "int8", 90.0, 3e11)]
    root = ET.fromstring(roofline.roofline("<title>", known, dots))
    space = {"s": "http://www.w3.org/2000/svg"}
    assert len(root.findall("s:circle", space)) == 2
    words = {e.text for e in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"L1", "memory", "float peak", "int8 peak", "<title>"} <= words
    places = [float(c.attrib["cy"]) for c in root.findall("s:circle", space)]
    assert places[1] < places[0], "the faster one is higher"
    with pytest.raises(ValueError, match="no kernel"):
        roofline.roofline("title", known, [])
