"""A foreign plugin: installing it is all it takes; a name claimed twice or a broken module is named with its owner."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

EXAMPLE = Path(__file__).parent / "plugin_example"

Budgetc = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, installed by pip into a folder of its own."""
    folder = tmp_path_factory.mktemp("plugin")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    here = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(folder)]
    done = subprocess.run([*pip, *here, str(EXAMPLE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def budgetc(plugin: Path) -> Budgetc:
    """Runs the command line with the plugin, and with further folders, on the path."""

    def run(*arguments: str, also: Path | None = None) -> "subprocess.CompletedProcess[str]":
        path = os.pathsep.join(str(p) for p in (plugin, also) if p)
        command = [sys.executable, "-m", "budgetc.cli.main", *arguments]
        environment = {**os.environ, "PYTHONPATH": path, "NO_COLOR": "1"}
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    return run


def distribution(folder: Path, name: str, group: str, point: str, module: str = "") -> Path:
    """Another installed distribution with one entry point."""
    folder.mkdir()
    (folder / f"{name.replace('-', '_')}-1.0.dist-info").mkdir()
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{point}\n")
    if module:
        (folder / "rival.py").write_text(module)
    return folder


def spec_of(folder: Path, **more: object) -> Path:
    """A spec of a model with one convolution."""
    weight = numpy_helper.from_array(np.ones((8, 3, 3, 3), np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="conv")
    ports = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 6, 6]),
    ]
    graph = helper.make_graph([node], "one", ports[:1], ports[1:], [weight])
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "one.onnx")
    path = folder / "spec.json"
    path.write_text(json.dumps({"model": "one.onnx", **more}))
    return path


def test_its_pass_is_listed_and_described(budgetc: Budgetc) -> None:
    listed = budgetc("passes")
    assert listed.returncode == 0, listed.stderr
    assert "scale-weights" in listed.stdout
    described = budgetc("passes", "scale-weights").stdout
    assert described.startswith('scale-weights{factor=1.0, layers=""}')
    assert "budgetc-example 1.0" in described


SPACE = """
import json, sys
from pathlib import Path
from budgetc.model import load_model
from budgetc.registry import find_target
from budgetc.search.space import find_space

model, file = load_model(Path(sys.argv[1])), Path(sys.argv[2])
file.write_bytes(model.data)
sheet = find_target("x86-64").capability("x86-64-v3", 1)
space = find_space(file, model.path, sheet, calibrated=False)
levels = {"scale-weights": {"conv": "scaled"}}
chosen = space.settings(levels, {"scale-weights": {"factor": 0.25}})
print(json.dumps([[family.name for family in space.families], str(space.recipe(chosen)), space.notes]))
"""


def explore(plugin: Path, tmp_path: Path, also: Path | None = None) -> list:
    """The families of the model's search space, a recipe in it, and what was left out."""
    spec_of(tmp_path)
    path = os.pathsep.join(str(p) for p in (plugin, also) if p)
    done = subprocess.run(
        [sys.executable, "-c", SPACE, str(tmp_path / "one.onnx"), str(tmp_path / "model.onnx")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_its_pass_offers_is_searched(plugin: Path, tmp_path: Path) -> None:
    families, recipe, notes = explore(plugin, tmp_path)
    assert "scale-weights" in families
    step = "scale-weights{factor=0.25,layers=conv}"
    assert recipe == f"clean | fuse | clean | {step} | clean"
    assert notes == []


def test_a_broken_plugin_is_left_out_of_the_search(plugin: Path, tmp_path: Path) -> None:
    rival = distribution(
        tmp_path / "rival",
        "budgetc-rival",
        "budgetc.passes",
        "broken = rival:Broken",
        "import nowhere",
    )
    families, _, notes = explore(plugin, tmp_path, rival)
    assert "scale-weights" in families
    (note,) = notes
    assert "rival:Broken of budgetc-rival" in note


def test_its_target_is_listed_with_its_sheet(budgetc: Budgetc) -> None:
    assert "atom" in budgetc("targets").stdout
    assert "maddwd128" in budgetc("targets", "show", "atom").stdout


def test_its_board_is_listed_and_explained(budgetc: Budgetc) -> None:
    assert "tiny-atom" in budgetc("targets").stdout
    assert "64 MiB: the memory budget" in budgetc("targets", "show", "tiny-atom").stdout


@pytest.mark.parametrize(
    ("more", "wrong"),
    [
        ({"passes": "clean | scale-weights{factor=0.5}"}, None),
        ({"passes": "scale-weights{factor=-1.0}"}, "factor is -1.0; it must be above 0"),
        ({"passes": "scale-weights{faktor=1.0}"}, 'did you mean "factor"?'),
        ({"targets": {"small": {"kind": "atom"}}}, None),
        ({"targets": {"small": {"board": "tiny-atom"}}}, None),
        ({"targets": {"small": {"board": "tiny-atoms"}}}, 'did you mean "tiny-atom"?'),
        ({"targets": {"small": {"kind": "atom", "cpu": "goldmond"}}}, "goldmont"),
        ({"quality": {"metric": "top2"}}, None),
        ({"quality": {"metric": "top3"}}, "top2"),
    ],
)
def test_a_spec_may_name_what_it_brings(
    more: dict[str, object], wrong: str | None, budgetc: Budgetc, tmp_path: Path
) -> None:
    done = budgetc("check", str(spec_of(tmp_path, **more)))
    assert done.returncode == (2 if wrong else 0), done.stderr
    assert (wrong or "") in done.stderr


def test_a_name_claimed_twice_names_both_owners(budgetc: Budgetc, tmp_path: Path) -> None:
    point = "scale-weights = rival:ScaleWeights"
    rival = distribution(tmp_path / "rival", "budgetc-rival", "budgetc.passes", point)
    done = budgetc("passes", also=rival)
    assert done.returncode == 4
    assert "budgetc-example" in done.stderr
    assert "budgetc-rival" in done.stderr
    assert "uninstall one" in done.stderr


def test_a_name_of_budgetc_itself_cannot_be_taken(budgetc: Budgetc, tmp_path: Path) -> None:
    rival = distribution(
        tmp_path / "rival", "budgetc-rival", "budgetc.targets", "host = rival:Host"
    )
    done = budgetc("targets", also=rival)
    assert done.returncode == 4
    assert "budgetc-rival" in done.stderr
    assert "budgetc_targets.host:Host of budgetc" in done.stderr


@pytest.mark.parametrize(
    ("module", "wrong"),
    [
        ("", "No module named 'rival'"),
        ("import nowhere", "No module named 'nowhere'"),
        ("raise RuntimeError('no licence')", "no licence"),
        ("class Broken: pass", "does not keep the contract"),
    ],
    ids=["missing", "missing dependency", "raises", "no pass"],
)
def test_a_broken_plugin_is_named(
    module: str, wrong: str, budgetc: Budgetc, tmp_path: Path
) -> None:
    point = "broken = rival:Broken"
    rival = distribution(tmp_path / "rival", "budgetc-rival", "budgetc.passes", point, module)
    done = budgetc("passes", "broken", also=rival)
    assert done.returncode == 4, done.stderr
    assert wrong in done.stderr
    assert "rival:Broken of budgetc-rival" in done.stderr
