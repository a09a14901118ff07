"""The shipped example models at work in C programs: right classes, sanitizers, two models on two threads."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import budgetc
import numpy as np
import pytest
from budgetc_specs.document import load_spec

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "specs" / "examples"
INT8 = "clean | fuse | clean | quantize"
LINKED = ("-lm", "-lpthread")

Artefact = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Artefact:
    """Compiles an example's int8 model for this machine: `artefact("mnist", "static")` is its folder."""
    made: dict[tuple[str, str], Path] = {}

    def compile_(name: str, kind: str) -> Path:
        if (name, kind) not in made:
            settings = [
                f"output.kind={kind}",
                f"passes={INT8}",
                "data.evaluation=null",
                "budgets={}",
            ]
            spec = load_spec(EXAMPLES / name / "spec.yaml", settings)
            out = tmp_path_factory.mktemp(name) / kind
            result = budgetc.compile(spec, targets=["host"], out=out)
            assert result.exit_code == 0, result.targets[0].certificate
            made[name, kind] = out / "host"
        return made[name, kind]

    return compile_


def _images(count: int) -> tuple[np.ndarray, np.ndarray]:
    with np.load(EXAMPLES / "mnist" / "evaluation.npz") as data:
        return data["input"][:count], data["label"][:count]


def _library(folder: Path) -> Path:
    return folder / json.loads((folder / "manifest.json").read_text())["library"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "compiler", "flags"),
    [
        ("shared", "zig cc", ()),
        ("static", "zig cc", ()),
        ("static", "zig c++", ()),
        ("static", "gcc", ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")),
        ("shared", "gcc", ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")),
    ],
)
def test_a_c_program_prints_the_right_class(
    kind: str,
    compiler: str,
    flags: tuple[str, ...],
    artefact: Artefact,
    compile_c: Callable[..., Path],
    tmp_path: Path,
) -> None:
    folder = artefact("mnist", kind)
    program = compile_c(
        HERE / "one_inference.c",
        *flags,
        f"-I{folder}",
        _library(folder),
        *(*LINKED, f"-Wl,-rpath,{folder}"),
        compiler=compiler,
    )
    images, labels = _images(20)
    printed = []
    for position, image in enumerate(images):
        file = tmp_path / f"{position}.raw"
        image.tofile(file)
        done = subprocess.run([program, file], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        printed.append(int(done.stdout))
    assert printed == labels.tolist()


@pytest.mark.slow
def test_two_threads_run_two_models(
    artefact: Artefact, compile_c: Callable[..., Path], tmp_path: Path
) -> None:
    images, _ = _images(1)
    images.tofile(tmp_path / "image.raw")
    folders = [artefact(name, "static") for name in ("mnist", "animals")]
    manifests = [json.loads((f / "manifest.json").read_text()) for f in folders]
    program = compile_c(
        HERE / "two_models.c",
        f"-DFIRST={manifests[0]['symbol']}",
        f"-DSECOND={manifests[1]['symbol']}",
        *map(_library, folders),
        *LINKED,
    )
    arguments: list[str] = []
    for manifest in manifests:
        outputs = np.prod(manifest["outputs"][0]["shape"]) * 4
        arguments += [str(images.nbytes), str(outputs), str(manifest["workspace_bytes"])]
        arguments.append(str(tmp_path / "image.raw"))
    done = subprocess.run([program, "10000", *arguments], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"0 0\n")
