"""Reading a spec file in all three formats, and every error with its line and its repair."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from budgetc_specs.budgets import Budgets
from budgetc_specs.document import load_spec
from budgetc_specs.errors import SpecError
from budgetc_specs.recipe import Recipe
from budgetc_specs.spec import Spec
from budgetc_specs.units import SIZE_HELP
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

EXAMPLES = Path(__file__).parents[2] / "specs" / "examples"

YAML = """\
budgetc: 1
model: m.onnx
data: {calibration: c.npz, evaluation: e.npz}
inputs: {image: {shape: [1, 28]}}
budgets: {size: 48 KiB, latency: {max: 2 ms, runs: 9}}
targets: {host: {}, pi: {kind: aarch64}}
passes: [clean, "prune{ratio=0.3}"]
"""
TOML = """\
budgetc = 1
model = "m.onnx"
passes = ["clean", "prune{ratio=0.3}"]
[data]
calibration = "c.npz"
evaluation = "e.npz"
[inputs.image]
shape = [1, 28]
[budgets]
size = "48 KiB"
latency = { max = "2 ms", runs = 9 }
[targets.host]
[targets.pi]
kind = "aarch64"
"""
JSON = json.dumps(
    {
        "budgetc": 1,
        "model": "m.onnx",
        "data": {"calibration": "c.npz", "evaluation": "e.npz"},
        "inputs": {"image": {"shape": [1, 28]}},
        "budgets": {"size": "48 KiB", "latency": {"max": "2 ms", "runs": 9}},
        "targets": {"host": {}, "pi": {"kind": "aarch64"}},
        "passes": ["clean", "prune{ratio=0.3}"],
    },
    indent="\t",
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a model and data."""
    for name in ("m.onnx", "c.npz", "e.npz"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def errors(text: str, *overrides: str, name: str = "spec.yaml") -> str:
    Path(name).write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        load_spec(name, overrides)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.yaml", YAML), ("a.YML", YAML), ("a.json", JSON), ("a.toml", TOML)],
)
def test_the_three_formats_say_the_same(folder: Path, name: str, text: str) -> None:
    Path("reference.yaml").write_text(YAML)
    Path(name).write_text(text)
    spec = load_spec(name)
    assert spec == load_spec("reference.yaml")
    assert spec.model == folder / "m.onnx"
    assert spec.data.evaluation == folder / "e.npz"
    assert str(spec.passes) == "clean | prune{ratio=0.3}"


def test_paths_are_relative_to_the_file_and_not_to_the_working_directory(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "spec.yaml").write_text("model: m.onnx")
    (folder / "elsewhere").mkdir()
    monkeypatch.chdir(folder / "elsewhere")
    assert load_spec(Path("../spec.yaml"), ["data.evaluation=e.npz"]).model.samefile("../m.onnx")


def test_beside_a_linked_spec_stand_the_files_beside_the_link(folder: Path) -> None:
    real = folder / "real"
    real.mkdir()
    (real / "spec.yaml").write_text("model: m.onnx")
    (folder / "linked.yaml").symlink_to(real / "spec.yaml")
    assert load_spec(folder / "linked.yaml").model == folder / "m.onnx"


@pytest.mark.parametrize("name", ["mnist", "animals"])
def test_the_examples_are_specs_and_survive_being_dumped(name: str) -> None:
    spec = load_spec(EXAMPLES / name / "spec.yaml")
    assert spec.output.name == name
    dumped = spec.model_dump(mode="json", by_alias=True)
    assert type(spec)(**dumped) == spec


