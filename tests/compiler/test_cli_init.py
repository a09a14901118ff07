"""`budgetc init`: a spec that can be built is written, and nothing is overwritten."""

import pytest
from budgetc.cli.init import _shape
from budgetc.cli.main import app
from budgetc_specs.errors import SpecError
from typer.testing import CliRunner


@pytest.mark.slow
def test_what_it_writes_is_built(budgetc_cli, tiny):
    """Without data: made-up samples, and a build that keeps every budget."""
    folder = tiny.parent
    done = budgetc_cli("init", "tiny.onnx", "--out", "new.yaml", cwd=folder)
    assert done.returncode == 0, done.stderr
    text = (folder / "new.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=budgetc.schema.json\n")
    assert (folder / "budgetc.schema.json").is_file()
    assert "model: tiny.onnx\n" in text
    assert (folder / "tiny-made-up.npz").is_file()
    checked = budgetc_cli("check", "new.yaml", cwd=folder)
    assert checked.returncode == 0, checked.stderr
    few = ("--set", "search.candidates=8")
    built = budgetc_cli("compile", "new.yaml", "--out", "out", *few, cwd=folder)
    assert built.returncode == 0, built.stdout + built.stderr


def test_nothing_is_overwritten(tiny):
    before = tiny.read_text()
    done = CliRunner().invoke(
        app, ["init", str(tiny.parent / "tiny.onnx"), "--out", str(tiny)], catch_exceptions=False
    )
    assert done.exit_code == 2
    assert "spec.yaml exists already" in done.stderr
    assert "--force replaces it" in done.stderr
    assert tiny.read_text() == before
    made_up = tiny.parent / "tiny-made-up.npz"
    made_up.touch()
    other = tiny.parent / "other.yaml"
    done = CliRunner().invoke(
        app, ["init", str(tiny.parent / "tiny.onnx"), "--out", str(other), "-q"]
    )
    assert (done.exit_code, "tiny-made-up.npz exists already" in done.stderr) == (2, True)
    assert not other.exists()


def test_other_formats_are_refused(tiny):
    done = CliRunner().invoke(app, ["init", str(tiny), "--out", "spec.json"])
    assert done.exit_code == 2
    assert "no name for YAML" in done.stderr.replace("not a", "no")


def test_shapes_on_the_command_line():
    assert _shape("x:0=1,3,8") == ("x:0", (1, 3, 8))
    assert _shape("a=b=1x28x28") == ("a=b", (1, 28, 28))
    for wrong in ("x", "x=", "=1", "x=1,n", "x=1,,2"):
        with pytest.raises(SpecError, match="is no input with its shape"):
            _shape(wrong)
