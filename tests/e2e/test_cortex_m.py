"""The models of MLPerf Tiny's size in int8 as firmware on emulated boards: the host's numbers, and what they take."""

import json
import re
from pathlib import Path

import budgetc
import numpy as np
import onnx
import pytest
from budgetc.emit import elf
from budgetc.emit.symbols import objects_of
from budgetc.load import Array, Interface
from budgetc.registry import find_target
from budgetc.run import start_archive
from budgetc_specs.capability import Capability
from budgetc_specs.spec import Spec

MODELS = Path(__file__).parents[1] / "models"
ANIMALS = Path(__file__).parents[2] / "specs" / "examples" / "animals"

RUNNER = find_target("cortex-m").runner(find_target("cortex-m").capability(None, 1))
SAMPLES = 8
KIB = 1024

# Where the model lies, its input, the range of made-up inputs where there are no others.
CASES = {
    "mlperf_tiny_resnet8_cifar10": (MODELS, "input", (32, 32, 3), (-1.0, 1.0)),
    "mlperf_tiny_dscnn_kws": (MODELS, "input", (50, 10, 1), (0.0, 225.0)),
    "mlperf_tiny_mobilenet_vww": (MODELS, "input", (96, 96, 3), (0.0, 255.0)),
    "animalmnist_dscnn": (ANIMALS, "input", (1, 28, 28), None),
}
# Instructions of one inference on an M4, at most.
ALLOWED = {
    "mlperf_tiny_resnet8_cifar10": 20_000_000,
    "mlperf_tiny_dscnn_kws": 5_500_000,
    "mlperf_tiny_mobilenet_vww": 15_000_000,
    "animalmnist_dscnn": 1_300_000,
}

QUICK = ("mlperf_tiny_dscnn_kws", "animalmnist_dscnn")
LARGE = pytest.mark.large

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(RUNNER.why_not), reason=RUNNER.why_not or "runs here"),
]


def _without_softmax(model: Path, folder: Path) -> Path:
    """The model without a softmax at its end, whose sums of floats differ with the order that vectors bring."""
    loaded = onnx.load(model)
    for node in loaded.graph.node:
        if node.op_type == "Softmax":
            node.op_type = "Identity"
            node.ClearField("attribute")
    onnx.save(loaded, folder / "cut.onnx")
    return folder / "cut.onnx"


BOARDS = {
    "host": {},
    "m4": {"kind": "cortex-m", "cpu": "cortex-m4"},
    "m7": {"kind": "cortex-m", "cpu": "cortex-m7"},
}


def _spec(
    name: str,
    folder: Path,
    targets: dict[str, dict[str, str]] = BOARDS,
    *,
    cut: bool = True,
) -> Spec:
    home, port, shape, scale = CASES[name]
    archive = folder / "data.npz"
    if scale is None:
        with np.load(home / "evaluation.npz") as labelled:
            np.savez(archive, **{key: labelled[key][:SAMPLES] for key in labelled.files})
    else:
        np.savez(
            archive,
            **{
                port: np.random.default_rng(0).uniform(*scale, (SAMPLES, *shape)).astype(np.float32)
            },
        )
    return Spec.model_validate(
        {
            "model": _without_softmax(home / f"{name}.onnx", folder)
            if cut
            else home / f"{name}.onnx",
            "inputs": {port: {"shape": [1, *shape]}},
            "data": {
                "calibration": archive if scale else home / "calibration.npz",
                "evaluation": archive,
            },
            "quality": {"metric": "agreement"},
            "targets": targets,
            "passes": "clean | fuse | clean | quantize",
            "output": {"name": "model", "kind": "static"},
        }
    )