def test_all_errors_come_at_once_in_the_order_of_the_text(folder: Path) -> None:
    text = """\
model: m.onx
budgets:
  latency: 10
  size: 5 kib
  sice: 1
targets:
  pi: {runner: pi}
strategy: grow-improve-shrink
passes: fuse | prune{ratio=}
budgets: {}
"""
    assert errors(text, "search.trials=-1", "nonsense") == (
        'spec.yaml:1:8: model: "m.onx" does not exist\n'
        "    1 | model: m.onx\n"
        "      |        ^^^^^\n"
        '  did you mean "m.onnx"?\n'
        "  a path is absolute or relative to the spec's folder.\n"
        'spec.yaml:3:12: budgets.latency: "10" has no unit\n'
        "    3 |   latency: 10\n"
        "      |            ^^\n"
        '  a latency is a number with a unit, such as "10 ms" or "250 us", or relative to a peer, '
        'such as "1.0 x onnxruntime".\n'
        'spec.yaml:4:9: budgets.size: "kib" is not a unit of size\n'
        "    4 |   size: 5 kib\n"
        "      |         ^^^^^\n"
        '  did you mean "KiB"?\n'
        '  a size is a number with a unit, such as "48 KiB" or "4 MB" (1 KiB = 1024 B, '
        "1 KB = 1000 B).\n"
        'spec.yaml:5:3: budgets: "sice" is not a field here\n'
        "    5 |   sice: 1\n"
        "      |   ^^^^\n"
        '  did you mean "size"?\n'
        'spec.yaml:7:3: targets.pi: "kind" is missing\n'
        "    7 |   pi: {runner: pi}\n"
        "      |   ^^\n"
        '  say what it is, such as "kind: aarch64" or "board: raspberry-pi-4"; `budgetc targets` lists them.\n'
        'spec.yaml:7:16: targets.pi.runner: "pi" is not the address of a device\n'
        "    7 |   pi: {runner: pi}\n"
        "      |                ^^\n"
        '  write how it is reached and where, such as "ssh://pi@raspberrypi.local".\n'
        'spec.yaml:8:11: strategy: "grow-improve-shrink" trains, and there are no samples to learn '
        "from\n"
        "    8 | strategy: grow-improve-shrink\n"
        "      |           ^^^^^^^^^^^^^^^^^^^\n"
        '  name them, "data: {train: train.npz}".\n'
        'spec.yaml:9:28: passes: a value is missing before "}"\n'
        "    9 | passes: fuse | prune{ratio=}\n"
        "      |                            ^\n"
        '  a recipe is a chain of passes, such as "clean | prune{ratio=0.3} | '
        'quantize{per=channel}".\n'
        'spec.yaml:10:1: "budgets" is given twice\n'
        "   10 | budgets: {}\n"
        "      | ^^^^^^^\n"
        "  keep one of the two; the first is on line 2.\n"
        '--set: "nonsense" is not key=value\n'
        "  write the path of a field and its value, such as --set budgets.size=8KiB.\n"
        '--set search.trials=-1: search.trials: "-1" is below 0\n'
        "  Schedules measured for each distinct kernel at most; 0 takes the default schedules, "
        "or sets no limit where `tuning` does."
    )


@pytest.mark.parametrize(
    ("name", "text", "lines"),
    [
        (
            "a.json",
            '{"model": "m.onnx",\n "budgets": {"size": 10}}',
            [
                'a.json:2:22: budgets.size: "10" has no unit',
                '    2 |  "budgets": {"size": 10}}',
                "      |                      ^^",
            ],
        ),
        (
            "a.toml",
            'model = "m.onnx"\n[budgets]\nsize = { max = 10 }',
            [
                'a.toml:3:16: budgets.size.max: "10" has no unit',
                "    3 | size = { max = 10 }",
                "      |                ^^",
            ],
        ),
        (
            "a.toml",
            'model = "m.onnx"\npasses = ["a", "b{c}"]',
            [
                "a.toml:2:10: passes[1]: = is missing after the name of an option",
                '    2 | passes = ["a", "b{c}"]',
                "      |          ^",
            ],
        ),
        (
            "a.yaml",
            "model: m.onnx\npasses: [a, 'b{c}']",
            [
                "a.yaml:2:17: passes[1]: = is missing after the name of an option",
                "    2 | passes: [a, 'b{c}']",
                "      |                 ^",
            ],
        ),
        ("a.yaml", "", ['a.yaml:1:1: "model" is missing', "    1 |", "      | ^"]),
        ("a.yaml", "- a", ["a.yaml:1:1: a list is not a mapping", "    1 | - a", "      | ^"]),
        (
            "a.yaml",
            "model: m.onnx\nbudgets: {quality: {drop: 1 pp}}",
            [
                "a.yaml:2:20: budgets.quality: a quality budget needs evaluation data",
                "    2 | budgets: {quality: {drop: 1 pp}}",
                "      |                    ^",
            ],
        ),
        (
            "a.yaml",
            "model: m.onnx\ntargets:\n  Pi 4: {kind: aarch64}",
            [
                'a.yaml:3:3: targets: "Pi 4" is not a target name',
                "    3 |   Pi 4: {kind: aarch64}",
                "      |   ^^^^",
            ],
        ),
    ],
)
def test_an_error_points_at_its_place(folder: Path, name: str, text: str, lines: list[str]) -> None:
    assert errors(text, name=name).splitlines()[:3] == lines


