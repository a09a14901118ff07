"""The bf16 pass: what is rounded and for whom, what is refused, and that it is the function of rounded factors."""

from importlib.metadata import entry_points

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from budgetc_passes.contract import Evidence, Needs, Pass, PassError
from budgetc_passes.offer import Offer, Part, Searchable
from budgetc_passes.quantization.bfloat16 import Bfloat16
from budgetc_passes.quantization.static import Quantize
from hypothesis import given, settings
from hypothesis import strategies as st

NET = """
g (float[1,8,6,6] x) => (float[1,4] y) {
    [first] a = Conv<pads=[1,1,1,1]>(x, w, b)
    [act] r = Relu(a)
    [second] c = Conv(r, v)
    [sum] s = Add(c, r)
    [flat] f = Flatten(s)
    [head] y = Gemm<alpha=0.7, transB=1>(f, u, k)
}
"""


def weights(seed: int = 0, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        name: (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]) or 1)).astype(np.float32)
        for name, shape in shapes.items()
    }


SHAPES = {"w": (8, 8, 3, 3), "b": (8,), "v": (8, 8, 1, 1), "u": (4, 288), "k": (4,)}


@pytest.fixture(scope="session")
def evidence(evidence) -> Evidence:
    """A machine with the dot product."""
    return Evidence(evidence.capability.model_copy(update={"bfloat16_dot": "vdpbf16ps512"}))


@pytest.fixture(scope="session")
def apply(evidence):
    def run(model, *passes):
        current, modified, notes = ir.from_proto(model), False, ()
        for each in passes:
            result = each.run(current, evidence)
            current, modified = result.model, modified or result.modified
            notes = (*notes, *result.notes)
        after = ir.to_proto(current)
        onnx.checker.check_model(after, full_check=True)
        return after, modified, notes

    return run


def rounded(array):
    return array.astype(ml_dtypes.bfloat16).astype(np.float32)


def readers(model, name):
    return [node.name or node.op_type for node in model.graph.node if name in node.input]


def test_it_is_a_pass_that_needs_nothing_and_the_search_may_choose() -> None:
    assert isinstance(Bfloat16(), Pass)
    assert isinstance(Bfloat16, Searchable)
    assert Bfloat16().needs() == Needs()
    (entry,) = entry_points(group="budgetc.passes", name="bf16")
    assert entry.load() is Bfloat16


def test_weights_are_stored_in_16_bits_and_alpha_is_in_them(apply, parse) -> None:
    given = weights(**SHAPES)
    after, modified, _ = apply(parse(NET, **given), Bfloat16())
    assert modified
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in after.graph.initializer}
    assert {n for n, a in stored.items() if a.dtype == ml_dtypes.bfloat16} == {
        "w.bf16", "v.bf16", "u.bf16"
    }  # fmt: skip
    np.testing.assert_array_equal(
        stored["u.bf16"].astype(np.float32), rounded(given["u"] * np.float32(0.7))
    )
    assert not {"w", "v", "u"} & set(stored)


def test_a_residual_sum_reads_what_the_layer_reads(apply, parse) -> None:
    after, _, notes = apply(parse(NET, **weights(**SHAPES)), Bfloat16())
    assert readers(after, "r") == ["r.bf16"]
    assert readers(after, "r.rounded") == ["second", "sum"]
    assert [n.node for n in notes if n.kind == "did"] == ["first", "second", "head"]


