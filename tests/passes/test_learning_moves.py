"""Operators that move or reduce, in torch, against onnxruntime."""

import numpy as np
import pytest

X = "float[2,3,4] x"


def made(parse, output, nodes, opset=17, **constants):
    types = "".join(f", int64[{np.asarray(c).size}] {name}" for name, c in constants.items())
    return parse(f"g ({X}{types}) => (float[{output}] y) {{ {nodes} }}", opset, **constants)


@pytest.mark.parametrize(
    ("output", "nodes", "constants"),
    [
        ("4,2,3", "y = Transpose <perm = [2, 0, 1]> (x)", {}),
        ("4,3,2", "y = Transpose (x)", {}),
        ("2,12", "y = Flatten (x)", {}),
        ("6,4", "y = Reshape (x, s)", {"s": [-1, 4]}),
        ("2,1,3,4", "y = Unsqueeze (x, a)", {"a": [1]}),
        ("2,3,4", "b = Unsqueeze (x, a) y = Squeeze (b, a)", {"a": [1]}),
        ("2,6,4", "y = Concat <axis = 1> (x, x)", {}),
        ("2,2,4", "y = Slice (x, s, e, a)", {"s": [1], "e": [9], "a": [1]}),
        ("2,3,2", "y = Slice (x, s, e, a, t)", {"s": [-1], "e": [-9], "a": [2], "t": [-2]}),
        ("2,3,2", "a, y = Split <axis = 2, num_outputs = 2> (x)", {}),
        ("5,2,3,4", "y = Expand (x, s)", {"s": [5, 1, 1, 1]}),
        ("2,2,4", "y = Gather <axis = 1> (x, i)", {"i": [2, -3]}),
        ("2,5,5", "y = Pad (x, p)", {"p": [0, 1, 0, 0, 1, 1]}),
        ("2,5,5", 'y = Pad <mode = "reflect"> (x, p)', {"p": [0, 1, 0, 0, 1, 1]}),
        ("2,5,5", 'y = Pad <mode = "edge"> (x, p)', {"p": [0, 1, 0, 0, 1, 1]}),
    ],
)
def test_moves(in_torch, parse, output, nodes, constants):
    constants = {name: np.array(value, np.int64) for name, value in constants.items()}
    in_torch(made(parse, output, nodes, 18, **constants))


@pytest.mark.parametrize(
    "operator",
    ["L1", "L2", "Max", "Mean", "Min", "Prod", "SumSquare"],
)
@pytest.mark.parametrize("kept", [0, 1])
def test_reductions(in_torch, parse, operator, kept):
    output = "2,1,1" if kept else "2"
    nodes = f"y = Reduce{operator} <axes = [1, -1], keepdims = {kept}> (x)"
    in_torch(made(parse, output, nodes, 13))


def test_a_sum_over_axes_that_an_input_names(in_torch, parse):
    in_torch(made(parse, "2,4", "y = ReduceSum <keepdims = 0> (x, a)", a=np.array([1])))


@pytest.mark.parametrize("opset", [11, 13])
@pytest.mark.parametrize("operator", ["Softmax", "LogSoftmax"])
def test_softmax_of_both_meanings(in_torch, parse, operator, opset):
    in_torch(made(parse, "2,3,4", f"y = {operator} <axis = 1> (x)", opset))


def test_a_shape_that_is_asked_for(in_torch, parse):
    in_torch(parse(f"g ({X}) => (int64[3] y) {{ y = Shape (x) }}"))
