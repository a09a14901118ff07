"""`budgetc layout` says what `budgetc compile` will write."""

import json

import pytest
from budgetc.cli.main import app
from typer.testing import CliRunner

TARGETS = (
    "targets: {host: {}, pi: {kind: aarch64, cpu: cortex-a72}, pi5: {kind: aarch64}, "
    "web: {kind: wasm32}}\n"
)


def layout(*arguments):
    done = CliRunner().invoke(app, ["layout", *map(str, arguments)])
    return done.exit_code, done.output


def test_it_is_what_is_written(compiled):
    folder = compiled[0]
    code, said = layout(folder.parent / "spec.yaml")
    value = json.loads(said)
    assert code == 0
    assert (folder / value["target"] / value["library"]).is_file()
    assert (folder / value["target"] / value["header"]).is_file()


@pytest.mark.parametrize(
    ("arguments", "target", "library"),
    [
        ([], "host", "libtiny.so"),
        (["--target", "pi"], "pi", "libtiny.so"),
        (["--set", "output.kind=static"], "host", "libtiny.a"),
        (["--processor", "wasm32"], "web", "tiny.wasm"),
    ],
)
def test_targets_and_kinds(arguments, target, library, tiny):
    tiny.write_text(tiny.read_text() + TARGETS)
    code, said = layout(tiny, *arguments)
    assert code == 0
    value = json.loads(said)
    assert (value["target"], value["library"]) == (target, library)


@pytest.mark.parametrize(
    ("processor", "words"),
    [
        ("aarch64", 'several targets of the spec are for "aarch64": pi, pi5'),
        ("ppc64le", 'no target of the spec is for the processor "ppc64le"'),
    ],
)
def test_a_processor_must_fit_one_target(processor, words, tiny):
    tiny.write_text(tiny.read_text() + TARGETS)
    code, said = layout(tiny, "--processor", processor)
    assert code == 2
    assert words in said


def test_several_targets_without_a_host(tiny):
    tiny.write_text(tiny.read_text() + TARGETS.replace("host: {}, ", ""))
    code, said = layout(tiny)
    assert code == 2
    assert "pi, pi5, web" in said