def test_what_could_be_read_all_the_same_is_an_error_too(folder: Path) -> None:
    assert errors("model: m.onnx\nmodel: m.onnx\n") == (
        'spec.yaml:2:1: "model" is given twice\n'
        "    2 | model: m.onnx\n"
        "      | ^^^^^\n"
        "  keep one of the two; the first is on line 1."
    )


def test_a_field_of_the_python_value_is_no_field_of_the_file(folder: Path) -> None:
    assert '"max_bytes" is not a field here' in errors(
        "model: m.onnx\nbudgets: {size: {max_bytes: 9}}"
    )


def test_overrides_replace_what_the_file_says(folder: Path) -> None:
    Path("a.yaml").write_text(YAML)
    spec = load_spec(
        "a.yaml",
        [
            "budgets.size=8KiB",
            "budgets.latency=",
            "passes=fuse | b{x=1,y=z}",
            "targets.pi.threads=2",
        ],
    )
    assert spec.budgets == Budgets.model_validate({"size": "8 KiB"})
    assert isinstance(spec.passes, Recipe)
    assert str(spec.passes) == "fuse | b{x=1,y=z}"
    assert spec.targets["pi"].threads == 2


def test_an_error_in_an_override_is_told_with_its_text(folder: Path) -> None:
    assert errors(YAML, "budgets.size=8") == (
        f'--set budgets.size=8: budgets.size: "8" has no unit\n  {SIZE_HELP}'
    )
    assert errors(YAML, "budgets.sizes=8 KiB").startswith(
        '--set budgets.sizes=8 KiB: budgets: "sizes" is not a field here\n  did you mean "size"?'
    )
    assert errors(YAML, "model=x.onnx").startswith(
        '--set model=x.onnx: model: "x.onnx" does not exist\n  did you mean "m.onnx"?'
    )


def test_a_file_that_is_no_spec(folder: Path) -> None:
    assert errors("", name="spec.txt") == (
        'spec.txt: ".txt" is not a spec\'s suffix\n  specs end in .yaml, .yml, .json, .toml.'
    )
    with pytest.raises(SpecError, match=r"^gone\.yaml: no such file$"):
        load_spec("gone.yaml")


words = st.sampled_from(
    [
        "max",
        "size",
        "budgets",
        "targets",
        "host",
        "pi",
        "kind",
        "slices",
        "label",
        "worst_slice",
        "2 pp",
        "executor",
        "local:2",
        "latency",
        "auto",
        "8 KiB",
        "1 ms",
        "m.onnx",
        "",
    ]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=15,
)
fields = st.sampled_from([*Spec.model_fields, "x"])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.dictionaries(fields, values, max_size=8))
def test_any_values_are_a_spec_or_an_error_of_the_spec(folder: Path, value: dict[str, Any]) -> None:
    Path("a.json").write_text(json.dumps(value))
    found: SpecError | None = None
    try:
        load_spec("a.json")
    except SpecError as error:
        found = error
    assert found is None or all(each.path == "a.json" for each in found.diagnostics)


def test_the_error_of_the_reference_page_is_the_one_that_is_shown(folder: Path) -> None:
    page = (EXAMPLES.parents[1] / "docs" / "spec.md").read_text()
    shown = errors("model: m.onnx\nbudgets:\n  size: 1 KiB\n  memory: 32\n")
    assert "\n".join(f"    {line}" for line in shown.splitlines()) in page


def test_the_examples_need_nothing_outside_their_folder(tmp_path: Path) -> None:
    shutil.copytree(EXAMPLES / "mnist", tmp_path / "copy")
    assert load_spec(tmp_path / "copy" / "spec.yaml").model.parent == tmp_path / "copy"