def _outputs(folder: Path, inputs: dict[str, Array]) -> dict[str, Array]:
    """What the library of an artefact makes of inputs, here or on its board."""
    manifest = json.loads((folder / "manifest.json").read_text())
    interface = Interface.from_json(manifest)
    sheet = Capability.model_validate(manifest["target"])
    runner = find_target(sheet.target).runner(sheet)
    started = start_archive(folder / interface.library, interface, sheet, runner)
    assert started
    with started as harness:
        return harness.run(inputs)


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=LARGE) for n in ALLOWED]
)
def test_firmware_gives_the_hosts_numbers(name: str, tmp_path: Path) -> None:
    result = budgetc.compile(_spec(name, tmp_path), out=tmp_path / "out")
    assert result.exit_code == 0
    with np.load(tmp_path / "data.npz") as archive:
        port = CASES[name][1]
        inputs = {port: archive[port].reshape(-1, *CASES[name][2])}
    here = _outputs(tmp_path / "out" / "host", inputs)
    by_name = {target.target: target.chosen for target in result.targets}
    for board in ("m4", "m7"):
        chosen = by_name[board]
        assert chosen
        assert chosen.agreement
        assert chosen.agreement.agrees
        for key, value in _outputs(tmp_path / "out" / board, inputs).items():
            np.testing.assert_array_equal(value, here[key], f"{name} on {board}")
        measured = chosen.measurement
        assert measured
        assert measured.instructions
        assert measured.instructions <= ALLOWED[name], board
        assert measured.size.text + measured.size.data <= 16 * KIB, board
        assert measured.memory.arena <= 1.05 * chosen.parts["arena_lower_bound"] + 64, board


# Cores without a floating-point unit, and instructions of one inference at most.
FLOATLESS = {"m0plus": "cortex-m0plus", "m3": "cortex-m3"}
ALLOWED_WITHOUT_FLOATS = {
    "animalmnist_dscnn": (3_300_000, 1_600_000),
    "mlperf_tiny_dscnn_kws": (18_000_000, 8_000_000),
    "mlperf_tiny_resnet8_cifar10": (80_000_000, 28_000_000),
    "mlperf_tiny_mobilenet_vww": (60_000_000, 28_000_000),
}
OF_FLOATS = re.compile(
    r"__aeabi_(f|d|cf|cd|i2[fd]|l2[fd]|ui2[fd]|ul2[fd])|__(add|sub|mul|div|fix|float|trunc|extend)"
)


@pytest.mark.parametrize(
    "name",
    [
        n if n == "animalmnist_dscnn" else pytest.param(n, marks=LARGE)
        for n in ALLOWED_WITHOUT_FLOATS
    ],
)
def test_cores_without_floats_compute_in_fixed_point(name: str, tmp_path: Path) -> None:
    """Ports of floats and a softmax included; the reference is the one in numpy, and nothing may differ."""
    targets = {n: {"kind": "cortex-m", "cpu": cpu} for n, cpu in FLOATLESS.items()}
    result = budgetc.compile(_spec(name, tmp_path, targets, cut=False), out=tmp_path / "out")
    assert result.exit_code == 0
    for found, allowed in zip(result.targets, ALLOWED_WITHOUT_FLOATS[name], strict=True):
        chosen = found.chosen
        assert chosen
        assert chosen.agreement
        assert chosen.agreement.reference == "fixed-point arithmetic in numpy"
        assert chosen.agreement.agrees
        assert chosen.agreement.excepted == 0
        outputs = [o for case in chosen.agreement.cases for o in case.agreement.outputs]
        assert {o.identical for o in outputs} == {1.0}
        (library,) = (tmp_path / "out" / found.target).glob("*.a")
        named = _symbols(library)
        assert "model_run" in named
        assert not [n for n in named if OF_FLOATS.match(n)], "no library of floats is called"
        measured = chosen.measurement
        assert measured
        assert measured.instructions
        assert measured.instructions <= allowed, found.target
        assert measured.quality
        assert measured.quality.drop == 0


def _symbols(library: Path) -> set[str]:
    """All names in an archive, those of its own functions too."""
    found = set()
    for data in objects_of(library):
        sections = elf.sections(data)
        tables = [s for s in sections if s.type == elf.SHT_SYMTAB]
        found |= {s.name for table in tables for s in elf.symbols(data, table, sections)}
    return found
