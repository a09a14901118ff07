"""Recurrent layers in whole libraries: the standard's own cases, every attribute, and int8, against onnxruntime."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from budgetc.baseline import make_session
from budgetc.model import parse_model
from budgetc_specs.errors import ModelError
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
ACTIVATIONS = {"LSTM": 3, "GRU": 2, "RNN": 1}
FUNCTIONS = ["Sigmoid", "Tanh", "Relu", "LeakyRelu", "ThresholdedRelu", "ScaledTanh"]
FUNCTIONS += ["HardSigmoid", "Elu", "Softsign", "Softplus", "Affine"]

Array = np.ndarray[Any, Any]
Made = tuple[onnx.ModelProto, dict[str, Array]]


def layer(
    kind: str,
    steps: int = 5,
    batch: int = 1,
    depth: int = 3,
    hidden: int = 6,
    *,
    opset: int = 17,
    seed: int = 0,
    given: str = "hc",
    stored: str = "B",
    outputs: str = "yhc",
    lengths: tuple[int, ...] | None = None,
    fixed_lengths: bool = False,
    **attributes: object,
) -> Made:
    """A model of one layer and its inputs.

    Args:
        given: which of the weights W, R, B, P and the states h, c are inputs of the model.
        stored: which are initializers; W and R are where they are not given.
        outputs: of y, h and c; c of LSTM only.
    """
    random, gates = np.random.default_rng(seed), GATES[kind]
    directions = 2 if attributes.get("direction") == "bidirectional" else 1
    first = attributes.get("layout", 0)
    state = (batch, directions, hidden) if first else (directions, batch, hidden)
    shapes = {
        "X": (batch, steps, depth) if first else (steps, batch, depth),
        "W": (directions, gates * hidden, depth),
        "R": (directions, gates * hidden, hidden),
        "B": (directions, 2 * gates * hidden),
        "h": state,
        "c": state,
        "P": (directions, 3 * hidden),
    }
    if kind != "LSTM":
        del shapes["c"], shapes["P"]
    arrays = {
        name: (random.standard_normal(shape) * (1.0 if name == "X" else 0.4)).astype(np.float32)
        for name, shape in shapes.items()
    }
    feeds = {name: arrays[name] for name in arrays if name == "X" or name in given}
    kept = {n: a for n, a in arrays.items() if n not in feeds and (n in stored or n in "WR")}
    if lengths is not None:
        (kept if fixed_lengths else feeds)["lengths"] = np.array(lengths, np.int32)
    order = ["X", "W", "R", "B", "lengths", "h", "c", "P"][: 8 if kind == "LSTM" else 6]
    inputs = [name if name in feeds or name in kept else "" for name in order]
    made = {
        "y": (batch, steps, directions, hidden) if first else (steps, directions, batch, hidden),
        "h": state,
        "c": state,
    }
    results = {f"Y{n}": made[n] for n in outputs if kind == "LSTM" or n != "c"}
    named = [f"Y{n}" if f"Y{n}" in results else "" for n in ("yhc" if kind == "LSTM" else "yh")]
    node = helper.make_node(kind, inputs, named, name="layer", hidden_size=hidden, **attributes)
    graph = helper.make_graph(
        [node],
        "g",
        [
            helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
            for n, a in feeds.items()
        ],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in results.items()],
        [numpy_helper.from_array(a, n) for n, a in kept.items()],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9), feeds


def compare(build: Callable[..., Any], made: Made) -> Any:
    """Builds a layer and holds every element against onnxruntime's."""
    model, feeds = made
    library = build(model)
    ours = library.run(feeds)
    for name, value in make_session(model.SerializeToString()).run(feeds).items():
        assert ours[name].shape == value.shape
        magnitude = max(1.0, float(np.abs(value).max()))
        # An error of a step goes into the next; without a squashing activation it is multiplied.
        np.testing.assert_allclose(ours[name], value, rtol=0, atol=2e-6 * magnitude, err_msg=name)
    again = library.run(feeds)
    assert all(np.array_equal(ours[n], again[n]) for n in ours), "a call left something behind"
    return library


def kinds(library: Any) -> set[str]:
    return {name.rsplit("_", 1)[0] for name in library.kernels}


