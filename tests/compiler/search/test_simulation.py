"""What was simulated is kept by all that it depends on, and by nothing else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from budgetc.data import load_data
from budgetc.measure.metrics import resolve_metric
from budgetc.search import simulation
from budgetc.search.simulation import Subject, simulate
from budgetc.worker import ChildDied
from budgetc_specs.recipe import Recipe, parse_recipe

PRUNED = parse_recipe("clean | fuse | clean | prune{ratio=0.5} | clean")
FLOAT = parse_recipe("clean | fuse | clean")


@pytest.fixture
def mnist(subject, avx2) -> Subject:
    found = subject("mnist5k_cnn")
    data = load_data(found.calibration.with_name("evaluation.npz"), found.model)
    metric = resolve_metric("top1")
    return Subject.of(
        found.model, found.file, avx2, metric, calibration=None, validation=data, samples=32
    )


def test_without_labels_there_is_noise_but_no_metric(subject, avx2) -> None:
    found = subject("mnist5k_cnn")
    data = load_data(found.calibration, found.model)
    unlabelled = replace(data, labels=None)
    for calibration, validation in ((data, None), (None, unlabelled)):
        about = Subject.of(
            found.model,
            found.file,
            avx2,
            resolve_metric("top1"),
            calibration=calibration,
            validation=validation,
        )
        assert about.validation == (data.path, data.digest)
        assert about.metric is None


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The recipes that each child is started for."""
    started: list[list[str]] = []
    run_child = simulation.run_child

    def counted(function: str, arguments: dict, **more: object) -> object:
        started.append(arguments["recipes"])
        return run_child(function, arguments, **more)

    monkeypatch.setattr(simulation, "run_child", counted)
    return started


def quiet(_: str) -> None:
    pass


def test_nothing_is_simulated_twice(
    mnist: Subject, children: list[list[str]], tmp_path: Path
) -> None:
    first = simulate(mnist, [FLOAT, PRUNED, FLOAT], quiet, tmp_path)
    assert children == [[str(FLOAT), str(PRUNED)]]
    assert [found.recipe for found in first] == [str(FLOAT), str(PRUNED), str(FLOAT)]
    assert first[0] == first[2]
    assert simulate(mnist, [PRUNED, FLOAT], quiet, tmp_path) == (first[1], first[0])
    assert len(children) == 1
    for file in tmp_path.rglob("*.json"):
        file.write_text(file.read_text().replace("error", "terror"))
    assert simulate(mnist, [PRUNED], quiet, tmp_path) == (first[1],)
    assert len(children) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda s: replace(s, digest="0" * 64),
        lambda s: replace(s, samples=16),
        lambda s: replace(s, seed=1),
        lambda s: replace(s, metric="agreement"),
        lambda s: replace(s, validation=(s.validation[0], "0" * 64)),
        lambda s: replace(s, calibration=s.validation),
        lambda s: replace(s, capability=s.capability.model_copy(update={"vector_bytes": 64})),
    ],
    ids=["model", "samples", "seed", "metric", "validation", "calibration", "sheet"],
)
def test_what_it_depends_on(mnist: Subject, change: Callable[[Subject], Subject]) -> None:
    assert change(mnist).key(PRUNED) != mnist.key(PRUNED)


def test_what_it_does_not_depend_on(mnist: Subject, tmp_path: Path) -> None:
    sheet = mnist.capability.model_copy(update={"threads": 4, "native": False})
    other = replace(mnist, model_file=tmp_path / "elsewhere.onnx", capability=sheet)
    assert other.key(PRUNED) == mnist.key(PRUNED)


def test_a_recipe_that_kills_the_child_is_refused_and_the_others_go_on(
    mnist: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that dies at its second recipe; the child itself is a stand-in that reports as real ones do."""
    rest = [Recipe((*FLOAT.steps, *parse_recipe(f"prune{{ratio={r}}}").steps)) for r in (0.1, 0.2)]
    deadly, rounds = str(rest[0]), []

    def run_child(function: str, arguments: dict, progress: Callable, **_: object) -> None:
        rounds.append(arguments["recipes"])
        for index, recipe in enumerate(arguments["recipes"]):
            progress({"begun": index})
            if recipe == deadly:
                raise ChildDied(function, "signal", "SIGSEGV")
            progress({"index": index, "found": {"error": 0.5, "samples": 1}})

    monkeypatch.setattr(simulation, "run_child", run_child)
    found = simulate(mnist, [FLOAT, *rest], quiet, tmp_path)
    assert [bool(each.refused) for each in found] == [False, True, False]
    assert "SIGSEGV" in found[1].refused
    assert rounds == [[str(FLOAT), *map(str, rest)], [str(rest[1])]]
    simulate(mnist, [FLOAT, *rest], quiet, tmp_path)
    assert rounds[2:] == [[deadly]], "a death is not kept: it may have been the machine's"


def test_a_child_that_always_dies_is_no_recipe_s_fault(
    mnist: Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def run_child(function: str, arguments: dict, progress: Callable, **_: object) -> None:
        started.append(1)
        progress({"begun": 0})
        raise ChildDied(function, "exception", "NameError")

    monkeypatch.setattr(simulation, "run_child", run_child)
    many = [parse_recipe(f"prune{{ratio={ratio}}}") for ratio in (0.1, 0.2, 0.3, 0.4)]
    with pytest.raises(ChildDied, match="NameError"):
        simulate(mnist, many, quiet, tmp_path)
    assert len(started) == 2
