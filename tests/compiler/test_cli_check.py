"""`budgetc check` reads everything a spec names and says what is wrong with it, without compiling."""

from pathlib import Path

import numpy as np
import pytest
from budgetc.cli.check import budget_texts
from budgetc.cli.main import app
from budgetc_specs.budgets import Budgets
from onnx import parser
from typer.testing import CliRunner

ANIMALS = Path(__file__).parents[2] / "specs" / "examples" / "animals" / "spec.yaml"


def check(*arguments):
    done = CliRunner().invoke(app, ["check", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def test_a_good_spec_is_summed_up():
    code, out, err = check(ANIMALS)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert "input input: float32 [1, 1, 28, 28]" in lines
    assert "output logits: float32 [1, 10]" in lines
    assert "parameters 9,622 in 37.6 KiB" in lines
    assert "evaluation 2000 samples of evaluation.npz, top1" in lines
    assert "target pi aarch64, cortex-a72" in lines
    assert "latency p50 at most 2 ms (warning only)" in lines
    assert lines[-1] == f"{ANIMALS}: ok"


def test_nothing_is_written(tiny):
    before = sorted(tiny.parent.iterdir())
    assert check(tiny)[0] == 0
    assert sorted(tiny.parent.iterdir()) == before


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["budgets.size=8"], '"8" has no unit'),
        (["budgets.sze=8 KiB"], 'did you mean "size"?'),
        (["passes=prun"], 'did you mean "prune"?'),
        (["passes=prune{ratoi=0.5}"], 'did you mean "ratio"? its options are ratio,'),
        (["passes=quantize"], "passes: quantize needs calibration data"),
        (["budgets.latency=1.0 x onnxruntime-int8"], "needs calibration data"),
        (["targets.pi={kind: arch64}"], 'did you mean "aarch64"? `budgetc targets` lists them.'),
        (["targets.pi={kind: aarch64, cpu: cortex-a7}"], 'did you mean "cortex-a78"?'),
        (["quality.metric=top2"], 'did you mean "top'),
        (["data.evaluation=none.npz"], "none.npz"),
    ],
)
def test_what_is_wrong_with_the_spec(tiny, overrides, said):
    code, out, err = check(tiny, *(a for o in overrides for a in ("--set", o)))
    assert (code, out) == (2, "")
    assert said in err


def test_a_position_in_the_file(tiny):
    tiny.write_text(tiny.read_text().replace("64 KiB", "64 KiBi"))
    code, _, err = check(tiny)
    assert code == 2
    assert err.startswith(
        f'{tiny}:5:9: budgets.size: "KiBi" is not a unit of size\n    5 |   size: 64 KiBi\n'
    )


def test_data_that_does_not_fit(tiny):
    np.savez(tiny.parent / "evaluation.npz", x=np.zeros((3, 7), np.float32), label=np.zeros(3, int))
    code, _, err = check(tiny)
    assert code == 2
    assert 'the array "x" is [3, 7]' in err


def test_a_model_that_is_none(tiny):
    (tiny.parent / "tiny.onnx").write_bytes(b"not a model")
    code, out, err = check(tiny)
    assert (code, out) == (7, "")
    assert "tiny.onnx: the file is not an ONNX model" in err


def with_model(spec, text, opset=17):
    """The spec with another model; its data goes."""
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["": {opset}]>\n{text}')
    for index, node in enumerate(model.graph.node):
        node.name = f"step{index}"
    (spec.parent / "other.onnx").write_bytes(model.SerializeToString())
    spec.write_text("budgetc: 1\nmodel: other.onnx\nbudgets: {size: 64 KiB}\n")
    return spec


def test_operators_that_cannot_be_compiled_are_all_named(tiny):
    text = """g (float[3] x, uint8[64] a, uint8[64] b) => (float[3] r, uint8[4,4,3] y, uint8[4,4,3] v) {
        r = Relu(x)  y = ImageDecoder(a)  v = ImageDecoder(b)
    }"""
    code, out, err = check(with_model(tiny, text, 20))
    assert (code, out) == (7, "")
    assert "other.onnx: 2 operators cannot be compiled:" in err
    assert 'the ImageDecoder node "step1"' in err
    assert "(node 2 of 3)" in err
    assert "(node 3 of 3)" in err
    assert "it needs more than 16384 bytes to work in" in err
    assert err.count("replace the operator by simpler ones") == 1


def test_control_flow_that_cannot_be_resolved_is_named(tiny):
    text = """g (float x, int64 n) => (float y) <bool go = {1}> {
        y = Loop (n, go, x) <body = b (int64 i, bool c, float v) => (bool again, float w) {
            again = Identity(c)  w = Add(v, v) }> }"""
    code, _, err = check(with_model(tiny, text))
    assert code == 7
    assert (
        'the Loop node "step0" cannot be resolved: its number of rounds depends on the data' in err
    )


def test_what_our_kernels_leave_to_tvm_is_said(tiny):
    text = """g (float[2,3] x) => (float[2,3] y) { r = Relu(x)  y = Hardmax(r) }"""
    code, out, _ = check(with_model(tiny, text))
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 0
    assert any(line.startswith("kernels ") and "of our own" in line for line in lines)


def test_budgets_in_words():
    budgets = Budgets.model_validate(
        {
            "size": "48 KiB",
            "memory": {"max": "1 MB", "level": "warning"},
            "latency": {"max": "0.9 x onnxruntime", "statistic": "p99"},
            "quality": {"min": 0.97},
        }
    )
    assert budget_texts(budgets) == [
        ("size", "at most 48 KiB"),
        ("memory", "at most 976.6 KiB (warning only)"),
        ("latency", "p99 at most 0.9 x onnxruntime"),
        ("quality", "at least 0.97"),
    ]
