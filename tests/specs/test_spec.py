"""The spec as a Python value: defaults, names, targets, and what holds between its fields."""

import pickle
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest
from budgetc_specs.recipe import Recipe, Step
from budgetc_specs.spec import OutputSpec, Spec, TargetSpec
from pydantic import ValidationError

FULL: dict[str, Any] = {
    "budgetc": 1,
    "model": "m.onnx",
    "inputs": {"image": {"shape": [1, 1, 28, 28]}},
    "data": {"calibration": "c.npz", "validation": "v.npz", "evaluation": "e.npz"},
    "quality": {"metric": "top5", "slices": "groups.npz"},
    "budgets": {
        "size": "48 KiB",
        "memory": "64 KiB",
        "latency": "0.9 x onnxruntime",
        "quality": {"drop": "0.5 pp", "worst_slice": "2 pp"},
    },
    "targets": {
        "host": {},
        "pi": {
            "kind": "aarch64",
            "cpu": "cortex-a72",
            "threads": 4,
            "budgets": {"latency": "2 ms"},
        },
    },
    "strategy": "shrink",
    "passes": ["clean", "prune{ratio=0.3}"],
    "search": {
        "trials": 4,
        "time": "90 s",
        "tuning": "1 min",
        "seed": 7,
        "candidates": 12,
        "executor": "tcp://scheduler:8786",
    },
    "objective": ["latency", "size"],
    "output": {"name": "mnist", "kind": "static"},
}


def refusals(**fields: Any) -> dict[str, tuple[str, str]]:
    with pytest.raises(ValidationError) as caught:
        Spec(**{"model": "m.onnx", **fields})
    found = {}
    for error in caught.value.errors():
        held = error["ctx"]["error"]
        found[".".join(map(str, error["loc"]))] = (held.message, held.repair)
    return found


def test_only_the_model_is_required() -> None:
    spec = Spec(model="nets/my-net.onnx")  # type: ignore[arg-type]
    assert spec.targets == {"host": TargetSpec()}
    assert spec.output == OutputSpec(name="my_net", kind="shared")
    assert (spec.passes, spec.strategy, spec.budgets.size) == ("auto", "shrink", None)
    with pytest.raises(ValidationError, match='"model" is missing'):
        Spec()  # type: ignore[call-arg]


def test_a_full_spec() -> None:
    spec = Spec(**FULL)
    assert spec.inputs["image"].shape == (1, 1, 28, 28)
    assert spec.passes == Recipe((Step("clean"), Step.of("prune", ratio=0.3)))
    assert spec.search.time == 90.0
    assert spec.targets["pi"].threads == 4


def test_what_is_dumped_is_read_back() -> None:
    spec = Spec(**FULL)
    dumped = spec.model_dump(mode="json", by_alias=True)
    assert dumped["passes"] == "clean | prune{ratio=0.3}"
    assert dumped["search"]["time"] == "90 s"
    assert Spec(**dumped) == spec


def test_a_spec_survives_pickling() -> None:
    assert pickle.loads(pickle.dumps(Spec(**FULL))) == Spec(**FULL)


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Spec(**FULL).strategy = "shrink"


def test_a_target_has_its_own_budgets_over_those_of_the_spec() -> None:
    spec = Spec(**FULL)
    assert spec.budgets_for("host") == spec.budgets
    merged = spec.budgets_for("pi")
    assert merged.latency is not None
    assert merged.latency.max == 0.002
    assert merged.size == spec.budgets.size
    with pytest.raises(KeyError, match="nowhere"):
        spec.budgets_for("nowhere")


@pytest.mark.parametrize(
    ("output", "name"),
    [
        (None, "m"),
        ({"kind": "static"}, "m"),
        ({"name": None}, "m"),
        ({"name": "own"}, "own"),
        (OutputSpec(kind="static"), "m"),
        (OutputSpec(name="own"), "own"),
    ],
)
def test_the_output_is_named_after_the_model(output: Any, name: str) -> None:
    assert Spec(model="m.onnx", output=output).output.name == name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("objective", "aims"),
    [
        ("size", ("size",)),
        (["memory", "quality"], ("memory", "quality")),
        (("latency",), ("latency",)),
    ],
)
def test_objectives(objective: Any, aims: tuple[str, ...]) -> None:
    spec = Spec(model="m.onnx", objective=objective)  # type: ignore[arg-type]
    assert spec.objective == aims
    assert Spec(**spec.model_dump(mode="json", by_alias=True)) == spec
    assert Spec(model="m.onnx").objective == ("quality", "latency")  # type: ignore[arg-type]


def test_an_empty_name_is_refused() -> None:
    assert refusals(output={"name": ""})["output.name"][0] == '"" is not a C identifier'


def test_only_the_host_needs_no_kind() -> None:
    assert Spec(model="m", targets={"host": None}).targets["host"].kind == "host"  # type: ignore[arg-type, dict-item]
    assert Spec(model="m", targets={"host": {"kind": "x86-64"}}).targets["host"].kind == "x86-64"  # type: ignore[arg-type, dict-item]
    missing = (
        '"kind" is missing',
        'say what it is, such as "kind: aarch64" or "board: raspberry-pi-4"; `budgetc targets` lists them.',
    )
    assert refusals(targets={"pi": {}, "b": None, "c": TargetSpec(), "d": {"kind": "host"}}) == {
        "targets.pi.kind": missing,
        "targets.b.kind": missing,
        "targets.c.kind": missing,
    }


