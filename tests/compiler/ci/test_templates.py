"""The files for pre-commit, GitHub and GitLab: held against their schemas, and what they call is called."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from budgetc.cli.main import app
from ruamel.yaml import YAML
from typer.testing import CliRunner

ROOT = Path(__file__).parents[3]
BIN = Path(sys.executable).parent


def read(name: str):
    return YAML(typ="safe").load((ROOT / name).read_text(encoding="utf-8"))


@pytest.fixture
def repository(tiny, cli_environment):
    """A folder like a checkout with a spec in it, and what a runner sets in the environment."""
    folder = tiny.parents[1]
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return folder, {**cli_environment, "PATH": path, "CI": "true"}


@pytest.mark.parametrize(
    ("file", "schema"),
    [
        ("action.yml", "vendor.github-actions"),
        (".gitlab-ci-budgetc.yml", "vendor.gitlab-ci"),
    ],
)
def test_the_published_schema_holds(file, schema):
    done = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, ROOT / file],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_the_hook_checks_every_spec_that_it_is_given(tiny):
    (hook,) = read(".pre-commit-hooks.yaml")
    program, *arguments = shlex.split(hook["entry"])
    assert program == "budgetc"
    assert re.search(hook["files"], "models/a/spec.yaml")
    assert not re.search(hook["files"], "models/a/inspec.yaml.txt")
    other = tiny.with_name("other.yaml")
    other.write_text(tiny.read_text())
    done = CliRunner().invoke(app, [*arguments, str(tiny), str(other)])
    assert done.exit_code == 0, done.output
    assert f"{other}: ok" in done.output
    other.write_text("model: none.onnx\n")
    assert CliRunner().invoke(app, [*arguments, str(tiny), str(other)]).exit_code == 2


def step_of_action(folder: Path, environment: dict[str, str], **inputs: str):
    """The last step of the action as GitHub runs it: its exit code, its outputs and its summary."""
    action = read("action.yml")
    *_, step = action["runs"]["steps"]
    given = {name: str(each.get("default", "")) for name, each in action["inputs"].items()} | inputs
    variables = {
        name: re.sub(r"\$\{\{ inputs\.(\S+) \}\}", lambda found: given[found[1]], text)
        for name, text in step["env"].items()
    }
    script, outputs, summary = (folder / name for name in ("step.sh", "outputs", "summary"))
    script.write_text(step["run"])
    for file in (outputs, summary):
        file.write_text("")
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", script],
        cwd=folder,
        env={
            **environment,
            **variables,
            "GITHUB_OUTPUT": str(outputs),
            "GITHUB_STEP_SUMMARY": str(summary),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    pairs = dict(line.split("=", 1) for line in outputs.read_text().splitlines())
    return done, pairs, summary.read_text()


@pytest.mark.slow
def test_the_action_compiles_and_reports(repository):
    folder, environment = repository
    done, outputs, summary = step_of_action(folder, environment, spec="tiny/spec.yaml")
    assert done.returncode == 0, done.stderr
    assert json.loads((folder / outputs["result"]).read_text())["exit_code"] == 0
    assert json.loads((folder / outputs["sarif"]).read_text())["runs"][0]["results"] == []
    assert 'name="quality"' in (folder / outputs["junit"]).read_text()
    assert summary.startswith("### ✅ tiny: every budget is kept")

    # Quotes are those of a shell, and nothing else is: no variable, no command.
    arguments = '--set "budgets.size=1 KiB" --target host'
    done, outputs, summary = step_of_action(
        folder, environment, spec="tiny/spec.yaml", arguments=arguments
    )
    assert done.returncode == 1, done.stderr
    assert summary.startswith("### ❌ tiny: no artefact")
    results = json.loads((folder / outputs["sarif"]).read_text())["runs"][0]["results"]
    assert [each["ruleId"] for each in results] == ["budget-size"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [("--target $(touch${IFS}pwned)", "has no target"), ("--set 'a", "No closing quotation")],
)
def test_arguments_of_the_action_are_never_run(arguments, said, repository):
    folder, environment = repository
    done, _, _ = step_of_action(folder, environment, spec="tiny/spec.yaml", arguments=arguments)
    assert done.returncode not in {0, 127}
    assert said in done.stderr
    assert not (folder / "pwned").exists()
    assert not (folder / "build" / "budgetc").exists()


def test_no_input_of_the_action_is_part_of_a_script():
    action = read("action.yml")
    assert action["runs"]["using"] == "composite"
    for text in [step["run"] for step in action["runs"]["steps"] if "run" in step]:
        assert "inputs." not in text  # it would be run by the shell


@pytest.mark.slow
def test_the_template_compiles_and_leaves_what_it_names(repository):
    folder, environment = repository
    job = read(".gitlab-ci-budgetc.yml")[".budgetc"]
    install, *rest = job["script"]
    assert install.startswith("python -m pip install")
    variables = {**job["variables"], "SPEC": "tiny/spec.yaml"}
    done = subprocess.run(
        ["sh", "-e", "-c", "\n".join(rest)],
        cwd=folder,
        env={**environment, **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    artifacts = job["artifacts"]
    for name in (*artifacts["paths"], artifacts["reports"]["junit"]):
        assert (folder / name.replace("$OUT", variables["OUT"])).exists(), name


@pytest.mark.slow
@pytest.mark.large
@pytest.mark.timeout(1800)
def test_pre_commit_installs_and_runs_the_hook(repository):
    """From a clone of this repository, with all dependencies: some minutes, most of them pip's."""
    folder, environment = repository
    program = shutil.which("pre-commit", path=environment["PATH"])
    assert program is not None
    clone = folder / "clone"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)

    def run(*command: str | Path) -> tuple[int, str]:
        done = subprocess.run(
            command,
            cwd=folder / "tiny",
            env={**environment, "PRE_COMMIT_HOME": str(folder / "hooks")},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    _, commit = run("git", "-C", clone, "rev-parse", "HEAD")
    hooks = f"[{{repo: {clone}, rev: {commit.strip()}, hooks: [{{id: budgetc-check}}]}}]"
    (folder / "tiny" / ".pre-commit-config.yaml").write_text(f"repos: {hooks}\n")
    for command in (["git", "init", "-q"], ["git", "add", "."]):
        assert run(*command) == (0, "")
    hook = (program, "run", "budgetc-check", "--all-files", "--verbose")
    code, said = run(*hook)
    assert (code, "spec.yaml: ok" in said) == (0, True), said
    spec = folder / "tiny" / "spec.yaml"
    spec.write_text(spec.read_text().replace("size: 64 KiB", "size: 64"))
    run("git", "add", ".")
    code, said = run(*hook)
    assert (code, "spec.yaml:5:9" in said) == (1, True), said
