"""The memory planner: order and offsets together, on made-up calls and on the calls of real models."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from budgetc.lower.arena import ALIGNMENT, plan
from budgetc.lower.lower import lower
from budgetc.lower.planning import Use, needs_of, schedule
from budgetc.model import load_model
from budgetc.optimise import optimise
from budgetc.registry import find_target
from hypothesis import given
from hypothesis import strategies as st

TESTS = Path(__file__).parents[2]
EXAMPLES = TESTS.parent / "specs" / "examples"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
SMALL = {
    "mnist5k_cnn": (EXAMPLES / "mnist" / "mnist5k_cnn.onnx", (1, 28, 28)),
    "animalmnist_dscnn": (EXAMPLES / "animals" / "animalmnist_dscnn.onnx", (1, 28, 28)),
    "resnet8": (TESTS / "models" / "mlperf_tiny_resnet8_cifar10.onnx", (32, 32, 3)),
    "dscnn_kws": (TESTS / "models" / "mlperf_tiny_dscnn_kws.onnx", (50, 10, 1)),
    "mobilenet_vww": (TESTS / "models" / "mlperf_tiny_mobilenet_vww.onnx", (96, 96, 3)),
    "mtcnn_rnet": (TESTS / "models" / "mtcnn_rnet.onnx", (24, 24, 3)),
}


@st.composite
def programs(draw):
    """Calls that read what was written before them; sizes of some storages only, as ports take nothing."""
    uses, sizes = [], {}
    for call in range(draw(st.integers(0, 14))):
        read = [f"s{n}" for n in range(call) if draw(st.integers(0, 3)) == 0]
        uses.append(Use(tuple(read), (f"s{call}",)))
        if draw(st.integers(0, 5)):
            sizes[f"s{call}"] = draw(st.integers(1, 5000))
    return uses, sizes


@given(programs())
def test_nothing_alive_is_overwritten_in_any_order_chosen(program):
    uses, sizes = program
    made = schedule(uses, sizes)
    assert sorted(made.order) == list(range(len(uses)))
    seen, alive = set(), {}
    for moment, call in enumerate(made.order):
        assert set(uses[call].reads) <= seen, "what is read was written before"
        seen.update(uses[call].writes)
        for name in {*uses[call].reads, *uses[call].writes} & set(sizes):
            assert made.lives[name].first <= moment <= made.lives[name].last
            alive.setdefault(name, (made.plan.offsets[name], sizes[name]))
        for name, (at, size) in alive.items():
            for other, (begin, extent) in alive.items():
                both = all(
                    made.lives[n].first <= moment <= made.lives[n].last for n in (name, other)
                )
                assert name == other or not both or at + size <= begin or begin + extent <= at


@given(programs())
def test_the_arena_is_never_larger_than_in_the_order_given(program):
    uses, sizes = program
    made = schedule(uses, sizes)
    lives = {}
    for moment, use in enumerate(uses):
        for name in {*use.reads, *use.writes} & set(sizes):
            first = lives[name].first if name in lives else moment
            lives[name] = type(next(iter(made.lives.values())))(sizes[name], first, moment)
    assert made.plan.size <= plan(lives).size
    assert made.order_bound <= made.plan.lower_bound <= made.plan.size


def test_readers_come_behind_writers_and_parts_in_any_order():
    uses = [
        Use((), ("y",)),  # fills it
        Use(("a",), ("y",), part=True),
        Use(("b",), ("y",), part=True),
        Use(("y",), ("z",)),
        Use((), ("y",)),  # writes it again
        Use(("y",), ()),
    ]
    assert needs_of(uses) == [(), (0,), (0,), (0, 1, 2), (0, 1, 2, 3), (0, 1, 2, 4)]


def test_parts_are_written_as_soon_as_they_are_there(make_model, host):
    """A Concat of four wide values: each is copied into it and forgotten before the next one is computed."""
    w = np.ones((8, 1, 1, 1), np.float32)
    lines = [f"a{i} = Conv (x, w) s{i} = Softmax <axis=1> (a{i})" for i in range(4)]
    proto = make_model(
        "g (float[1, 1, 32, 32] x) => (float[1, 32] y) {"
        + " ".join(lines)
        + " c = Concat <axis=1> (s0, s1, s2, s3) r = GlobalMaxPool (c) y = Flatten (r) }",
        w=w,
    )
    target = find_target("host")
    lowered = lower([proto.SerializeToString()], target, host).lowered
    one = 8 * 32 * 32 * 4
    assert lowered.arena_lower_bound <= 4 * one + 2 * one + 4096
    assert lowered.arena_bytes <= 1.05 * lowered.arena_lower_bound


def _checked(data, host):
    lowered = lower([data], find_target("host"), host).lowered
    assert lowered.arena_order_bound <= lowered.arena_lower_bound <= lowered.arena_bytes
    assert lowered.arena_bytes <= 1.05 * lowered.arena_lower_bound
    assert lowered.arena_bytes == ALIGNMENT + max(
        s.offset + -(-s.bytes // 64) * 64 for s in lowered.arena_map
    )
    for slot in lowered.arena_map:
        for other in lowered.arena_map:
            if slot is not other and slot.first <= other.last and other.first <= slot.last:
                apart = slot.offset + slot.bytes <= other.offset
                assert apart or other.offset + other.bytes <= slot.offset
    return lowered


@pytest.mark.parametrize(
    "recipe", ["clean | fuse", "clean | fuse | clean | quantize"], ids=["float", "int8"]
)
@pytest.mark.parametrize("name", SMALL)
def test_the_arena_of_a_real_model_is_at_its_bound(name, recipe, host, tmp_path):
    path, shape = SMALL[name]
    port = onnx.load(path).graph.input[0].name
    model = load_model(path, {port: (1, *shape)})
    (tmp_path / "m.onnx").write_bytes(model.data)
    samples = np.random.default_rng(0).uniform(0, 1, (4, *shape)).astype(np.float32)
    np.savez(tmp_path / "calibration.npz", **{port: samples})
    out = tmp_path / "optimised.onnx"
    optimise(
        str(tmp_path / "m.onnx"),
        name,
        recipe,
        host.model_dump(mode="json"),
        str(tmp_path / "calibration.npz"),
        str(out),
    )
    _checked(out.read_bytes(), host)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["shufflenet", "resnet50", "densenet121"])
def test_the_arena_of_a_branching_network_is_at_its_bound(name, host):
    _checked(load_model(LIGHT / f"light_{name}.onnx", {}).data, host)
