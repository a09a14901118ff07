"""Transposed convolutions run on the kernels of ordinary ones, and are what onnxruntime has."""

import numpy as np
import pytest
from budgetc.lower.transposed import transposed_convolution
from hypothesis import assume, given, settings
from hypothesis import strategies as st

CASES = {
    "as many taps in each phase": ("2,5,7,6", "5,4,4,4", "strides=[2,2], pads=[1,1,1,1]"),
    "a tap for each phase": ("1,3,5,4", "3,6,2,2", "strides=[2,2]"),
    "other taps in each phase": (
        "1,4,6,5",
        "4,3,3,3",
        "strides=[2,2], pads=[1,1,1,1], output_padding=[1,1]",
    ),
    "no stride": ("1,3,6,5", "3,4,3,5", "pads=[1,2,1,2]"),
    "other strides and pads": ("1,2,4,7", "2,3,5,4", "strides=[3,2], pads=[2,0,1,3]"),
    "one dimension": ("2,3,9", "3,4,4", "strides=[2], pads=[1,1]"),
    "a stride in one dimension": ("1,3,4,5", "3,2,3,4", "strides=[1,2], pads=[1,1,1,1]"),
}


def model(x, w, options, bias):
    rank = x.count(",") - 1
    read = "x, w, b" if bias else "x, w"
    free = ",".join("abcd"[: rank + 2])
    return f"g (float[{x}] x) => (float[{free}] y) {{ t = ConvTranspose<{options}>({read}) y = Relu(t) }}"


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_it_is_convolutions_and_moves(check_float, weights, case, bias) -> None:
    x, w, options = CASES[case]
    shape = tuple(map(int, w.split(",")))
    given = {"w": weights(*shape), **({"b": weights(shape[1], seed=1)} if bias else {})}
    library = check_float(
        model(x, w, options, bias), terms=int(np.prod(shape[2:])) * shape[0], **given
    )
    assert "convolution" in " ".join(library.kernels) or "single" in " ".join(library.kernels)
    assert "foreign" not in library.kernels


@pytest.mark.parametrize(
    ("options", "w"),
    [
        ("strides=[3,3]", "4,3,2,2"),  # phases without taps
        ("dilations=[2,2]", "4,3,2,2"),
        ("group=2", "4,3,2,2"),
        ('strides=[2,2], auto_pad="SAME_UPPER"', "4,3,4,4"),
        ("pads=[3,3,3,3]", "4,3,2,2"),
    ],
)
def test_what_is_left_to_generated_code_is_right_as_well(check_float, weights, options, w) -> None:
    shape = tuple(map(int, w.split(",")))
    text = model("1,4,9,8", w, options, bias=False)
    library = check_float(text, terms=64, w=weights(*shape))
    assert "foreign" in library.kernels


def interpreted(graph, values):
    """What the operations compute, in numpy."""
    for op in graph.operations:
        x = values[op.inputs[0]]
        if op.kind == "convolution":
            weight, pads = op.attributes["weight"], op.attributes["pads"]
            rank = weight.ndim - 2
            around = [(0, 0), (0, 0), *((pads[d], pads[rank + d]) for d in range(rank))]
            seen = np.lib.stride_tricks.sliding_window_view(
                np.pad(x, around), weight.shape[2:], tuple(range(2, 2 + rank))
            )
            summed = np.tensordot(
                seen, weight, ((1, *range(2 + rank, 2 + 2 * rank)), (1, *range(2, 2 + rank)))
            )
            made = np.moveaxis(summed + op.attributes["bias"], -1, 1)
        elif op.kind == "copy-into":
            made = np.concatenate([values[name] for name in op.inputs], axis=1)
        elif op.attributes["view"] == "reshape":
            made = x.reshape(graph.values[op.output].shape)
        elif op.attributes["view"] == "transpose":
            made = x.transpose(op.attributes["perm"])
        else:
            shape = graph.values[op.output].shape
            ranges = zip(op.attributes["ranges"], shape, strict=True)
            made = x[tuple(slice(begin, begin + extent) for (begin, _), extent in ranges)]
        assert made.shape == graph.values[op.output].shape
        values[op.output] = made
    return values


@st.composite
def axes(draw):
    n, k, s = (draw(st.integers(1, limit)) for limit in (6, 6, 4))
    before, after = (draw(st.integers(0, k - 1)) for _ in range(2))
    extra = draw(st.integers(0, s - 1))
    out = (n - 1) * s + k - before - after + extra
    assume(out > 0)
    return n, k, s, before, after, extra, out


@settings(deadline=None, max_examples=150)
@given(st.lists(axes(), min_size=1, max_size=2), st.integers(0, 2**16))
def test_phases_are_the_sum_that_the_operator_is(make_graph, sizes, seed) -> None:
    random = np.random.default_rng(seed)
    n, k, s, before, after, extra, out = zip(*sizes, strict=True)
    x, w = random.integers(-4, 5, (2, 3, *n)), random.integers(-4, 5, (3, 2, *k))
    bias = random.integers(-4, 5, 2)
    wide = np.zeros(
        (2, 2, *((m - 1) * t + j + e for m, t, j, e in zip(n, s, k, extra, strict=True)))
    )
    for at in np.ndindex(*n):
        place = tuple(slice(i * t, i * t + j) for i, t, j in zip(at, s, k, strict=True))
        wide[(..., *place)] += np.tensordot(x[(..., *at)], w, (1, 0))
    inside = tuple(slice(b, b + o) for b, o in zip(before, out, strict=True))
    wanted = wide[(..., *inside)] + bias.reshape(2, *(1 for _ in n))

    def text(numbers):
        return ",".join(map(str, numbers))

    options = f"strides=[{text(s)}], pads=[{text(before + after)}], output_padding=[{text(extra)}]"
    graph = make_graph(
        f"g (float[2,3,{text(n)}] x) => (float[2,2,{text(out)}] y) {{ y = ConvTranspose<{options}>(x, w, b) }}",
        w=w.astype(np.float32),
        b=bias.astype(np.float32),
    )
    (op,) = graph.operations
    found = transposed_convolution(op, graph)
    if found is not None:
        graph.operations = found
        np.testing.assert_array_equal(interpreted(graph, {"x": x})["y"], wanted)
    else:  # a phase without taps, or pads that cut the input
        assert any(j < t for j, t in zip(k, s, strict=True)) or max(before + after) > 0