def _standard_cases() -> dict[str, Any]:
    """The cases of these operators in the onnx package; importing an operator's module registers its own."""
    with np.errstate(all="ignore"):  # some cases compute their expected overflows on import
        from onnx.backend.test.case import node
        from onnx.backend.test.case.node import gru, lstm, rnn

    assert {gru, lstm, rnn}
    words = ("_gru_", "_lstm_", "_rnn_")
    return {c.name: c for c in node._NodeTestCases if any(word in c.name for word in words)}


STANDARD = _standard_cases()


def test_the_standard_has_such_cases() -> None:
    assert len(STANDARD) >= 18


@pytest.mark.parametrize("name", STANDARD)
def test_a_case_of_the_standard(name: str, build_library: Callable[..., Any]) -> None:
    model = STANDARD[name].model
    library = build_library(model)
    assert "foreign" not in kinds(library)
    for inputs, outputs in STANDARD[name].data_sets:
        found = library.run(dict(zip((i.name for i in model.graph.input), inputs, strict=True)))
        for port, expected in zip(model.graph.output, outputs, strict=True):
            np.testing.assert_allclose(found[port.name], expected, rtol=1e-5, atol=1e-6)


@st.composite
def layers(draw: st.DrawFn) -> Made:
    kind = draw(st.sampled_from(sorted(GATES)))
    direction = draw(st.sampled_from(["forward", "reverse", "bidirectional"]))
    directions = 2 if direction == "bidirectional" else 1
    attributes: dict[str, object] = {"direction": direction}
    if draw(st.booleans()):
        names = st.sampled_from(FUNCTIONS)
        count = ACTIVATIONS[kind] * directions
        attributes["activations"] = draw(st.lists(names, min_size=count, max_size=count))
        numbers = st.lists(st.floats(0.25, 0.75, width=32), min_size=3 * count, max_size=3 * count)
        attributes["activation_alpha"] = draw(numbers)
        attributes["activation_beta"] = draw(numbers)
    if draw(st.booleans()):
        attributes["clip"] = draw(st.floats(0.125, 1.0, width=32))
    if kind == "GRU":
        attributes["linear_before_reset"] = draw(st.integers(0, 1))
    if kind == "LSTM":
        attributes["input_forget"] = draw(st.integers(0, 1))
    steps, batch = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    lengths = None
    if draw(st.booleans()):
        lengths = tuple(draw(st.integers(0, steps)) for _ in range(batch))
    everything = "WRBhcP"
    given = "".join(draw(st.sets(st.sampled_from(everything))))
    outputs = "".join(draw(st.sets(st.sampled_from("yhc"), min_size=1)))
    assume(kind == "LSTM" or outputs != "c")
    return layer(
        kind,
        steps,
        batch,
        draw(st.integers(1, 9)),
        draw(st.integers(1, 40)),
        seed=draw(st.integers(0, 99)),
        given=given,
        stored="".join(draw(st.sets(st.sampled_from(everything)))),
        outputs=outputs,
        lengths=lengths,
        fixed_lengths=draw(st.booleans()),
        opset=draw(st.sampled_from([7, 14, 17])),
        **attributes,
    )


@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(made=layers())
def test_any_layer_is_onnxruntimes(made: Made, build_library: Callable[..., Any]) -> None:
    assert "foreign" not in kinds(compare(build_library, made))


@pytest.mark.parametrize("kind", GATES)
def test_the_batch_may_come_first(kind: str, build_library: Callable[..., Any]) -> None:
    """onnxruntime does not run it so, but what the loader makes of it; the standard has such cases too."""
    proto, feeds = layer(kind, batch=3, layout=1)
    normal = parse_model(proto.SerializeToString(), "test.onnx")
    ours = build_library(proto).run(feeds)
    for name, value in make_session(normal.data).run(feeds).items():
        np.testing.assert_allclose(ours[name], value, rtol=0, atol=2e-6)


def test_weights_that_are_stored_take_two_kernels(build_library: Callable[..., Any]) -> None:
    library = compare(build_library, layer("LSTM", outputs="y", direction="bidirectional"))
    assert kinds(library) == {"convolution", "recurrent"}
    assert len(library.lowered.calls) == 2


