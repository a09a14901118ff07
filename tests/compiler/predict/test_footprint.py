"""Weights that are left out of the link are added to the byte, wherever they end."""

from pathlib import Path

import numpy as np
import pytest
from budgetc.build import link_produced
from budgetc.cache import cache_folder
from budgetc.emit.link import Kind
from budgetc.emit.symbols import section_sizes
from budgetc.lower.lower import lower, write
from budgetc.measure.size import size_of
from budgetc.model import parse_model
from budgetc.predict.footprint import footprint
from budgetc.registry import find_target
from budgetc_specs.capability import Capability
from onnx import numpy_helper, parser


def product(rows: int) -> bytes:
    text = f'<ir_version: 9, opset_import: ["": 17]> g (float[1,{rows}] x) => (float[1,3] y) {{ y = MatMul(x, w) }}'
    model = parser.parse_model(text)
    weight = np.random.default_rng(0).standard_normal((rows, 3)).astype(np.float32)
    model.graph.initializer.append(numpy_helper.from_array(weight, "w"))
    return parse_model(model.SerializeToString(), "test.onnx").data


@pytest.mark.parametrize("library", ["shared", "static"])
@pytest.mark.parametrize("rows", [1, 7, 170, 683, 1025, 5000])
def test_it_is_the_size_of_the_library(
    rows: int, library: Kind, host: Capability, tmp_path: Path
) -> None:
    zig = cache_folder() / "zig"
    code = lower([product(rows)], find_target("host"), host)
    expected = footprint(code, host, "net", library, zig)
    write(code, tmp_path)
    (tmp_path / "lowered.json").write_text(lowered_json(code))
    made = link_produced(tmp_path, "net", host, library, zig).library
    assert expected.size == size_of(made, host).deployed
    assert expected.static == section_sizes(made).static_ram


def lowered_json(code) -> str:
    import json

    return json.dumps([entry.to_json() for entry in code.entries])
