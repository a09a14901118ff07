"""Indices from outside that point nowhere: the nearest element is taken, and no foreign memory is touched."""

import numpy as np
import pytest
from budgetc.baseline import make_session
from budgetc.lower.bounds import c_in_bounds, with_indices_in_bounds
from budgetc_specs.errors import ModelError

FAR = (-(2**62), -(2**33), -1000, -7, -6, -5, -4, -1, 0, 1, 4, 5, 6, 7, 1000, 2**33, 2**62)
"""Around the ends of all axes below, and so far out that memory there belongs to nobody."""


def nearest(given, extents, *, from_the_end=True):
    extents = np.asarray(extents)
    return np.clip(given, -extents if from_the_end else 0, extents - 1)


@pytest.mark.parametrize(
    ("text", "extents", "options"),
    [
        ("float[5,6] x, int64[17] i) => (float[17,6] y) { y = Gather(x, i)", 5, {}),
        (
            "float[17,6] x, int64[17,1] i) => (float[17,1] y) { y = GatherElements<axis=1>(x, i)",
            6,
            {},
        ),
        ("float[5,6] x, int64[17,2] i) => (float[17] y) { y = GatherND(x, i)", (5, 6), {}),
        (
            "float[17,6] x, int64[17,1] i) => (float[17] y) { y = GatherND<batch_dims=1>(x, i)",
            6,
            {},
        ),
        (
            """float[5,6] x, int64[17,2] i, float[17] u) => (float[5,6] y)
            { y = ScatterND<reduction="add">(x, i, u)""",
            (5, 6),
            {},
        ),
        (
            """float[17,6] x, int64[17,1] i, float[17,1] u) => (float[17,6] y)
            { y = ScatterElements<axis=1>(x, i, u)""",
            6,
            {},
        ),
        (
            """float[17,6] x, int64[17,1] i, float[17,1] u) => (float[17,6] y)
            { y = ScatterElements<axis=1, reduction="max">(x, i, u)""",
            6,
            {},
        ),
        (
            """float[3,1,6,6] x, float[17,4] r, int64[17] i) => (float[17,1,2,2] y)
            { y = RoiAlign<output_height=2, output_width=2, sampling_ratio=2>(x, r, i)""",
            3,
            {"from_the_end": False},
        ),
    ],
    ids=lambda value: value[value.index("{") + 6 :][:24] if isinstance(value, str) else "",
)
def test_the_nearest_element_is_taken(build_library, make_model, text, extents, options) -> None:
    proto = make_model(f"g ({text} }}", 18)
    library = build_library(proto)
    assert library.kernels.count("foreign") >= 1
    random = np.random.default_rng(1)
    feed = {
        port.name: random.uniform(0, 4, port.shape).astype(np.float32)
        for port in library.model.inputs
        if port.name != "i"
    }
    shape = next(port.shape for port in library.model.inputs if port.name == "i")
    depth = shape[-1] if len(shape) > 1 else 1
    given = np.stack([np.roll(FAR, 5 * k) for k in range(depth)], axis=-1).reshape(shape)
    session = make_session(proto.SerializeToString())
    with pytest.raises(ModelError):  # onnxruntime has somebody to tell
        session.run({**feed, "i": given})
    kept = nearest(given, extents, **options)
    wanted = session.run({**feed, "i": kept})["y"]
    np.testing.assert_allclose(library.run({**feed, "i": given})["y"], wanted, rtol=1e-6)
    np.testing.assert_allclose(library.run({**feed, "i": kept})["y"], wanted, rtol=1e-6)


@pytest.mark.parametrize("index", [-(2**40), -1, 5, 2**40])
def test_a_cache_is_written_inside_only(build_library, make_model, index) -> None:
    """Whatever is written of the update: rows beyond the end go to the last one."""
    proto = make_model(
        "g (float[1,1,6,3] x, float[1,1,2,3] u, int64[1] i) => (float[1,1,6,3] y) { y = TensorScatter(x, u, i) }",
        24,
    )
    library = build_library(proto)
    x, u = np.zeros((1, 1, 6, 3), np.float32), np.ones((1, 1, 2, 3), np.float32)
    found = library.run({"x": x, "u": u, "i": np.array([index])})["y"]
    assert set(np.unique(found)) == {0.0, 1.0}
    written = np.flatnonzero(found[0, 0, :, 0])
    assert all(row in {0, 1, 5} for row in written)


@pytest.mark.parametrize(
    ("loss", "values"),
    [("NegativeLogLikelihoodLoss", [-1, 0, -5, -1]), ("SoftmaxCrossEntropyLoss", None)],
)
def test_a_class_that_is_none_reads_no_foreign_memory(build_library, make_model, loss, values):
    """The class to be ignored is ignored; what is left is the nearest one."""
    node = f'{loss}<reduction="none", ignore_index=-1>(x, t)'
    proto = make_model(f"g (float[4,5] x, int64[4] t) => (float[4] y) {{ y = {node} }}")
    x = np.tile(np.arange(1, 6, dtype=np.float32), (4, 1))
    found = build_library(proto).run({"x": x, "t": np.array([-(2**50), -1, 2**40, -7])})["y"]
    near = make_session(proto.SerializeToString()).run({"x": x, "t": np.array([0, -1, 4, 0])})["y"]
    np.testing.assert_allclose(found, near, rtol=1e-6)
    if values:
        np.testing.assert_array_equal(found, values)


def test_constant_indices_are_taken_as_they_are(make_graph) -> None:
    graph = make_graph(
        """g (float[5,6] x, int64[2,1] j) => (float[2,6] y, float[2,6] z)
        <int64[2,1] i = {2, -1}> { y = GatherND(x, i) z = GatherND(x, j) }"""
    )
    fixed, computed = graph.operations
    text = "idx_t k = i[0];\nif (k < 0) {\n    k += 5;\n}"
    assert c_in_bounds(text, fixed, graph) == text
    assert "k_given < 5" in c_in_bounds(text, computed, graph)


def test_code_of_another_form_is_refused_and_not_trusted(make_graph) -> None:
    graph = make_graph("g (float[5,6] x, int64[2,1] i) => (float[2,6] y) { y = GatherND(x, i) }")
    (op,) = graph.operations
    with pytest.raises(ModelError, match=r"GatherND node .* would trust them"):
        c_in_bounds("void f(void) { y[0] = x[i[0]]; }", op, graph)
    with pytest.raises(ModelError, match="TVM's code would trust them"):
        with_indices_in_bounds(graph.node_model(op), op, graph)