def test_code_does_not_grow_with_the_steps(build_library: Callable[..., Any]) -> None:
    folders = [build_library(layer("GRU", steps)[0]).folder for steps in (48, 480)]
    sizes = [sum(file.stat().st_size for file in folder.glob("*.o")) for folder in folders]
    assert abs(sizes[1] - sizes[0]) < 1024


def test_threads_share_out_directions_and_sequences(build_library: Callable[..., Any]) -> None:
    made = layer("LSTM", 30, 6, 16, 64, direction="bidirectional")
    alone = compare(build_library, made).run(made[1])
    shared = compare(lambda proto: build_library(proto, 2), made)
    assert any(
        call.kernel.startswith("recurrent") and call.tasks > 1 for call in shared.lowered.calls
    )
    for name, value in shared.run(made[1]).items():
        np.testing.assert_array_equal(value, alone[name])


def _stacked(weights: Callable[..., Array]) -> tuple[str, dict[str, Array]]:
    text = """g (float[6,2,5] x) => (float[6,2,2,32] y, float[2,2,32] h)
    { a, b = GRU<hidden_size=16, linear_before_reset=1>(x, w1, r1, b1)
      s = Squeeze(a, one)
      y, c, h = LSTM<hidden_size=32, direction="bidirectional">(s, w2, r2) }"""
    text = text.replace("{ a,", "<int64[1] one = {1}> { a,", 1)
    given = {"w1": (1, 48, 5), "r1": (1, 48, 16), "b1": (1, 96)}
    given |= {"w2": (2, 128, 16), "r2": (2, 128, 32)}
    return text, {n: 0.2 * weights(*s, seed=i) for i, (n, s) in enumerate(given.items())}


def test_integers_go_in_and_weights_stay_small(
    build_library: Callable[..., Any],
    quantised: Callable[..., onnx.ModelProto],
    weights: Callable[..., Array],
) -> None:
    text, arrays = _stacked(weights)
    proto = quantised(text, **arrays)
    library = build_library(proto)
    oracle = make_session(proto.SerializeToString(), exact_integers=True)
    for seed in range(4):
        x = np.random.default_rng(seed).standard_normal((6, 2, 5)).astype(np.float32)
        ours, theirs = library.run({"x": x}), oracle.run({"x": x})
        # Behind the first layer a value beside a tie may be quantised to the next level.
        for name, value in theirs.items():
            np.testing.assert_allclose(ours[name], value, rtol=0, atol=0.01, err_msg=name)
    assert "foreign" not in kinds(library)
    stored = sum(a.size for a in arrays.values())
    assert library.lowered.weight_bytes < 2 * stored, "the products' weights and R take a byte each"


def test_one_quantised_layer_is_onnxruntimes(
    build_library: Callable[..., Any],
    quantised: Callable[..., onnx.ModelProto],
    weights: Callable[..., Array],
) -> None:
    for kind, gates in GATES.items():
        text = f"""g (float[6,2,5] x) => (float[6,2,2,20] y)
        {{ y = {kind}<hidden_size=20, direction="bidirectional">(x, w, r, b) }}"""
        shapes = {"w": (2, 20 * gates, 5), "r": (2, 20 * gates, 20), "b": (2, 40 * gates)}
        arrays = {n: 0.4 * weights(*s, seed=i) for i, (n, s) in enumerate(shapes.items())}
        proto = quantised(text, **arrays)
        x = np.random.default_rng(0).standard_normal((6, 2, 5)).astype(np.float32)
        compare(build_library, (proto, {"x": x}))


def test_what_it_refuses(build_library: Callable[..., Any], make_model: Callable[..., Any]) -> None:
    with pytest.raises(ModelError, match=r"Affine.*no beta"):
        build_library(layer("RNN", activations=["Affine"], activation_alpha=[0.5])[0])
    double = make_model(
        """g (float[3,1,4] x) => (float[3,1,1,2] y)
        { a = Cast<to=11>(x)  b = Cast<to=11>(w)  c = Cast<to=11>(r)
          d = RNN<hidden_size=2>(a, b, c)  y = Cast<to=1>(d) }""",
        w=np.ones((1, 2, 4), np.float32),
        r=np.ones((1, 2, 2), np.float32),
    )
    with pytest.raises(ModelError, match=r"float64.*float32 only"):
        build_library(double)