def test_what_others_read_as_it_is_stays_for_them(apply, parse) -> None:
    text = NET.replace("=> (float[1,4] y)", "=> (float[1,4] y, float[1,8,6,6] r)")
    after, _, _ = apply(parse(text, **weights(**SHAPES)), Bfloat16())
    assert readers(after, "r") == ["r.bf16", "sum"]


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 2**20),
    kernel=st.sampled_from([1, 3]),
    groups=st.sampled_from([1, 2]),
    stride=st.sampled_from([1, 2]),
    skip=st.sampled_from(["", "first", "second;head"]),
)
def test_it_is_the_function_of_rounded_factors(
    apply, parse, ort, *, seed, kernel, groups, stride, skip
) -> None:
    """Held against float products of numbers that were rounded beforehand; exact but for the order of sums."""
    out = 6 // stride
    text = NET.replace("pads=[1,1,1,1]", f"group={groups}, strides=[{stride},{stride}], pads=PADS")
    pad = kernel // 2
    text = text.replace("PADS", f"[{pad},{pad},{pad},{pad}]")
    shapes = {**SHAPES, "w": (8, 8 // groups, kernel, kernel), "u": (4, 8 * out * out)}
    given = weights(seed, **shapes)
    model = parse(text, **given)
    x = np.random.default_rng(seed).standard_normal((1, 8, 6, 6)).astype(np.float32)
    after, _, _ = apply(model, Bfloat16(skip=skip))
    first, second, head = (name not in skip.split(";") for name in ("first", "second", "head"))

    def run(line, feeds, shape):
        ins = ", ".join(f"float[{','.join(map(str, a.shape))}] {n}" for n, a in feeds.items())
        made = f"g ({ins}) => (float[{','.join(map(str, shape))}] y) {{ {line} }}"
        return ort(parse(made), feeds)["y"]

    def r(array, on):
        return rounded(array) if on else array

    conv = f"Conv<group={groups}, strides=[{stride},{stride}], pads=[{pad},{pad},{pad},{pad}]>"
    feeds = {"x": r(x, first), "w": r(given["w"], first), "b": given["b"]}
    a = np.maximum(run(f"y = {conv}(x, w, b)", feeds, (1, 8, out, out)), 0)
    a = r(a, second)
    c = run("y = Conv(a, v)", {"a": a, "v": r(given["v"], second)}, (1, 8, out, out))
    f = r((c + a).reshape(1, -1), head)
    u = given["u"] * np.float32(0.7)
    wanted = f.astype(np.float64) @ r(u, head).T.astype(np.float64) + given["k"]
    found = ort(after, {"x": x})["y"]
    # A sum beside the middle of two rounded numbers may go to either, which is 2^-8 of one term of many.
    assert np.abs(found - wanted).max() <= 2**-9 * np.abs(wanted).max() + 1e-4


def test_layers_that_compute_in_integers_stay_so(parse, evidence) -> None:
    samples = [{"x": np.ones((1, 8, 6, 6), np.float32)}]
    known = Evidence(evidence.capability, lambda: iter(samples))
    model = ir.from_proto(parse(NET, **weights(**SHAPES)))
    mixed = Quantize(skip="second", output="float").run(model, known).model
    result = Bfloat16().run(mixed, known)
    assert [n.node for n in result.notes if n.kind == "did"] == ["second"]
    assert not any(n.kind == "refused" for n in result.notes)
    again = Bfloat16().run(result.model, known)
    assert not again.modified


REFUSED = {
    "a depthwise convolution": "float[2,1,3,3] w) => (float[1,2,4,4] y) { [n] y = Conv<group=2>(x, w) }",
    "its weights are not constant": "float[4,2,3,3] w) => (float[1,4,4,4] y) { [n] y = Conv(x, w) }",
    "it multiplies two activations": "float[1,2,6,6] w) => (float[1,2,6,6] y) { [n] y = MatMul(x, w) }",
    "more than a matrix": "float[1,2,6,6] w) => (float[1,2,6,6] y) { [n] y = MatMul(x, w) }",
    "not finite": "float[4,2,3,3] w) => (float[1,4,4,4] y) { [n] y = Conv(x, w) }",
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_has_no_such_form_is_refused_with_the_reason(apply, parse, evidence, reason) -> None:
    text = f"g (float[1,2,6,6] x, {REFUSED[reason]}"
    shape = [
        int(n) for n in text.split("] w", maxsplit=1)[0].rsplit("float[", maxsplit=1)[-1].split(",")
    ]
    array = np.full(shape, 3.4e38 if reason == "not finite" else 1, np.float32)
    computed = reason in ("its weights are not constant", "it multiplies two activations")
    after, modified, notes = apply(parse(text, **({} if computed else {"w": array})), Bfloat16())
    assert not modified
    assert reason in notes[0].text
    offered = Bfloat16.offer(ir.from_proto(after), evidence.capability)
    assert offered == Offer()


def test_a_sheet_without_the_dot_product_is_named(parse, evidence) -> None:
    sheet = evidence.capability.model_copy(update={"bfloat16_dot": None})
    model = ir.from_proto(parse(NET, **weights(**SHAPES)))
    result = Bfloat16().run(model, Evidence(sheet))
    assert not result.modified
    assert result.model is model
    assert "x86-64-v3 has no dot product of bfloat16 numbers" in result.notes[0].text
    assert Bfloat16.offer(model, sheet) == Offer()


def test_every_product_is_a_part_and_a_step_names_those_that_stay(parse, evidence) -> None:
    model = ir.from_proto(parse(NET, **weights(**SHAPES)))
    offer = Bfloat16.offer(model, evidence.capability)
    assert offer.parts == tuple(
        Part(name, ("float", "bf16"), (name,), size)
        for name, size in (("first", 576), ("second", 64), ("head", 1152))
    )
    every = dict.fromkeys(("first", "second", "head"), "bf16")
    assert str(Bfloat16.step(every, {})) == "bf16"
    assert str(Bfloat16.step({**every, "second": "float"}, {})) == "bf16{skip=second}"
    assert Bfloat16.step(dict.fromkeys(every, "float"), {}) is None


def test_a_name_that_the_model_lacks_is_an_error(apply, parse) -> None:
    with pytest.raises(PassError, match=r"bf16: skip names 'secnd'.*did you mean 'second'"):
        apply(parse(NET, **weights(**SHAPES)), Bfloat16(skip="secnd"))