def test_targets_are_named_like_folders_and_all_findings_come_at_once() -> None:
    name = "use lower-case letters, digits, - and _; it becomes a folder's name."
    found = refusals(targets={"../x": {}, "ok": {"kind": "aarch64", "cores": 2}, 3: {"kind": "x"}})
    assert found["targets.../x"] == ('"../x" is not a target name', name)
    assert found["targets.ok.cores"][0] == '"cores" is not a field here'
    assert refusals(targets={}) == {"targets": ("no target", 'write "targets: {host: {}}".')}
    assert refusals(targets={"pi": "aarch64"})["targets.pi"][0] == '"aarch64" is not a mapping'
    assert refusals(targets=4)["targets"][0] == '"4" is not a mapping'


def test_a_quality_budget_needs_evaluation_data() -> None:
    found = refusals(
        data={"calibration": "c.npz"},
        budgets={"quality": "1 pp", "size": 4},
        targets={"host": {"budgets": {"quality": {"min": 0.9}}}},
    )
    needs = (
        "a quality budget needs evaluation data",
        'name labelled samples, "data: {evaluation: eval.npz}", or remove the budget.',
    )
    assert found["budgets.quality"] == needs
    assert found["targets.host.budgets.quality"] == needs
    assert found["budgets.size.max"][0] == '"4" has no unit'
    assert refusals(budgets=Spec(**FULL).budgets)["budgets.quality"] == needs


@pytest.mark.parametrize(
    ("fields", "loc", "message", "repair"),
    [
        (
            {"budgetc": 2},
            "budgetc",
            '"2" is no version of the spec that this budgetc reads',
            'write "budgetc: 1", or install the budgetc that knows this version.',
        ),
        (
            {"strategy": "shrink-improve"},
            "strategy",
            '"shrink-improve" trains, and there are no samples to learn from',
            'name them, "data: {train: train.npz}".',
        ),
        (
            {
                "data": {"calibration": "calib.npz"},
                "strategy": "grow-improve-shrink",
                "passes": "clean | distill",
            },
            "passes",
            'the strategy "grow-improve-shrink" chooses the passes itself',
            'write "passes: auto", or "strategy: shrink" and a recipe with passes that train.',
        ),
        (
            {"strategy": "shrnk"},
            "strategy",
            '"shrnk" is not shrink, shrink-improve or grow-improve-shrink',
            'did you mean "shrink"?',
        ),
        (
            {"objective": "qualty"},
            "objective",
            '"qualty" cannot be optimised',
            'did you mean "quality"?',
        ),
        (
            {"objective": ["size", "speed"]},
            "objective.1",
            '"speed" cannot be optimised',
            "choose among quality, latency, size, memory, or give several as a list.",
        ),
        (
            {"objective": ["size", "size"]},
            "objective.1",
            '"size" stands here twice',
            "once is enough, where it counts.",
        ),
        (
            {"objective": []},
            "objective",
            "an empty list is no objective",
            'name one, such as "quality".',
        ),
        (
            {"quality": {"slices": "label"}},
            "quality.slices",
            "slices need evaluation data",
            'name labelled samples, "data: {evaluation: eval.npz}", or remove the slices.',
        ),
        (
            {"data": {"evaluation": "e.npz"}, "budgets": {"quality": {"worst_slice": "2 pp"}}},
            "budgets.quality.worst_slice",
            "a budget of the worst slice needs slices",
            'say what a slice is, such as "quality: {slices: label}" for each class.',
        ),
        ({"modle": "x"}, "modle", '"modle" is not a field here', 'did you mean "model"?'),
        (
            {"model": ""},
            "model",
            '"" is not a path',
            "a path is absolute or relative to the spec's folder.",
        ),
    ],
)
def test_refusals(fields: dict[str, Any], loc: str, message: str, repair: str) -> None:
    assert refusals(**fields)[loc] == (message, repair)


def test_the_spec_does_not_need_the_yaml_reader() -> None:
    code = (
        "import sys, budgetc_specs.spec; sys.exit(any(m.startswith('ruamel') for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def entries_of(inputs: object) -> tuple[Mapping[str, tuple[int, ...]], ...]:
    return Spec.model_validate({"model": "m.onnx", "inputs": inputs}).entries()


def test_the_shapes_of_an_entry_go_together() -> None:
    inputs = {"x": {"shapes": [[1, 2], [3, 2]]}, "y": {"shape": [5]}, "z": {"shapes": [[1], [3]]}}
    assert entries_of(inputs) == (
        {"x": (1, 2), "y": (5,), "z": (1,)},
        {"x": (3, 2), "y": (5,), "z": (3,)},
    )
    assert entries_of({}) == ({},)


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"x": {"shapes": [[1], [2]]}, "y": {"shapes": [[1]]}}, "1 shapes here and 2 of"),
        ({"x": {"shapes": [[1], [1]]}}, "the same shapes twice"),
    ],
)
def test_shapes_that_do_not_go_together(inputs: object, text: str) -> None:
    with pytest.raises(ValidationError, match=text):
        entries_of(inputs)
