"""Tests of naming averages over whole pictures."""

import pytest
from budgetc_passes.cleanup.global_pools import NameGlobalPools


def model_of(parse, attributes, y, opset=19):
    text = f"y = AveragePool <{attributes}> (r)"
    return parse(f"g (float[2,3,4,5] x) => (float[{y}] y) {{ r = Relu (x) {text} }}", opset)


WHOLE = [
    "kernel_shape = [4, 5]",
    "kernel_shape = [4, 5], strides = [4, 5], pads = [0, 0, 0, 0]",
    "kernel_shape = [4, 5], strides = [2, 3], ceil_mode = 1",
    'kernel_shape = [4, 5], strides = [4, 5], auto_pad = "SAME_UPPER", count_include_pad = 1',
]


@pytest.mark.parametrize("attributes", WHOLE)
def test_an_average_of_the_whole_picture_is_global(apply, parse, same, attributes):
    done = apply(model_of(parse, attributes, "2,3,1,1"), NameGlobalPools())
    assert done.ops == ["Relu", "GlobalAveragePool"]
    assert not done.after.graph.node[1].attribute
    assert not apply(done.after, NameGlobalPools()).modified
    same(done)


@pytest.mark.parametrize(
    ("attributes", "y"),
    [
        ("kernel_shape = [4, 4]", "2,3,1,2"),
        ("kernel_shape = [4, 5], pads = [0, 0, 0, 1]", "2,3,1,2"),
        ("kernel_shape = [4, 5], pads = [1, 0, 0, 0], strides = [9, 9]", "2,3,1,1"),
        ('kernel_shape = [4, 5], auto_pad = "SAME_LOWER"', "2,3,4,5"),
        ("kernel_shape = [4, 5], pads = [3, 2, 3, 2], dilations = [3, 2]", "2,3,1,1"),
    ],
)
def test_any_other_average_stays(apply, parse, attributes, y):
    assert not apply(model_of(parse, attributes, y), NameGlobalPools()).modified
