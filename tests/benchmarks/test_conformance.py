"""The backend cases: a sample of them is right, and deaths, refusals and errors get their verdicts."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import parser

from benchmarks.conformance.judge import judge
from benchmarks.conformance.page import write_page
from benchmarks.conformance.verdicts import Verdict, read_verdicts, summary, write_verdicts

SAMPLE = [
    "test_argmax_keepdims_example",
    "test_attention_4d_causal",
    "test_averagepool_2d_same_lower",
    "test_bitshift_right_uint8",
    "test_cast_FLOAT_to_BFLOAT16",
    "test_celu",
    "test_center_crop_pad_crop",
    "test_col2im",
    "test_convtranspose",
    "test_cumsum_2d_axis_1",
    "test_dequantizelinear_axis",
    "test_dft",
    "test_einsum_batch_matmul",
    "test_gathernd_example_int32",
    "test_gelu_tanh_1",
    "test_gridsample_bicubic",
    "test_group_normalization_example",
    "test_if",
    "test_instancenorm_epsilon",
    "test_isinf_negative",
    "test_layer_normalization_2d_axis0",
    "test_loop11",
    "test_lstm_with_peepholes",
    "test_maxunpool_export_with_output_shape",
    "test_nonmaxsuppression_identical_boxes",
    "test_onehot_with_axis",
    "test_qlinearconv",
    "test_reduce_log_sum_exp_keepdims_random",
    "test_resize_upsample_scales_cubic",
    "test_reversesequence_time",
    "test_rms_normalization_2d_axis1",
    "test_roialign_aligned_false",
    "test_rotary_embedding",
    "test_scan9_sum",
    "test_scatter_elements_with_reduction_max",
    "test_scatternd_add",
    "test_split_zero_size_splits_opset18",
    "test_swiglu",
    "test_tfidfvectorizer_tf_uniandbigrams_skip5",
    "test_top_k",
    "test_tril_neg",
    "test_unsqueeze_two_axes",
    "test_where_long_example",
]


def backend_cases():
    from onnx.backend.test.loader import load_model_tests

    with np.errstate(all="ignore"):  # some compute their expected overflows
        return {case.name: case for case in load_model_tests(kind="node")}


@pytest.fixture(scope="module")
def cases():
    return backend_cases()


@pytest.mark.parametrize("name", SAMPLE)
def test_a_case_of_the_sample_is_right_or_refused_by_name(cases, zig_cache: Path, name: str):
    if name not in cases:
        pytest.skip(f"this release of onnx has no {name}")
    with np.errstate(all="ignore"):
        verdict, detail = judge(cases[name], zig_cache / "zig")
    refused = {"test_loop11"}
    assert (verdict, name in refused) in {("correct", False), ("refused", True)}, detail


def case_of(text, inputs, outputs):
    model = parser.parse_model(f'<ir_version: 9, opset_import: ["": 17]> {text}')
    arrays = ([np.array(v, np.float32) for v in inputs], [np.array(v, np.float32) for v in outputs])
    return SimpleNamespace(model=model, model_dir=None, data_sets=[arrays], rtol=1e-3, atol=1e-7)


def test_every_verdict(zig_cache: Path):
    cache = zig_cache / "zig"
    relu = "g (float[2] x) => (float[2] y) { y = Relu(x) }"
    assert judge(case_of(relu, [[-1, 2]], [[0, 2]]), cache) == ("correct", "")
    assert judge(case_of(relu, [[-1, 2]], [[0, 3]]), cache) == ("wrong", "y[1] is 2.0, not 3.0")
    random = "g (float[2] x) => (float[2] y) { y = RandomNormalLike(x) }"
    verdict, detail = judge(case_of(random, [[1, 2]], [[1, 2]]), cache)
    assert verdict == "refused"
    assert "RandomNormalLike" in detail
    assert judge(case_of(relu, [[1, 2, 3]], [[0, 3]]), cache)[0] == "crashed"


def test_verdicts_are_kept_and_become_a_page(tmp_path: Path):
    found = [
        Verdict("node", "test_relu", "correct", ""),
        Verdict("node", "test_bernoulli", "refused", "case.onnx: it draws | random numbers\nmore"),
    ]
    write_verdicts(tmp_path / "v.json", found)
    assert read_verdicts(tmp_path / "v.json") == sorted(found)
    assert read_verdicts(tmp_path / "absent.json") == []
    assert summary(found) == "1 correct, 1 refused, 0 wrong, 0 crashed"
    with np.errstate(all="ignore"):
        write_page(tmp_path / "page.md", found, "clean")
    text = (tmp_path / "page.md").read_text()
    assert f"onnx package {onnx.__version__}" in text
    assert "| node | 2 | 1 | 1 |  |  |" in text
    assert "| Bernoulli | 1 |  | 1 |  |  | it draws / random numbers |" in text
